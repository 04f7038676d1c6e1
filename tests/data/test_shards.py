from __future__ import annotations

import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from deepfake_detect.data.crops import CropDataset, collate_readable, read_crop
from deepfake_detect.data.manifest import read_manifest, write_manifest
from deepfake_detect.data.shards import is_stored, read_stored_bytes, shard_members, write_shard
from deepfake_detect.errors import ManifestError, OutputError
from deepfake_detect.records import CropGeometry, Preprocessing
from tests.data.trees import crop_manifest, textured_crops

PREP = Preprocessing(image_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


def packed(source: Path, target: Path, *, num_shards: int = 2) -> Path:
    """Put the crops of a manifest into tar shards; return the new manifest."""
    manifest = read_manifest(source)
    target.mkdir()
    paths = manifest.column("path")
    names = [f"shard-{number % num_shards:03d}.tar/{path}" for number, path in enumerate(paths)]
    for shard in sorted({name.split("/")[0] for name in names}):
        with tarfile.open(target / shard, "w") as archive:
            for name, path in zip(names, paths, strict=True):
                if name.startswith(shard):
                    archive.add(manifest.root / path, arcname=path)
    table = manifest.table
    table = table.set_column(table.column_names.index("path"), "path", [names])
    write_manifest(target / "manifest.parquet", table, geometry=manifest.geometry)
    return target / "manifest.parquet"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_shards_serve_what_files_serve(num_workers: int, tmp_path: Path) -> None:
    loose = crop_manifest(tmp_path / "loose", textured_crops(5, "train"))
    shards = packed(loose, tmp_path / "shards")

    def images(path: Path) -> list[np.ndarray]:
        dataset = CropDataset(read_manifest(path), PREP, geometry=CropGeometry())
        batches = DataLoader(dataset, batch_size=3, num_workers=num_workers, collate_fn=collate_readable)
        return [batch.images.numpy() for batch in batches]

    for one, other in zip(images(loose), images(shards), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_shard_lacks_is_left_out_and_named(tmp_path: Path) -> None:
    shards = packed(crop_manifest(tmp_path / "loose", textured_crops(2, "train")), tmp_path / "shards")
    manifest = read_manifest(shards)
    (tmp_path / "shards" / "shard-001.tar").unlink()
    dataset = CropDataset(manifest, PREP, geometry=CropGeometry())
    batch = collate_readable([dataset[row] for row in range(4)])
    assert batch.rows.tolist() == [0, 2]
    assert batch.unreadable_rows.tolist() == [1, 3]
    with pytest.raises(ManifestError, match=r"shard-001.tar/crops/fake-train0.png: cannot be read"):
        read_crop(manifest.root / manifest.column("path")[1])
    with pytest.raises(ManifestError, match=r"shard-000.tar: contains no member crops/absent.png"):
        read_stored_bytes(tmp_path / "shards" / "shard-000.tar" / "crops" / "absent.png")


def test_a_rewritten_shard_is_read_again(tmp_path: Path) -> None:
    shard = tmp_path / "s.tar"
    for number, text in enumerate(("first", "second and longer")):
        (tmp_path / "member").write_text(text)
        with tarfile.open(shard, "w") as archive:
            archive.add(tmp_path / "member", arcname=f"./pad{number}")
            archive.add(tmp_path / "member", arcname="./member")
        assert read_stored_bytes(shard / "member").decode() == text


def test_of_a_incomplete_shard_the_part_that_is_there_is_read(tmp_path: Path) -> None:
    shards = packed(
        crop_manifest(tmp_path / "loose", textured_crops(6, "train")), tmp_path / "s", num_shards=1
    )
    manifest = read_manifest(shards)
    shard = tmp_path / "s" / "shard-000.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size * 6 // 10])
    dataset = CropDataset(manifest, PREP, geometry=CropGeometry())
    batch = collate_readable([dataset[row] for row in range(12)])
    assert 5 <= len(batch.rows) <= 8
    assert batch.rows.tolist() == list(range(len(batch.rows)))


def test_damaged_and_compressed_shards_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bytes(2000))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.png", arcname="a.png")
    with pytest.raises(ManifestError, match=r"a.tar.gz: is compressed.*unpack it to a .tar"):
        read_stored_bytes(tmp_path / "a.tar.gz" / "a.png")
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(ManifestError, match=r"b.tar: is not a readable tar"):
        read_stored_bytes(tmp_path / "b.tar" / "a.png")
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        archive.add(tmp_path / "a.png", arcname="a.png")
    whole = (tmp_path / "c.tar").read_bytes()
    (tmp_path / "d.tar").write_bytes(whole[:1500])
    with pytest.raises(ManifestError, match=r"d.tar: (ends within a.png|is not a readable tar)"):
        read_stored_bytes(tmp_path / "d.tar" / "a.png")


def test_a_shard_that_is_written_is_read(tmp_path: Path) -> None:
    members = [("000012_00.png", b"picture"), ("000012_00.json", b"{}"), ("a/" * 60 + "long.png", b"")]
    write_shard(tmp_path / "s.tar", iter(members))
    assert shard_members(tmp_path / "s.tar") == [name for name, _ in members]
    for name, data in members:
        assert read_stored_bytes(tmp_path / "s.tar" / name) == data
    first = (tmp_path / "s.tar").read_bytes()
    write_shard(tmp_path / "s.tar", iter(members))
    assert (tmp_path / "s.tar").read_bytes() == first


def test_a_shard_is_whole_or_absent(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[str, bytes]]:
        yield "a.png", b"picture"
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="s.tar: cannot be written .No space left on device."):
        write_shard(tmp_path / "s.tar", broken())
    assert list(tmp_path.iterdir()) == []


def test_what_is_stored(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.tar", [("a.png", b"picture")])
    (tmp_path / "b.tar").write_bytes(b"no tar")
    assert is_stored(tmp_path / "s.tar")
    assert is_stored(tmp_path / "s.tar" / "a.png")
    for absent in ("s.tar/b.png", "b.tar/a.png", "c.tar/a.png", "a.png"):
        assert not is_stored(tmp_path / absent)


def test_what_a_incomplete_shard_still_stores(tmp_path: Path) -> None:
    write_shard(tmp_path / "s.tar", [("a.png", b"picture"), ("b.png", b"x" * 2000)])
    whole = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(whole[: 512 + 512 + 512 + 1000])  # within b.png
    assert is_stored(tmp_path / "s.tar" / "a.png")
    assert not is_stored(tmp_path / "s.tar" / "b.png")
    with pytest.raises(ManifestError, match="s.tar: is incomplete; delete it and run again"):
        shard_members(tmp_path / "s.tar")


def test_more_pixels_than_memory_are_not_an_image(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    for name, data in {"bomb.png": png, "empty.png": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ManifestError, match=f"{name}: the crop is not a readable image"):
            read_crop(tmp_path / name)
