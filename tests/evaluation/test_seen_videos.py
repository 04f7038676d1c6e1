"""Measured videos that a detector was trained or selected on are told, also some among others."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from deepfake_detect import weights
from deepfake_detect.data.manifest import MANIFEST_SCHEMA, Manifest, read_manifest, write_manifest
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.evaluation.seen import seen_notes
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.checkpoint import TrainingFacts, read_detector
from deepfake_detect.records import CropGeometry


def manifest(folder: Path, **splits: int) -> Manifest:
    rows = [
        {"video_id": f"made/{split}/{number}", "split": split, "label": 0, "frame_index": frame}
        for split, count in splits.items()
        for number in range(count)
        for frame in range(2)
    ]
    empty = dict.fromkeys(MANIFEST_SCHEMA.names)
    table = pa.Table.from_pylist([{**empty, **row} for row in rows], MANIFEST_SCHEMA)
    write_manifest(folder / "manifest.parquet", table, geometry=CropGeometry())
    return read_manifest(folder)


def test_digests_are_one_a_video_and_sorted(tmp_path: Path) -> None:
    rows = manifest(tmp_path, train=4, test=3)
    digests = video_digests(rows)
    assert digests == sorted(digests)
    assert [len(one) for one in digests] == [12] * 7
    assert set(video_digests(rows.split("test"))) < set(digests)


def test_single_videos_are_recognized(tmp_path: Path) -> None:
    rows = manifest(tmp_path, train=4, val=2, test=3)
    seen = {
        "train": tuple(
            video_digests(rows.where("video_id in ('made/train/0', 'made/test/1', 'made/test/2')"))
        ),
        "val": tuple(video_digests(rows.where("video_id = 'made/test/0'"))),
    }
    # The hash of the whole sets says nothing here.
    facts = TrainingFacts(video_sha256_prefixes=seen, train_videos_sha256="0" * 64)
    notes = seen_notes(facts, rows.split("test"))
    assert [note.split(": ")[1] for note in notes] == [
        "the detector was trained on 2 of the 3 evaluated videos",
        "the detector was selected on 1 of the 3 evaluated videos",
    ]
    assert all(note.startswith(f"{rows.path}: ") for note in notes)
    assert seen_notes(facts, rows.split("val")) == ()


def test_an_older_file_only_knows_complete_sets(tmp_path: Path) -> None:
    rows = manifest(tmp_path, train=4, test=3)
    facts = TrainingFacts(train_videos_sha256=rows.split("test").video_ids_sha256())
    note, blind = seen_notes(facts, rows.split("test"))
    assert "the detector was trained on the videos of the evaluated rows" in note
    assert "does not list the videos it was trained on" in blind
    note, _ = seen_notes(facts, rows.where("video_id = 'made/test/0'"))
    assert "trained on the videos of split test" in note
    assert seen_notes(facts, rows.split("train")) == (blind,)
    assert seen_notes(TrainingFacts(), rows.split("test")) == (blind,)


def test_a_calibration_does_not_hide_the_whole_sets_of_an_older_file(tmp_path: Path) -> None:
    rows = manifest(tmp_path, train=4, test=3)
    facts = TrainingFacts(
        train_videos_sha256=rows.split("test").video_ids_sha256(),
        video_sha256_prefixes={"calibrated": tuple(video_digests(rows.split("train")))},
    )
    note, blind = seen_notes(facts, rows.split("test"))
    assert "the detector was trained on the videos of the evaluated rows" in note
    assert "does not list the videos" in blind
    note, _ = seen_notes(facts, rows.split("train"))
    assert "the detector was calibrated on 4 of the 4 evaluated videos" in note


def test_what_is_selected_and_calibrated_on_is_told_once(tmp_path: Path) -> None:
    rows = manifest(tmp_path, train=4, val=2)
    val = tuple(video_digests(rows.split("val")))
    facts = TrainingFacts(video_sha256_prefixes={"train": (), "val": val, "calibrated": val})
    (note,) = seen_notes(facts, rows.split("val"))
    assert "selected on 2 of the 2" in note
    facts = TrainingFacts(video_sha256_prefixes={"train": (), "val": val[:1], "calibrated": val})
    assert len(seen_notes(facts, rows.split("val"))) == 2


def test_the_bundled_detector_tells_its_videos_one_by_one() -> None:
    _, config = read_detector(Path(weights.__file__).with_name("default.safetensors"))
    prefixes = config.training.video_sha256_prefixes
    assert [len(prefixes[use]) for use in ("train", "val")] == [16816, 1542]
    assert not set(prefixes["train"]) & set(prefixes["val"])
    card = Path(weights.__file__).with_name("README.md").read_text("utf-8")
    assert sha256_of_file(Path(weights.__file__).with_name("default.safetensors")) in card
