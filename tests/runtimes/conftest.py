"""An export of the small detector, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detect.runtimes.export import export
from tests.data.trees import crop_manifest, textured_crops


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of twelve crops of both kinds."""
    return crop_manifest(tmp_path_factory.mktemp("manifest") / "m", textured_crops(6, "val"))


@pytest.fixture(scope="session")
def small_onnx(small_detector: Path, crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "small.onnx"
    export(small_detector, format="onnx", out=out, verify=crops)
    return out
