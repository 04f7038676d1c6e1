"""Measured videos that a detector was trained or selected on are told, also some among others."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from deepfake_detect.data.manifest import MANIFEST_SCHEMA, Manifest, read_manifest, write_manifest
from deepfake_detect.data.seen import video_digests
from deepfake_detect.evaluation.seen import seen_notes
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


def test_some_videos_among_others_are_noticed(tmp_path: Path) -> None:
    rows = manifest(tmp_path, train=4, val=2, test=3)
    seen = {
        "train": video_digests(rows.where("video_id in ('made/train/0', 'made/test/1', 'made/test/2')")),
        "val": video_digests(rows.where("video_id = 'made/test/0'")),
    }
    # The hash of the whole sets says nothing here.
    facts = {"video_sha256_prefixes": seen, "train_videos_sha256": "0" * 64}
    notes = seen_notes(facts, rows.split("test"))
    assert [note.split(": ")[1] for note in notes] == [
        "the detector was trained on 2 of the 3 measured videos",
        "the detector was selected on 1 of the 3 measured videos",
    ]
    assert all(note.startswith(f"{rows.path}: ") for note in notes)
    assert seen_notes(facts, rows.split("val")) == ()


def test_an_older_file_knows_whole_sets_alone(tmp_path: Path) -> None:
    rows = manifest(tmp_path, train=4, test=3)
    facts = {"train_videos_sha256": rows.split("test").video_ids_sha256()}
    (note,) = seen_notes(facts, rows.split("test"))
    assert "the detector was trained on the videos of the measured rows" in note
    (note,) = seen_notes(facts, rows.where("video_id = 'made/test/0'"))
    assert "trained on the videos of split test" in note
    assert seen_notes(facts, rows.split("train")) == ()
    assert seen_notes({}, rows.split("test")) == ()
