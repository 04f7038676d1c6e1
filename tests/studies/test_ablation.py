"""The table of detectors on a validation split."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import ablation
from deepfake_detect.data.manifest import read_manifest, write_manifest
from deepfake_detect.scoring import load_detector
from tests.data.trees import crop_manifest, textured_crops


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six pairs of dataset ``made``, and two reals of ``others``, in val."""
    path = crop_manifest(tmp_path / "data", textured_crops(8, "val"))
    rows = read_manifest(path)
    names = rows.table.column("path").to_pylist()
    is_other = ["val6" in name or "val7" in name for name in names]
    others = pa.array(["others" if other else "made" for other in is_other])
    table = rows.table.set_column(rows.table.column_names.index("dataset"), "dataset", others)
    keeps = pa.array([not (other and "fake" in name) for other, name in zip(is_other, names, strict=True)])
    write_manifest(path, table.filter(keeps), geometry=rows.geometry)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ablation.py", *options])
    return ablation.main()


def test_each_detector_has_its_line(
    manifest: Path,
    small_detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--manifest", str(manifest), "--dataset", "made", "--num-draws", "50"]
    found = tmp_path / "found.json"
    assert run(monkeypatch, f"small={small_detector}", *options, "--json", str(found)) == 0
    figures = json.loads(found.read_text())["small"]
    assert figures["others"][1] == 2
    assert figures["plain"][1] <= figures["plain"][0] <= figures["plain"][2]
    assert figures["plain"] != figures["blur sigma 2"]
    assert f"| small | {figures['plain'][0]:.3f} [" in capsys.readouterr().out


def test_a_mirrored_crop_has_the_score_of_the_crop(
    manifest: Path, small_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over both orientations is the same for both, and differs from one orientation."""
    detector = load_detector(small_detector, device="cpu")
    crop = textured_crops(1, "val")[0][3]
    there, back = ablation.mirrored(detector, [crop]), ablation.mirrored(detector, [crop[:, ::-1]])
    np.testing.assert_allclose(there, back, atol=1e-6)
    assert abs(detector.score_crops([crop]) - there) > 1e-6
    mirrored_crops: list[int] = []
    monkeypatch.setattr(
        ablation,
        "mirrored",
        lambda own, crops: mirrored_crops.append(len(crops)) or np.linspace(0, 1, len(crops)),
    )
    options = ["--manifest", str(manifest), "--dataset", "made", "--num-draws", "50"]
    assert run(monkeypatch, f"small={small_detector}", *options) == 0
    assert not mirrored_crops
    assert run(monkeypatch, f"small={small_detector}", *options, "--mirrored") == 0
    assert mirrored_crops == [14, 12, 12, 12]


def test_the_threshold_mistakes_both_classes_alike() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    scores = np.array([0.1, 0.2, 0.3, 0.7, 0.4, 0.6, 0.8, 0.9])
    threshold = ablation.equal_error_threshold(labels, scores)
    assert ((scores > threshold)[:4].sum(), (scores <= threshold)[4:].sum()) == (1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "test"], "--split: is test, which selects nothing; pass val, or --allow-test"),
        (["--dataset", "absent"], "absent has one class, or others have fakes"),
        (["no-name.safetensors"], "detectors: lack a name; write NAME=FILE"),
    ],
)
def test_bad_options_are_a_line(
    options: list[str],
    message: str,
    manifest: Path,
    small_detector: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usual = ["--manifest", str(manifest), "--dataset", "made", f"small={small_detector}"]
    assert run(monkeypatch, *usual, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
