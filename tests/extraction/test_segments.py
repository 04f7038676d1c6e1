"""Videos of which only stretches are forged: from the index through extraction, merging and packing."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_detect import evaluate
from deepfake_detect.data.index import IndexOrigin, read_index, write_index
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.merge import merge_manifests
from deepfake_detect.data.pack import pack_manifest
from deepfake_detect.extraction import ExtractionConfig, extract_videos
from deepfake_detect.records import FAKE, REAL, DatasetVideo

CONFIG = ExtractionConfig(num_frames=4, already_cropped=True)
ORIGIN = IndexOrigin(("made",), ("/data",), "auto", 0, "")


@pytest.fixture
def videos(portrait_clip: Path) -> list[DatasetVideo]:
    """A clip of 2 s at 12 frames a second, whose sampled frames 0, 8, 15, 23 are at 0 to 1.92 s."""
    real = DatasetVideo("D", "D/real/a", "real", REAL, "test", None, "a", None, portrait_clip)
    forged = DatasetVideo("D", "D/edited/b", "edited", FAKE, "test", None, "b", None, portrait_clip)
    segments = ((0.5, 0.75), (1.9, 2.5))
    whole = replace(forged, video_id="D/edited/c")
    return [replace(real, fake_segments=()), replace(forged, fake_segments=segments), whole]


def labels(manifest: Manifest, video_id: str) -> dict[int, int]:
    rows = manifest.columns(["video_id", "frame_index", "label"]).to_pylist()
    return {row["frame_index"]: row["label"] for row in rows if row["video_id"] == video_id}


def extracted(videos: list[DatasetVideo], out: Path, config: ExtractionConfig = CONFIG) -> Manifest:
    extract_videos(videos, out, config, runtime="torch", show_progress=False)
    return read_manifest(out)


def test_crops_outside_the_forged_stretches_are_real(videos: list[DatasetVideo], tmp_path: Path) -> None:
    manifest = extracted(videos, tmp_path / "out")
    assert labels(manifest, "D/edited/b") == {0: REAL, 8: FAKE, 15: REAL, 23: FAKE}
    assert set(labels(manifest, "D/real/a").values()) == {REAL}
    assert set(labels(manifest, "D/edited/c").values()) == {FAKE}
    stored = {row["video_id"]: row["fake_segments"] for row in manifest.table.to_pylist()}
    assert stored == {"D/real/a": [], "D/edited/b": [[0.5, 0.75], [1.9, 2.5]], "D/edited/c": None}
    partly = manifest.where("len(fake_segments) > 0")
    assert set(partly.column("video_id")) == {"D/edited/b"}


def test_stretches_of_a_later_listing_replace_the_earlier_ones(
    videos: list[DatasetVideo], tmp_path: Path
) -> None:
    extracted(videos, tmp_path / "out")
    corrected = [videos[0], replace(videos[1], fake_segments=((1.2, 1.3),)), videos[2]]
    assert labels(extracted(corrected, tmp_path / "out"), "D/edited/b") == {0: 0, 8: 0, 15: 1, 23: 0}


def test_stretches_survive_index_merge_pack_and_shards(videos: list[DatasetVideo], tmp_path: Path) -> None:
    index = write_index(tmp_path / "videos.parquet", videos, origin=ORIGIN)
    assert index.videos() == videos
    assert merge_manifests([index], tmp_path / "some.parquet", where="label = 1").num_rows == 2
    assert read_index(tmp_path / "some.parquet").videos() == videos[1:]  # type: ignore[union-attr]
    loose = extracted(videos, tmp_path / "out")
    merged = merge_manifests([loose], tmp_path / "merged" / "m.parquet")
    packed = pack_manifest(merged, tmp_path / "packed", show_progress=False).manifest  # type: ignore[arg-type]
    for manifest in (merged, packed):
        for name in ("label", "fake_segments"):
            assert manifest.columns([name]).to_pylist() == loose.columns([name]).to_pylist()
    out = tmp_path / "shards"
    extracted(videos, out, replace(CONFIG, store="shards"))
    with tarfile.open(out / "crops" / "D" / "edited" / "b.tar") as archive:
        members = [archive.extractfile(name) for name in archive.getnames() if name.endswith(".json")]
        assert [json.loads(one.read())["label"] for one in members if one] == [REAL, FAKE, REAL, FAKE]


def test_a_frame_without_a_time_has_the_label_of_its_video(videos: list[DatasetVideo]) -> None:
    assert [video.label_at(float("nan")) for video in videos] == [REAL, FAKE, FAKE]
    assert [videos[1].label_at(seconds) for seconds in (0.5, 0.75, 0.76)] == [FAKE, FAKE, REAL]


def test_evaluation_reports_how_well_segments_are_found(videos: list[DatasetVideo], tmp_path: Path) -> None:
    extracted(videos, tmp_path / "out")
    found = evaluate(tmp_path / "out", out=tmp_path / "report", num_resamples=10, show_progress=False)
    assert found.segments is not None
    assert (found.segments.num_videos, found.segments.num_segments) == (2, 2)
    written = json.loads((tmp_path / "report" / "metrics.json").read_text())["segments"]
    assert written["num_segments"] == 2
    assert set(written["metrics"]["ap@0.5"]) == {"value", "low", "high"}
    for name in ("report.html", "report.md"):
        assert "average precision at IoU 0.5" in (tmp_path / "report" / name).read_text()
