from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from deepfake_detect.data import leaks
from deepfake_detect.data.failures import write_failures, write_missing
from deepfake_detect.data.manifest import read_manifest, rows_to_table, write_manifest
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.evaluate import evaluate_scores
from deepfake_detect.evaluation.predict import score_columns, score_held_out, score_manifest
from deepfake_detect.evaluation.score_files import DecisionFacts, read_scores, write_scores
from deepfake_detect.models.checkpoint import TrainingFacts, read_detector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.records import CropGeometry, DatasetVideo
from tests.data.trees import crop_manifest, textured_crops


@pytest.fixture
def scorer(small_detector: Path) -> TorchDetector:
    model, config = read_detector(small_detector)
    return TorchDetector(model, config, device=torch.device("cpu"))


def score(scorer: TorchDetector, path: Path, split: str = "test"):  # type: ignore[no-untyped-def]
    return score_manifest(scorer, read_manifest(path), split=split, num_workers=0, show_progress=False)


def test_scores_are_those_of_the_crops_themselves(scorer: TorchDetector, tmp_path: Path) -> None:
    crops = textured_crops(3, "test", seed=1) + textured_crops(1, "val", seed=2)
    table, coverage = score(scorer, crop_manifest(tmp_path / "m", crops))
    assert coverage.videos_expected == coverage.videos_scored == 6
    expected = scorer.score_crops([crop[3] for crop in crops[:6]])
    torch.testing.assert_close(
        torch.tensor(table.fake_probability), torch.tensor(expected), atol=1e-5, rtol=0
    )
    assert table.label.tolist() == [0, 1] * 3
    everything, _ = score(scorer, tmp_path / "m", split="all")
    assert len(everything.label) == 8


def test_what_has_no_score_counts_against_coverage(scorer: TorchDetector, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(40, "test"))
    for number in range(33):  # more than a whole batch of 64 in a row
        for name in (f"test{number}", f"fake-test{number}"):
            (path.parent / "crops" / f"{name}.png").unlink()
    reasons = (("a", "test", "no_face"), ("b", "test", "VideoUnreadableError"), ("c", "train", "no_face"))
    write_failures(
        path.parent / "failures.csv",
        [{"video_id": f"made/Made/{name}", "split": split, "reason": why} for name, split, why in reasons],
    )
    with pytest.warns(UserWarning, match="skipped 66 crops that cannot be read: ") as caught:
        table, coverage = score(scorer, path)
    (told,) = caught
    names = [name for number in range(10) for name in (f"test{number}", f"fake-test{number}")]
    named = ", ".join(str(path.parent / "crops" / f"{name}.png") for name in names)
    assert str(told.message).endswith(f": {named}, ... and 46 more")
    assert len(table.label) == 14
    assert (coverage.videos_expected, coverage.videos_scored) == (82, 14)
    assert (coverage.videos_without_face, coverage.videos_failed) == (1, 67)
    assert dict(coverage.unscored)["made/Made/b"] == "VideoUnreadableError"


def test_nothing_readable_is_an_error(scorer: TorchDetector, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(1, "test"))
    for crop in (path.parent / "crops").iterdir():
        crop.unlink()
    with (
        pytest.warns(
            UserWarning, match="skipped 2 crops that cannot be read: .*/test0.png, .*/fake-test0.png$"
        ),
        pytest.raises(ManifestError, match="none of its crops can be read"),
    ):
        score(scorer, path)


def test_crops_too_narrow_for_the_detector_are_refused(scorer: TorchDetector, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(1, "test"), geometry=CropGeometry(0.9))
    with pytest.raises(OptionError, match="extract again with `crops_for` set to"):
        score(scorer, path)


def test_a_list_of_failures_of_another_kind_is_named(scorer: TorchDetector, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(1, "test"))
    (path.parent / "failures.csv").write_text("video\nx\n")
    with pytest.raises(ManifestError, match="failures.csv: lacks the column"):
        score(scorer, path)


def test_only_the_failures_of_the_chosen_rows_count(scorer: TorchDetector, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(2, "test"))
    write_failures(
        path.parent / "failures.csv",
        [
            {"video_id": f"{dataset}/x", "dataset": dataset, "split": "test", "reason": "no_face"}
            for dataset in ("made", "other")
        ],
    )
    rows = read_manifest(path).where("dataset = 'made'")
    _, coverage = score_manifest(scorer, rows, split="test", num_workers=0, show_progress=False)
    assert (coverage.videos_expected, coverage.videos_without_face) == (5, 1)
    assert coverage.unscored == (("made/x", "no_face"),)


def held_out(scorer: TorchDetector, path: Path, split: str = "test", **options: object):  # type: ignore[no-untyped-def]
    manifest = read_manifest(path)
    return score_held_out(scorer, manifest, split=split, num_workers=0, show_progress=False, **options)  # type: ignore[arg-type]


def test_a_split_that_another_leaks_into_is_refused(scorer: TorchDetector, tmp_path: Path) -> None:
    """Test videos left in training."""
    crops = textured_crops(3, "train", seed=1) + textured_crops(2, "test", seed=2)
    path = crop_manifest(tmp_path / "m", crops + textured_crops(2, "val", seed=3))
    plain, _ = score(scorer, path)
    checked, _ = held_out(scorer, path)
    assert checked.video_id.tolist() == plain.video_id.tolist()
    rows = read_manifest(path).table.to_pylist()
    rows += [{**row, "split": "train"} for row in rows if row["split"] == "test"]
    write_manifest(path, rows_to_table(rows), geometry=CropGeometry())
    with pytest.raises(
        ManifestError, match="videos: train and test share 4 .*`allow_leak` videos identities"
    ):
        held_out(scorer, path)
    with pytest.raises(ManifestError, match="identities: train and test share 2"):
        held_out(scorer, path, allow_leak=["videos"])
    assert len(held_out(scorer, path, "val")[0].label) == 4  # the leak is none of val
    everything = ["videos", "identities", "identical-crops"]
    assert len(held_out(scorer, path, allow_leak=everything)[0].label) == 4


def test_crops_too_many_to_be_compared_are_told(
    scorer: TorchDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = crop_manifest(
        tmp_path / "m", textured_crops(1, "train", seed=1) + textured_crops(1, "test", seed=2)
    )
    monkeypatch.setattr(leaks, "MAX_CROPS_COMPARED", 3)
    with pytest.warns(UserWarning, match="its 4 crops were not compared"):
        held_out(scorer, path)


def test_a_condition_does_not_hide_what_the_test_split_shares(scorer: TorchDetector, tmp_path: Path) -> None:
    crops = textured_crops(3, "train", seed=1) + textured_crops(2, "test", seed=2)
    path = crop_manifest(tmp_path / "m", crops)
    (path.parent / "crops" / "test1.png").write_bytes((path.parent / "crops" / "train0.png").read_bytes())
    for split in ("test", "all"):
        rows = read_manifest(path).where("split = 'test'")
        with pytest.raises(ManifestError, match="identical-crops: train and test share 1 "):
            score_held_out(scorer, rows, split=split, num_workers=0, show_progress=False)


def test_splits_measured_together_are_told(scorer: TorchDetector, tmp_path: Path) -> None:
    crops = textured_crops(1, "train", seed=1) + textured_crops(1, "test", seed=2)
    path = crop_manifest(tmp_path / "m", crops)
    with pytest.warns(UserWarning, match="are evaluated together, training rows included: train, test"):
        table, _ = held_out(scorer, path, "all")
    assert len(table.label) == 4


@pytest.fixture
def three_splits(tmp_path: Path) -> Path:
    splits = ("train", "val", "test")
    crops = [crop for seed, name in enumerate(splits) for crop in textured_crops(2, name, seed=seed)]
    return crop_manifest(tmp_path / "m", crops)


def trained_on(scorer: TorchDetector, **hashes: Any) -> TorchDetector:
    return TorchDetector(
        scorer.model, replace(scorer.config, training=TrainingFacts(**hashes)), device=scorer.device
    )


@pytest.mark.parametrize(
    ("condition", "split", "words"),
    [
        # Rows that are exactly the ones trained on, under the name of another split or none.
        ("true", "test", "trained on the videos of the evaluated rows"),
        ("split = 'test'", "all", "trained on the videos of the evaluated rows"),
        # Some rows of a split that was trained or selected on as a whole.
        ("label = 1", "test", "trained on the videos of split test"),
        ("label = 1", "val", "selected on the videos of split val"),
        ("true", "all", "selected on the videos of split val"),
    ],
)
def test_what_the_detector_was_trained_or_selected_on_is_told(
    condition: str, split: str, words: str, scorer: TorchDetector, three_splits: Path
) -> None:
    whole = read_manifest(three_splits)
    seen = trained_on(
        scorer,
        train_videos_sha256=whole.split("test").video_ids_sha256(),
        val_videos_sha256=whole.split("val").video_ids_sha256(),
    )
    rows = whole.where(condition)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        score_held_out(seen, rows, split=split, num_workers=0, show_progress=False)
    assert any(f"the detector was {words}: these figures do not show" in str(one.message) for one in told)


def test_some_seen_videos_among_others_are_told(scorer: TorchDetector, three_splits: Path) -> None:
    whole = read_manifest(three_splits)
    digests = video_digests(whole.where("video_id = 'made/Made/fake-test0'"))
    prefixes = {"train": tuple(digests), "val": ()}
    seen = trained_on(scorer, video_sha256_prefixes=prefixes)
    with pytest.warns(UserWarning, match="the detector was trained on 1 of the 4 evaluated videos: these"):
        held_out(seen, three_splits)
    assert len(held_out(seen, three_splits, "val")[0].label) == 4  # a warning would be an error here


def test_scores_carry_what_they_can_be_sliced_by(scorer: TorchDetector, three_splits: Path) -> None:
    table, _ = score(scorer, three_splits)
    details = table.details
    assert set(details["split"]) == {"test"}
    assert details["native_size"].tolist() == [64] * 4
    assert details["identity"].tolist() == ["made:test0", "made:test0", "made:test1", "made:test1"]
    expected = 1 / (1 + np.exp(-details["logit"] / scorer.config.temperature))
    np.testing.assert_allclose(table.fake_probability, expected)


def test_other_videos_are_no_matter(scorer: TorchDetector, three_splits: Path) -> None:
    test_videos = read_manifest(three_splits).split("test").video_ids_sha256()
    seen = trained_on(scorer, train_videos_sha256=test_videos, video_sha256_prefixes={"train": ()})
    assert len(held_out(seen, three_splits, "val")[0].label) == 4  # a warning would be an error here


def test_videos_that_the_folder_had_not_count_against_coverage(scorer: TorchDetector, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(2, "test"))
    absent = [
        DatasetVideo("made", f"made/YouTube-real/{n}", "YouTube-real", 0, split, None, None, None, Path("p"))
        for n, split in enumerate(("test", "test", "train"))
    ]
    write_missing(path.parent / "missing.csv", absent)
    table, coverage = score(scorer, path)
    assert (
        coverage.sentence() == "4 of 6 videos scored, 0 without a face, 0 could not be read, 2 not downloaded"
    )
    assert coverage.unscored == (("made/YouTube-real/0", "missing"), ("made/YouTube-real/1", "missing"))
    assert [(one.method, one.label, one.frame_index) for one in coverage.rows] == [
        ("YouTube-real", 0, None)
    ] * 2
    # The conditions of the rows hold for them.
    for condition, count in (("label = 1", 0), ("method = 'YouTube-real' or label = 1", 2)):
        rows = read_manifest(path).where(condition)
        _, part = score_manifest(scorer, rows, split="test", num_workers=0, show_progress=False)
        assert (part.videos_missing, part.videos_failed) == (count, 0)
    # What was tried and failed says more than that it was missing; what is scored was not missing.
    write_failures(
        path.parent / "failures.csv",
        [{"video_id": "made/YouTube-real/0", "split": "test", "reason": "VideoUnreadableError"}],
    )
    write_missing(path.parent / "missing.csv", [*absent, replace(absent[0], video_id=table.video_id[0])])
    assert dict(score(scorer, path)[1].unscored) == {
        "made/YouTube-real/0": "VideoUnreadableError",
        "made/YouTube-real/1": "missing",
    }


def test_an_older_list_of_missing_videos_is_read_too(scorer: TorchDetector, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(2, "test"))
    (path.parent / "missing.csv").write_text("video_id,split,path\nmade/x/0,test,p\nmade/x/1,train,p\n")
    _, coverage = score(scorer, path)
    assert coverage.unscored == (("made/x/0", "missing"),)
    (path.parent / "missing.csv").write_text("video\nx\n")
    with pytest.raises(ManifestError, match="missing.csv: lacks the columns video_id, split, path"):
        score(scorer, path)


def test_scores_carry_every_column_of_one_value(scorer: TorchDetector, tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(2, "test"))
    table, _ = score(scorer, path)
    assert set(table.columns()) == set(score_columns(read_manifest(path)))
    assert {"person_choice", "time_seconds", "split", "logit", "identity"} <= set(table.details)
    assert not {"box_xyxy", "landmarks_xy"} & set(table.details)
    stored = pq.read_table(path)
    wider = stored.append_column("camera", pa.array(["a", "b"] * 2))
    pq.write_table(wider, path)
    assert score(scorer, path)[0].details["camera"].tolist() == ["a", "b"] * 2
    # A condition on it keeps no video of which it is not known.
    failure = {"video_id": "made/x/0", "split": "test", "reason": "no_face"}
    write_failures(path.parent / "failures.csv", [failure])
    rows = read_manifest(path).where("camera = 'a'")
    _, coverage = score_manifest(scorer, rows, split="test", num_workers=0, show_progress=False)
    assert (coverage.videos_expected, coverage.videos_scored) == (2, 2)
    assert score(scorer, path)[1].videos_expected == 5


def test_a_video_with_a_forged_stretch_is_fake_and_its_other_crops_are_real(
    scorer: TorchDetector, tmp_path: Path
) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(2, "test"))
    rows = read_manifest(path).table.to_pylist()
    # The first fake has one more crop, before its forged stretch; the second one has none inside of it.
    first, second = [row for row in rows if row["label"]]
    first["fake_segments"] = second["fake_segments"] = [[1.0, 2.0]]
    first["time_seconds"], second["label"] = 1.5, 0
    rows.append({**first, "frame_index": 9, "time_seconds": 0.0, "label": 0})
    write_manifest(path, rows_to_table(rows), geometry=CropGeometry())
    table, coverage = score(scorer, path)
    assert dict(zip(table.video_id, table.label, strict=True)) == {
        **{row["video_id"]: int(row["method"] == "Made") for row in rows}
    }
    assert table.crop_labels.tolist() == [row["label"] for row in rows]
    evaluation = evaluate_scores(table, coverage, threshold=0.5, aggregation_rule="mean", num_resamples=20)
    assert np.bincount(evaluation.video.labels).tolist() == [2, 2]
    assert np.bincount(evaluation.frame.labels).tolist() == [4, 1]
    write_scores(tmp_path / "scores.parquet", table, coverage, decision=DecisionFacts(name="x"))
    assert read_scores(tmp_path / "scores.parquet").table.crop_labels.tolist() == table.crop_labels.tolist()
