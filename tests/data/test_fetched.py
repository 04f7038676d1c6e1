"""Manifests behind URLs, on an object server of this machine."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.fetched import local_manifest
from deepfake_detect.data.manifest import read_manifest, write_manifest
from deepfake_detect.data.pack import pack_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.fetch import RemoteDir
from deepfake_detect.options import options_from_mapping
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import chosen_rows
from tests.data.trees import crop_manifest, textured_crops


@pytest.fixture
def packed(tmp_path: Path, object_store: RemoteDir, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packed manifest that also lies at ``s3://faces/packed/manifest.parquet``."""
    monkeypatch.setenv("DEEPFAKE_DETECT_CACHE", str(tmp_path / "cache"))
    loose = read_manifest(crop_manifest(tmp_path / "loose", textured_crops(6, "train")))
    report = pack_manifest(loose, tmp_path / "packed", shard_mb=0.03, show_progress=False)
    put_all(object_store, report.manifest.root)
    return report.manifest.path


def put_all(store: RemoteDir, folder: Path) -> None:
    for path in (one for one in folder.iterdir() if one.suffix in (".tar", ".parquet")):
        store.put(path, f"packed/{path.name}")


URL = "s3://faces/packed/manifest.parquet"


def test_shards_are_fetched_once_and_read_as_from_the_folder(packed: Path, object_store: RemoteDir) -> None:
    here = read_manifest(local_manifest(URL))
    there = read_manifest(packed)
    assert here.table.equals(there.table)
    for path in here.table.column("path").to_pylist():
        assert np.array_equal(read_crop(here.root / path), read_crop(there.root / path))
    shards = sorted(here.root.glob("*.tar"))
    assert len(shards) > 2
    times = {path: path.stat().st_mtime_ns for path in shards}
    shards[1].write_bytes(shards[1].read_bytes()[:100])  # as a fetch leaves it that is killed
    local_manifest(URL)
    assert [path for path in shards if path.stat().st_mtime_ns != times[path]] == [shards[1]]
    assert shards[1].read_bytes() == (packed.parent / shards[1].name).read_bytes()


def test_another_manifest_begins_again(packed: Path, object_store: RemoteDir) -> None:
    first = local_manifest(URL)
    (first.parent / "crop_hashes.parquet").touch()
    rows = read_manifest(packed)
    write_manifest(packed, rows.table.slice(0, 2), geometry=rows.geometry)
    put_all(object_store, packed.parent)
    assert local_manifest(URL) == first
    assert read_manifest(first).num_rows == 2
    assert not (first.parent / "crop_hashes.parquet").exists()


def test_tools_take_the_url(packed: Path, tmp_path: Path) -> None:
    values = {"manifest": URL, "out": tmp_path / "run", "backbone": "small_cnn"}
    config = options_from_mapping(TrainingConfig, values, source="flags")
    assert chosen_rows(config).num_rows == 12
    out = tmp_path / "features.h5"
    with pytest.warns(UserWarning, match="random weights"):
        assert (
            main(["extract-features", "--manifest", URL, "--backbone", "test_resnet", "--out", str(out)]) == 0
        )
    with h5py.File(out) as file:
        assert sum(len(group["labels"]) for split in file.values() for group in split.values()) == 12


def test_what_is_not_there_is_rejected(packed: Path, object_store: RemoteDir) -> None:
    with pytest.raises(ManifestError, match=r"packed/nothing.parquet: does not exist"):
        local_manifest("s3://faces/packed/nothing.parquet")
    with pytest.raises(OptionError, match="is not a Parquet file"):
        local_manifest("s3://faces/packed")
    object_store.remove("packed/crops-000001.tar")
    with pytest.raises(ManifestError, match=r"names 1 file that does not exist, such as crops-000001.tar"):
        local_manifest(URL)


def test_a_manifest_writes_nowhere_else(packed: Path, object_store: RemoteDir) -> None:
    rows = read_manifest(packed)
    paths = rows.table.column("path").to_pylist()
    index = rows.table.column_names.index("path")
    escaped = rows.table.set_column(index, "path", [["../" + path for path in paths]])
    write_manifest(packed, escaped, geometry=rows.geometry)
    put_all(object_store, packed.parent)
    with pytest.raises(ManifestError, match=r"names a file outside its folder, \.\./crops-"):
        local_manifest(URL)
