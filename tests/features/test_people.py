"""People under two names are found by their faces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepfake_detect import audit_manifest
from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import ManifestError, OptionError, WeightsError
from deepfake_detect.features.people import find_same_people
from deepfake_detect.models.networks import FaceNet
from tests.data.trees import crop_manifest


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FaceNet of random weights with the statistics of noise, so that images differ in embedding."""
    torch.manual_seed(0)
    network = FaceNet()[0].train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None
    with torch.inference_mode():
        network(torch.randn(4, 3, 80, 80))
    path = tmp_path_factory.mktemp("facenet") / "facenet.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Identities a and c are one image; b is another; a's forgery shows b and must not count."""
    first, second = (
        np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8).repeat(20, 1).repeat(20, 2)
    )
    crops = [("a", 0, "train", first), ("b", 0, "train", second), ("c", 0, "val", first)]
    return crop_manifest(tmp_path / "m", [*crops, ("fake-a", 1, "train", second)])


def test_a_person_with_two_names_is_a_leak_of_their_splits(
    manifest: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "audit.json"
    arguments = ["--people", "--weights", weights, "--min-similarity", 0.999, "--no-crops", "--json", result]
    assert main(["audit", str(manifest), *map(str, arguments)]) == 1
    shown = capsys.readouterr().out
    assert "made:a (train) and made:c (val) look like the same person (similarity 1.00)" in shown
    assert "LEAK: identities" in shown
    (pair,) = json.loads(result.read_text())["same_people"]
    assert (pair["first"], pair["second"]) == ("made:a", "made:c")
    assert main(["audit", str(manifest), "--where", "target_id <> 'c'", *map(str, arguments)]) == 0
    assert "no two identities look like the same person" in capsys.readouterr().out


def test_what_cannot_be_compared_is_an_error(manifest: Path, weights: Path) -> None:
    rows = read_manifest(manifest)
    with pytest.raises(OptionError, match="min_similarity: is 2; must be above -1 and at most 1"):
        find_same_people(rows, weights=str(weights), min_similarity=2)
    with pytest.raises(ManifestError, match="has fewer than two people with readable reals"):
        find_same_people(rows.where("target_id = 'a'"), weights=str(weights))
    with pytest.raises(OptionError, match="min_similarity: has no effect without `features` or `people`"):
        audit_manifest(manifest, min_similarity=0.9)
    with pytest.raises(WeightsError, match="there is no such file"):
        audit_manifest(manifest, people=True, weights="missing.safetensors")
