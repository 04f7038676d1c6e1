from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepfake_detect.data.crop_lists import import_crops
from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import CropGeometry


def imported(root: Path, out: Path, **options: Any) -> Manifest:
    """Import with the options of most tests."""
    default = {"dataset": "made", "margin": 0.9, "rename_split": ("val=test",), "val_fraction": 0.25}
    return import_crops(root, out, **{**default, **options})


def published(root: Path, *, num_pairs: int = 8, leave_out: str = "") -> Path:
    """A list of crops as publishers ship them: a CSV and a tar."""
    root.mkdir()
    lines = ["name,label,original,split"]
    with tarfile.open(root / "crops-000.tar", "w") as archive:
        for number in range(num_pairs):
            split = "train" if number < num_pairs - 2 else "val"
            for name, label, original in ((f"r{number}", 0, ""), (f"f{number}", 1, f"r{number}")):
                lines.append(f"{name},{label},{original},{split}")
                if name == leave_out:
                    continue
                image = np.full((20, 30, 3), (10 * number + label) % 256, np.uint8)
                data = cv2.imencode(".jpg", image)[1].tobytes()
                member = tarfile.TarInfo(f"{name}.jpg")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def test_splits_are_renamed_and_identities_set_apart_whole(tmp_path: Path) -> None:
    manifest = imported(published(tmp_path / "in"), tmp_path / "out")
    rows = manifest.table.to_pylist()
    assert len(rows) == 16
    assert manifest.geometry == CropGeometry(0.9)
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["target_id"], set()).add(row["split"])
        assert (manifest.root / row["path"]).is_file()
        assert row["label"] == int(Path(row["path"]).stem.startswith("f"))
        assert row["native_size"] == 30
    assert all(len(values) == 1 for values in splits.values())
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "val", "test")}
    assert counts == {"train": 8, "val": 4, "test": 4}


def test_crops_may_stay_in_their_tars(tmp_path: Path) -> None:
    root = published(tmp_path / "in")
    copied = imported(root, tmp_path / "copied")
    in_place = imported(root, tmp_path / "in_place", in_place=True)
    assert not (tmp_path / "in_place" / "crops").exists()
    assert in_place.column("path")[0] == "../in/crops-000.tar/r0.jpg"
    for one, other in zip(copied.column("path"), in_place.column("path"), strict=True):
        np.testing.assert_array_equal(read_crop(copied.root / one), read_crop(in_place.root / other))


def test_names_with_and_without_suffix_are_one_identity(tmp_path: Path) -> None:
    root = published(tmp_path / "in", num_pairs=20)
    lines = (root / "labels.csv").read_text().splitlines()
    with_suffix = [line.replace(",", ".jpg,", 1) if line[0] in "rf" else line for line in lines]
    (root / "labels.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(with_suffix).encode())  # as Excel does
    manifest = imported(root, tmp_path / "out")
    splits: dict[str, set[str]] = {}
    for row in manifest.table.to_pylist():
        splits.setdefault(row["target_id"], set()).add(row["split"])
    assert len(splits) == 20
    assert all(len(values) == 1 for values in splits.values())


def test_the_choice_follows_the_seed(tmp_path: Path) -> None:
    root = published(tmp_path / "in", num_pairs=30)

    def held_out(seed: int, name: str) -> set[str]:
        imported(root, tmp_path / name, rename_split=(), val_fraction=0.3, seed=seed)
        return set(read_manifest(tmp_path / name).split("val").column("target_id"))

    assert held_out(0, "a") == held_out(0, "b")
    assert held_out(0, "a") != held_out(1, "c")


def test_a_listed_crop_that_is_absent_is_an_error(tmp_path: Path) -> None:
    root = published(tmp_path / "in", leave_out="f3")
    with pytest.raises(DatasetLayoutError, match="1 of 16 listed crops are absent, the first is f3"):
        imported(root, tmp_path / "out")


def test_a_damaged_tar_is_rejected(tmp_path: Path) -> None:
    root = published(tmp_path / "in")
    (root / "crops-000.tar").write_bytes(b"half a download" * 100)
    with pytest.raises(DatasetLayoutError, match=r"crops-000.tar: is not a readable tar"):
        imported(root, tmp_path / "out")


def test_bad_lists_are_rejected(tmp_path: Path) -> None:
    root = published(tmp_path / "in")
    (root / "labels.csv").write_text("name,label\nr0,0\n")
    with pytest.raises(DatasetLayoutError, match="lacks the columns split"):
        imported(root, tmp_path / "out")
    (root / "labels.csv").write_text("name,label,split\nr0,REAL,train\n")
    with pytest.raises(DatasetLayoutError, match="line 2 has the label 'REAL'; write 1 for fake"):
        imported(root, tmp_path / "out")
    (root / "labels.csv").unlink()
    with pytest.raises(DatasetLayoutError, match="contains 0 CSV files"):
        imported(root, tmp_path / "out")
    with pytest.raises(OptionError, match="val_fraction: is 0.6"):
        imported(root, tmp_path, val_fraction=0.6)
    with pytest.raises(OptionError, match="rename_split: is 'val'; must be OLD=NEW"):
        imported(root, tmp_path, rename_split=("val",))
    with pytest.raises(OptionError, match="margin: is 0.1; must be 0.5 to 4"):
        imported(root, tmp_path, margin=0.1)
