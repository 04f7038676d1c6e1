from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from deepfake_detect.data.crops import CropDataset, collate_readable, read_crop
from deepfake_detect.data.manifest import read_manifest, write_manifest
from deepfake_detect.data.shards import read_stored_bytes
from deepfake_detect.errors import ManifestError
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
    with pytest.raises(ManifestError, match=r"shard-000.tar: holds no member crops/absent.png"):
        read_stored_bytes(tmp_path / "shards" / "shard-000.tar" / "crops" / "absent.png")


def test_a_rewritten_shard_is_read_anew(tmp_path: Path) -> None:
    shard = tmp_path / "s.tar"
    for number, text in enumerate(("first", "second and longer")):
        (tmp_path / "member").write_text(text)
        with tarfile.open(shard, "w") as archive:
            archive.add(tmp_path / "member", arcname=f"./pad{number}")
            archive.add(tmp_path / "member", arcname="./member")
        assert read_stored_bytes(shard / "member").decode() == text


def test_damaged_and_compressed_shards_are_refused(tmp_path: Path) -> None:
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
    with pytest.raises(ManifestError, match=r"d.tar: is (cut within a.png|not a readable tar)"):
        read_stored_bytes(tmp_path / "d.tar" / "a.png")
