"""Crops of a manifest in numbered tar shards."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data import pack
from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.failures import failures_path, read_failures, write_failures
from deepfake_detect.data.manifest import Manifest, read_manifest, write_manifest
from deepfake_detect.data.options import PackOptions
from deepfake_detect.data.pack import pack_manifest
from deepfake_detect.data.shards import read_stored_bytes
from deepfake_detect.errors import ManifestError, OptionError
from tests.data.trees import crop_manifest, textured_crops

SHARD_MB = 0.03  # two crops of 64 x 64 pixels of noise, of about 12 and 9 kB, and one more


@pytest.fixture
def loose(tmp_path: Path) -> Manifest:
    path = crop_manifest(tmp_path / "loose", textured_crops(6, "train"))
    table = read_manifest(path).table
    write_manifest(path, table, geometry=read_manifest(path).geometry, codec="png")
    failure = {"dataset": "made", "video_id": "made/x", "method": "x", "label": 1, "split": "train"}
    write_failures(failures_path(path), [{**failure, "path": "p", "reason": "no_face", "message": "none"}])
    return read_manifest(path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_every_byte_arrives_and_the_rows_stay(loose: Manifest, tmp_path: Path) -> None:
    report = pack_manifest(loose, tmp_path / "out", shard_mb=SHARD_MB, show_progress=False)
    packed = report.manifest
    assert report.unreadable == ()
    assert packed.table.drop_columns("path").equals(loose.table.drop_columns("path"))
    assert (packed.geometry, packed.codec) == (loose.geometry, "png")
    for old, new in zip(loose.column("path"), packed.column("path"), strict=True):
        assert read_stored_bytes(packed.root / new) == (loose.root / old).read_bytes()
        np.testing.assert_array_equal(read_crop(packed.root / new), read_crop(loose.root / old))
    assert packed.column("path")[0] == "crops-000000.tar/000000000.png"
    assert report.num_shards == len(list((tmp_path / "out").glob("*.tar"))) > 2
    sizes = [path.stat().st_size for path in sorted((tmp_path / "out").glob("*.tar"))[:-1]]
    assert min(sizes) > SHARD_MB * 2**20
    assert [row["video_id"] for row in read_failures(packed)] == ["made/x"]


def test_a_sample_shows_what_it_is(loose: Manifest, tmp_path: Path) -> None:
    pack_manifest(loose, tmp_path / "out", show_progress=False)
    with tarfile.open(tmp_path / "out" / "crops-000000.tar") as archive:
        assert archive.getnames()[:4] == [f"{n:09d}.{suffix}" for n in (0, 1) for suffix in ("png", "json")]
        about = json.load(archive.extractfile("000000001.json"))  # type: ignore[arg-type]
    assert about == {"label": 1, "video_id": "made/Made/fake-train0", "frame_index": 0}


def test_a_killed_run_is_resumed(loose: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack_manifest(loose, tmp_path / "whole", shard_mb=SHARD_MB, show_progress=False)
    read = pack.read_stored_bytes
    num_read = 0

    def killed(path: Path) -> bytes:
        nonlocal num_read
        num_read += 1
        if num_read == 8:
            raise KeyboardInterrupt
        return read(path)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(pack, "read_stored_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            pack_manifest(loose, out, shard_mb=SHARD_MB, show_progress=False)
    shards = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert len(shards) == 2
    (out / ".crops-000002.rest.tar").write_bytes(b"of a run that was killed")
    pack_manifest(loose, out, shard_mb=SHARD_MB, show_progress=False)
    assert contents(out) == contents(tmp_path / "whole")
    assert {name: (out / name).stat().st_mtime_ns for name in shards} == shards
    pack_manifest(loose, out, shard_mb=SHARD_MB, show_progress=False)
    assert contents(out) == contents(tmp_path / "whole")


def test_unreadable_crops_are_named_and_left_out(
    loose: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = loose.column("path").tolist()
    (loose.root / paths[2]).unlink()
    (loose.root / paths[5]).write_bytes(b"no image")
    (loose.root / paths[11]).write_bytes(b"")
    arguments = ["pack", str(loose.root), "--out", str(tmp_path / "out"), "--shard-mb", str(SHARD_MB)]
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert "9 crops in" in out
    assert "3 unreadable" in out
    named = [paths[row] for row in (2, 5, 11)]
    assert [line.split(": ")[1] for line in error.splitlines()] == named
    with open(tmp_path / "out" / "unreadable.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == named
    packed = read_manifest(tmp_path / "out")
    kept = [row for row in range(12) if row not in (2, 5, 11)]
    assert packed.column("video_id").tolist() == loose.column("video_id")[kept].tolist()
    for row, new in zip(kept, packed.column("path"), strict=True):
        assert read_stored_bytes(packed.root / new) == (loose.root / paths[row]).read_bytes()
    before = contents(tmp_path / "out")
    assert main(arguments) == 2  # again: they are named again
    assert contents(tmp_path / "out") == before


def test_packed_crops_and_filtered_rows_can_be_packed(loose: Manifest, tmp_path: Path) -> None:
    once = pack_manifest(loose, tmp_path / "once", shard_mb=SHARD_MB, show_progress=False).manifest
    fakes = once.where("label = 1")
    twice = pack_manifest(fakes, tmp_path / "twice", show_progress=False).manifest
    assert twice.column("video_id").tolist() == fakes.column("video_id").tolist()
    for old, new in zip(fakes.column("path"), twice.column("path"), strict=True):
        assert read_stored_bytes(twice.root / new) == read_stored_bytes(once.root / old)


def test_what_cannot_be_packed_is_rejected(loose: Manifest, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="shard_mb: is 0; must be above 0"):
        pack_manifest(loose, tmp_path / "out", shard_mb=0, show_progress=False)
    pack_manifest(loose, tmp_path / "out", show_progress=False)
    for other, size in ((loose.where("label = 0"), PackOptions.shard_mb), (loose, 1)):
        with pytest.raises(OptionError, match="contains shards of other rows or of another size"):
            pack_manifest(other, tmp_path / "out", shard_mb=size, show_progress=False)
    for path in (loose.root / "crops").iterdir():
        path.unlink()
    with pytest.raises(ManifestError, match="none of its crops can be read; extract its videos again"):
        pack_manifest(loose, tmp_path / "none", show_progress=False)
