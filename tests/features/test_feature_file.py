from __future__ import annotations

import pickle
import resource
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from deepfake_detect.errors import ManifestError, OptionError, OutputError
from deepfake_detect.features.feature_file import FeatureFile, FeatureWriter, Group, feature_table
from deepfake_detect.io.files import atomic_path
from deepfake_detect.models.hdf5_file import LastingFile
from tests.features.data import write_features


def tables(count: int = 700):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    made = [
        feature_table(rng.normal(size=(count, 6)), split=split, method=method, label=label)
        for split, method, label in (("train", "a/b", 1), ("train", "..", 0), (None, "50%2F", 0))
    ]
    return [replace(one, paths=one.video_ids, identities=one.video_ids) for one in made]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_features(tmp_path / "features.h5", tables())


def test_rows_come_back_by_split_and_method(path: Path) -> None:
    file = FeatureFile(path)
    assert set(file.groups) == {
        Group("train", "a/b", 700), Group("train", "..", 700), Group("unsplit", "50%2F", 700)
    }  # fmt: skip
    for made in tables():
        read = file.read(made.splits[0], made.methods[0])
        for name in vars(made):
            np.testing.assert_array_equal(getattr(read, name), getattr(made, name), err_msg=name)
        assert read.features.dtype == np.float32
    assert len(file.read("train")) == 1400
    assert len(file.read()) == file.num_rows == 2100


@pytest.mark.parametrize("percent", [0, 1, 5, 30, 60, 90, 99])
def test_a_full_disk_is_an_error_and_leaves_nothing(path: Path, tmp_path: Path, percent: int) -> None:
    """HDF5 itself ends the process where it cannot write what it holds."""
    target, limits = tmp_path / "out" / "features.h5", resource.getrlimit(resource.RLIMIT_FSIZE)
    target.parent.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size * percent // 100, limits[1]))
    try:
        with (
            pytest.raises(OutputError, match=r"features.h5: cannot be written \(File too large\)"),
            atomic_path(target) as temporary,
        ):
            write_features(temporary, tables())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(target.parent.iterdir()) == []
    with atomic_path(target) as temporary:
        write_features(temporary, tables())
    assert FeatureFile(target).read().features.tobytes() == FeatureFile(path).read().features.tobytes()


def test_what_a_full_disk_does_not_take_is_read_back(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open(tmp_path / "a", "w+b", buffering=0) as file:
        lasting = LastingFile(file.fileno())
        lasting.write(b"0123456789")
        resource.setrlimit(resource.RLIMIT_FSIZE, (12, limits[1]))
        try:
            lasting.seek(8)
            assert lasting.write(b"abcdefgh") == 8
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        lasting.seek(2)
        lasting.write(b"xy")
        assert lasting.seek(0, 2) == 16
        lasting.seek(0)
        assert lasting.read(18) == b"01xy4567abcdefgh\0\0"
        with pytest.raises(OSError, match="File too large"):
            lasting.check()


def test_the_file_is_laid_out_as_others_read_it(path: Path) -> None:
    with h5py.File(path) as file:
        features = file["train/a%2Fb/features"]
        assert (features.compression, features.shuffle, features.maxshape) == ("gzip", True, (None, 6))
        assert file["train/a%2Fb/labels"][0] == 1
        assert file["train/a%2Fb/video_ids"].asstr()[3] == "a/b/3"
        assert set(file.attrs) >= {"source", "card", "preprocessing", "manifests"}


def test_batches_are_the_rows_in_pieces(path: Path) -> None:
    file = FeatureFile(path)
    pieces = list(file.batches("train", batch_size=300))
    assert [len(one) for one in pieces] == [300, 300, 100, 300, 300, 100]
    whole = np.concatenate([one.features for one in pieces])
    np.testing.assert_array_equal(whole, file.read("train").features)


def test_the_torch_dataset_is_the_same_rows_also_in_workers(path: Path) -> None:
    file = FeatureFile(path)
    dataset = file.dataset("train")
    read = file.read("train")
    for row in (0, 699, 700, 1399):
        features, label = dataset[row]
        np.testing.assert_array_equal(features.numpy(), read.features[row])
        assert label == read.labels[row]
    assert len(pickle.loads(pickle.dumps(dataset))) == 1400
    loaded = torch.cat([x for x, _ in DataLoader(dataset, batch_size=500, num_workers=1)])
    np.testing.assert_array_equal(loaded.numpy(), read.features)
    with pytest.raises(IndexError, match="1400"):
        dataset[1400]


def test_rows_are_added_behind_those_there_are(path: Path) -> None:
    more = feature_table(np.ones((5, 6)), split="train", method="a/b", label=1)
    note = {"path": "m", "sha256": "0", "where": [], "library_version": "1"}
    with FeatureWriter.extend(path, manifests=[note]) as writer:
        writer.append(more)
    file = FeatureFile(path)
    assert file.manifests == [note]
    read = file.read("train", "a/b")
    assert len(read) == 705
    np.testing.assert_array_equal(read.features[700:], more.features)
    np.testing.assert_array_equal(read.features[:700], tables()[0].features)


def test_what_is_not_there_is_told(path: Path) -> None:
    file = FeatureFile(path)
    with pytest.raises(OptionError, match=r"has no rows of test/\*; there are .*train/a/b"):
        file.read("test")
    with pytest.raises(OptionError, match="batch_size: is 0"):
        next(file.batches(batch_size=0))
    with pytest.raises(ManifestError, match="there is no such feature file"):
        FeatureFile(path.with_name("absent.h5"))
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["a"] = 1
    with pytest.raises(ManifestError, match="is not a feature file"):
        FeatureFile(path.with_name("other.h5"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ManifestError, match="is truncated or damaged .*; delete it and extract again"):
        FeatureFile(path).read()


def test_a_changed_byte_is_noticed(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        stored = file["train/a%2Fb/features"]
        chunk = stored.id.get_chunk_info(0)
    whole[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(bytes(whole))
    with pytest.raises(ManifestError, match="is truncated or damaged"):
        FeatureFile(path).read("train", "a/b")


@pytest.mark.parametrize("attribute", ["feature_shape", "preprocessing", "geometry"])
@pytest.mark.parametrize("value", ["5", "[[]]", "{", '{"no": 1}'])
def test_descriptions_of_another_kind_are_damage(path: Path, attribute: str, value: str) -> None:
    with h5py.File(path, "r+") as file:
        assert attribute in file.attrs
        file.attrs[attribute] = value
    with pytest.raises(ManifestError, match="is truncated or damaged"):
        FeatureFile(path).read()


def test_maps_are_kept_as_they_are(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(3, 4, 2, 2))
    path = write_features(tmp_path / "maps.h5", [feature_table(maps, split="val", method="m")])
    np.testing.assert_array_equal(FeatureFile(path).read().features, maps.astype(np.float32))


def test_changed_bytes_anywhere_are_damage_or_change_nothing(path: Path) -> None:
    # Without the hash some of these end the process inside of HDF5.
    content, rows = path.read_bytes(), FeatureFile(path).read()
    for number, start in enumerate(range(0, len(content), max(1, len(content) // 60))):
        value = b"\0" if number % 2 else b"\xff"
        path.write_bytes(content[:start] + value * 16 + content[start + 16 :])
        try:
            found = FeatureFile(path).read()
        except ManifestError as error:
            assert "is truncated or damaged" in str(error) or "not a feature file" in str(error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(found.features, rows.features)
            assert start < 512 or content[start : start + 16] == value * 16


def test_a_file_without_a_hash_is_read(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"\0" * 512)
    assert FeatureFile(path).num_rows > 0


def test_added_rows_renew_the_hash(path: Path) -> None:
    before = FeatureFile(path)
    with FeatureWriter.extend(path) as writer:
        writer.append(before.read())
    assert FeatureFile(path).num_rows == 2 * before.num_rows
