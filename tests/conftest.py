"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip CUDA tests where there is no CUDA, unless the run promises there is."""
    if torch.cuda.is_available() or os.environ.get("FAIL_WITHOUT_CUDA") == "1":
        return
    for item in items:
        if "needs_cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real clips and crops, which is not part of the project."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data is not beside this checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A real photograph of one face: NASA's of Eileen Collins, public domain, RGB (512, 512, 3)."""
    from skimage import data

    image: np.ndarray = data.astronaut()
    return image


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    return ROOT / "examples" / "demo.mp4"
