from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_detect.data.manifest import MANIFEST_SCHEMA, read_manifest, rows_to_table, write_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import CropGeometry
from tests.data.trees import crop_manifest, textured_crops


def test_what_is_written_is_read(tmp_path: Path) -> None:
    row = {
        "video_id": "a/b/c23/000",
        "label": 1,
        "box_xyxy": [1.0, 2.0, 3.5, 4.0],
        "landmarks_xy": [float(n) for n in range(10)],
        "time_seconds": 0.04,
    }
    geometry = CropGeometry(margin=1.7, aligned=True)
    write_manifest(tmp_path / "manifest.parquet", rows_to_table([row]), geometry=geometry)
    for path in (tmp_path, tmp_path / "manifest.parquet"):
        manifest = read_manifest(path)
        (read,) = manifest.table.to_pylist()
        assert {key: read[key] for key in row} == row
        assert read["split"] is None
        assert manifest.geometry == geometry
        assert manifest.root == tmp_path
        assert manifest.table.schema.names == MANIFEST_SCHEMA.names


def test_splits(tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(2, "train") + textured_crops(1, "val"))
    manifest = read_manifest(path)
    assert manifest.split("train").table.num_rows == 4
    assert set(manifest.split("val").column("split")) == {"val"}
    with pytest.raises(OptionError, match="no row of split 'test'; must be one of train, val, all"):
        manifest.split("test")


def test_the_hash_is_of_the_set_of_videos(tmp_path: Path) -> None:
    manifest = read_manifest(crop_manifest(tmp_path / "m", textured_crops(3, "train")))
    turned = tmp_path / "turned.parquet"
    write_manifest(turned, manifest.table.take([5, 4, 3, 2, 1, 0, 0]), geometry=manifest.geometry)
    fewer = manifest.where("video_id != 'made/original/train0'")
    assert read_manifest(turned).video_ids_sha256() == manifest.video_ids_sha256()
    assert fewer.video_ids_sha256() != manifest.video_ids_sha256()


def test_what_is_no_manifest_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="does not exist"):
        read_manifest(tmp_path)
    path = tmp_path / "manifest.parquet"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(ManifestError, match="not a readable Parquet file"):
        read_manifest(path)
    pq.write_table(pa.table({"path": ["x"]}), path)
    with pytest.raises(ManifestError, match="lacks the columns dataset, video_id"):
        read_manifest(path)
    pq.write_table(MANIFEST_SCHEMA.empty_table(), path)
    with pytest.raises(ManifestError, match="does not state how its crops were cut"):
        read_manifest(path)
    for stored in ("[]", "{", '{"margin": "2"}', '{"margin": 1.3, "path": "/etc"}', "[" * 100_000):
        metadata = {b"deepfake_detect.crop_geometry": stored.encode()}
        pq.write_table(MANIFEST_SCHEMA.empty_table().replace_schema_metadata(metadata), path)
        with pytest.raises(ManifestError, match="its crop geometry cannot be read"):
            read_manifest(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 0, None], "row 2 .from 0. has no label; write 1 for fake, 0 for real"),
        ([1.0, float("nan"), 0.0], "row 1 .from 0. has no label"),
        ([0, 1, 2], "row 2 .from 0. has the label 2;"),
        ([-1, 1, 0], "row 0 .from 0. has the label -1;"),
        ([0.5, 1.0, 0.0], "row 0 .from 0. has the label 0.5;"),
        (["fake", "real", "fake"], "row 0 .from 0. has the label 'fake';"),
    ],
)
def test_labels_are_checked_when_a_manifest_is_opened(tmp_path: Path, labels: list, message: str) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(path, rows_to_table([{"label": 1}] * 3), geometry=CropGeometry())
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index("label"), "label", pa.array(labels))
    pq.write_table(table, path, row_group_size=1)
    with pytest.raises(ManifestError, match=f"manifest.parquet: {message}"):
        read_manifest(path)


def test_the_codec_is_kept_next_to_the_geometry(tmp_path: Path) -> None:
    for name, codec in (("jpeg", "jpeg-90"), ("unknown", None)):
        path = tmp_path / f"{name}.parquet"
        write_manifest(path, rows_to_table([{"label": 1}]), geometry=CropGeometry(), codec=codec)
        assert read_manifest(path).codec == codec
        assert read_manifest(path).where("label = 1").codec == codec


def test_an_older_file_without_later_columns_is_read_as_nulls(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    rows = [{"video_id": name, "label": 1, "person_choice": "mask"} for name in "ab"]
    write_manifest(path, rows_to_table(rows), geometry=CropGeometry())
    assert read_manifest(path).column("person_choice").tolist() == ["mask", "mask"]
    pq.write_table(pq.read_table(path).drop_columns("person_choice"), path)
    manifest = read_manifest(path)
    assert manifest.table.schema.names == MANIFEST_SCHEMA.names
    assert manifest.column("person_choice").tolist() == [None, None]
    assert (
        manifest.columns(["person_choice", "label"]).to_pylist() == [{"person_choice": None, "label": 1}] * 2
    )
    assert [chunk["person_choice"].to_pylist() for chunk in manifest.chunks(num_rows=1)] == [[None], [None]]
    write_manifest(path, pq.read_table(path), geometry=CropGeometry())
    assert "person_choice" in pq.read_schema(path).names
