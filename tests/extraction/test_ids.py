"""Where crops are put, and whose word on a video counts when a run is taken up again."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.shards import is_stored
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.extraction import ExtractionConfig, extract_videos
from deepfake_detect.records import DatasetVideo
from tests.data.layouts.miniatures import place_images

WHOLE = ExtractionConfig(num_frames=2, margin=1.0, already_cropped=True)


def sequence(folder: Path, video_id: str, *, split: str | None = "train") -> DatasetVideo:
    return DatasetVideo("made", video_id, "real", 0, split, None, None, None, folder)


@pytest.mark.parametrize(
    "video_id", ["made/../../sources", "/tmp/elsewhere", "made//a", "made/.hidden", "made/./a"]
)
def test_an_id_that_leads_out_of_the_folder_fails_before_anything_is_written(
    video_id: str, tmp_path: Path
) -> None:
    source = place_images(tmp_path / "sources", ["0.png", "1.png"])
    before = sorted(path.name for path in source.iterdir())
    with pytest.raises(DatasetLayoutError, match="its id .* has empty or hidden parts, or points outside"):
        extract_videos([sequence(source, video_id)], tmp_path / "out", WHOLE, show_progress=False)
    assert sorted(path.name for path in source.iterdir()) == before
    assert not (tmp_path / "out").exists()


def test_one_id_for_two_videos_is_an_error(tmp_path: Path) -> None:
    source = place_images(tmp_path / "sources", ["0.png"])
    with pytest.raises(DatasetLayoutError, match="its id 'made/a' occurs twice"):
        extract_videos([sequence(source, "made/a")] * 2, tmp_path / "out", WHOLE, show_progress=False)


@pytest.mark.parametrize("store", ["files", "shards"])
def test_names_as_long_as_files_may_have(store: Literal["files", "shards"], tmp_path: Path) -> None:
    source = place_images(tmp_path / "sources", ["0.png"])
    names = [
        f"made/{letter}" + "\u6f14" * 83 + "x" * number for number, letter in enumerate("aab")
    ]  # 250 bytes
    videos = [sequence(source, name) for name in names]
    config = replace(WHOLE, store=store)
    assert extract_videos(videos, tmp_path / "out", config, show_progress=False).num_crops == 3
    manifest = read_manifest(tmp_path / "out")
    assert sorted(manifest.column("video_id")) == sorted(names)
    assert all(is_stored(tmp_path / "out" / path) for path in manifest.column("path"))
    assert extract_videos(videos, tmp_path / "out", config, show_progress=False).num_done_before == 3
    (source / "0.png").write_bytes(b"torn")
    failed = extract_videos(videos, tmp_path / "again", config, show_progress=False)
    assert failed.num_failed == 3


def test_a_video_named_below_another_keeps_its_crops(tmp_path: Path) -> None:
    inner = place_images(tmp_path / "inner", ["0.png", "1.png"])
    outer = place_images(tmp_path / "outer", ["0.png", "1.png"])
    (outer / "0.png").write_bytes(b"torn")
    videos = [sequence(outer, "made/a"), sequence(inner, "made/a/b")]
    out = tmp_path / "out"
    assert extract_videos(videos, out, WHOLE, show_progress=False).num_failed == 1
    cv2.imwrite(str(outer / "0.png"), np.zeros((8, 8, 3), np.uint8))
    report = extract_videos(videos, out, WHOLE, show_progress=False)
    assert (report.num_done_before, report.num_failed, report.num_crops) == (1, 0, 4)
    assert all((out / path).is_file() for path in read_manifest(out).column("path"))


def test_splits_are_those_of_the_listing_at_hand(tmp_path: Path) -> None:
    out, videos = tmp_path / "out", []
    for number in range(4):
        source = place_images(tmp_path / f"s{number}", ["0.png"])
        videos.append(sequence(source, f"made/{number}", split="train"))
    (tmp_path / "s3" / "0.png").write_bytes(b"torn")
    extract_videos(videos, out, WHOLE, show_progress=False)
    anew = [replace(video, split="test", target_id=f"p{n}") for n, video in enumerate(videos[1:])]
    report = extract_videos(anew, out, WHOLE, show_progress=False)
    assert report.num_done_before == 2
    manifest = read_manifest(out)
    assert manifest.column("split").tolist() == ["train", "test", "test"]
    assert manifest.column("target_id").tolist() == [None, "p0", "p1"]
    with open(out / "failures.csv", newline="") as file:
        (failure,) = csv.DictReader(file)
    assert (failure["video_id"], failure["split"], failure["target_id"]) == ("made/3", "test", "p2")
