from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_detect.data.index import (
    INDEX_SCHEMA,
    IndexOrigin,
    VideoIndex,
    read_index,
    read_rows,
    write_index,
)
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import ManifestError
from deepfake_detect.records import DatasetVideo
from tests.data.trees import crop_manifest, textured_crops

ORIGIN = IndexOrigin(("ffpp",), ("/data/ffpp",), "auto", 3, "ab" * 32)


def videos(folder: Path) -> list[DatasetVideo]:
    return [
        DatasetVideo(
            "D", "D/m/c23/0_1", "m", 1, "test", "c23", "0", "1", folder / "a.mp4", folder / "mask.mp4"
        ),
        DatasetVideo("D", "D/original/2", "original", 0, None, None, None, None, folder / "b.mp4"),
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    index = write_index(tmp_path / "videos.parquet", videos(tmp_path), origin=ORIGIN)
    assert index.videos() == videos(tmp_path)
    assert index.origin == ORIGIN
    assert index.column_names == INDEX_SCHEMA.names
    assert [video.video_id for video in index.where("label = 1").videos()] == ["D/m/c23/0_1"]
    assert isinstance(index.where("label = 1"), VideoIndex)


def test_an_older_index_without_forged_stretches_is_read(tmp_path: Path) -> None:
    path = tmp_path / "videos.parquet"
    write_index(path, videos(tmp_path), origin=ORIGIN)
    pq.write_table(pq.read_table(path).drop_columns("fake_segments"), path)
    assert read_index(path).videos() == videos(tmp_path)
    assert isinstance(read_rows(path), VideoIndex)


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    index = write_index("videos.parquet", videos(Path("clips")), origin=ORIGIN)
    assert index.videos()[0].path == tmp_path / "clips" / "a.mp4"


def test_a_file_shows_what_it_is(tmp_path: Path) -> None:
    write_index(tmp_path / "videos.parquet", videos(tmp_path), origin=ORIGIN)
    manifest = crop_manifest(tmp_path / "m", textured_crops(1, "train"))
    assert isinstance(read_rows(tmp_path / "videos.parquet"), VideoIndex)
    assert isinstance(read_rows(manifest), Manifest)
    assert isinstance(read_rows(manifest.parent), Manifest)
    with pytest.raises(ManifestError, match="is not an index of videos; write one with index_dataset"):
        read_index(manifest)
    pq.write_table(pa.table({"path": ["x"]}), tmp_path / "other.parquet")
    with pytest.raises(ManifestError, match="is neither a manifest of crops nor an index of videos"):
        read_rows(tmp_path / "other.parquet")
    with pytest.raises(ManifestError, match="does not exist"):
        read_rows(tmp_path / "absent.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(ManifestError, match="is not a readable Parquet file"):
        read_rows(tmp_path / "torn.parquet")
