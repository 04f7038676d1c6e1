from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.predict import score_manifest
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.inference import CropScorer
from deepfake_detect.records import CropGeometry
from tests.data.trees import crop_manifest, textured_crops


@pytest.fixture
def scorer(small_detector: Path) -> CropScorer:
    model, config = read_detector(small_detector)
    return CropScorer(model, config, device=torch.device("cpu"))


def score(scorer: CropScorer, path: Path, split: str = "test"):  # type: ignore[no-untyped-def]
    return score_manifest(scorer, read_manifest(path), split=split, num_workers=0, show_progress=False)


def test_scores_are_those_of_the_crops_themselves(scorer: CropScorer, tmp_path: Path) -> None:
    crops = textured_crops(3, "test") + textured_crops(1, "val")
    table, coverage = score(scorer, crop_manifest(tmp_path / "m", crops))
    assert coverage.videos_expected == coverage.videos_scored == 6
    expected = scorer.score_crops([crop[3] for crop in crops[:6]])
    torch.testing.assert_close(
        torch.tensor(table.fake_probability), torch.tensor(expected), atol=1e-5, rtol=0
    )
    assert table.label.tolist() == [0, 1] * 3
    everything, _ = score(scorer, tmp_path / "m", split="all")
    assert len(everything.label) == 8


def test_what_has_no_score_counts_against_coverage(scorer: CropScorer, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(40, "test"))
    for number in range(33):  # more than a whole batch of 64 in a row
        for name in (f"test{number}", f"fake-test{number}"):
            (path.parent / "crops" / f"{name}.png").unlink()
    with open(path.parent / "failures.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "split", "reason"])
        writer.writerow(["made/Made/a", "test", "no_face"])
        writer.writerow(["made/Made/b", "test", "VideoUnreadableError"])
        writer.writerow(["made/Made/c", "train", "no_face"])
    with pytest.warns(UserWarning, match="66 crops cannot be read and are left out, first .*test0.png"):
        table, coverage = score(scorer, path)
    assert len(table.label) == 14
    assert (coverage.videos_expected, coverage.videos_scored) == (82, 14)
    assert (coverage.videos_without_face, coverage.videos_failed) == (1, 67)
    assert dict(coverage.unscored)["made/Made/b"] == "VideoUnreadableError"


def test_nothing_readable_is_an_error(scorer: CropScorer, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(1, "test"))
    for crop in (path.parent / "crops").iterdir():
        crop.unlink()
    with (
        pytest.warns(UserWarning, match="2 crops cannot be read"),
        pytest.raises(ManifestError, match="not one of its crops can be read"),
    ):
        score(scorer, path)


def test_crops_too_narrow_for_the_detector_are_refused(scorer: CropScorer, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(1, "test"), geometry=CropGeometry(0.9))
    with pytest.raises(OptionError, match="extract again with --margin"):
        score(scorer, path)


def test_a_list_of_failures_of_another_kind_is_named(scorer: CropScorer, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(1, "test"))
    (path.parent / "failures.csv").write_text("video\nx\n")
    with pytest.raises(ManifestError, match="failures.csv: lacks the column"):
        score(scorer, path)
