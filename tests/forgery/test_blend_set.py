from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import ManifestError, OutputError
from deepfake_detect.forgery.blend_set import write_blends
from deepfake_detect.io.files import file_lock, make_folder
from tests.forgery.faces import face_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return face_manifest(tmp_path / "data", {"train": 5, "val": 3}, fakes={"train": 2})


def test_each_real_gets_a_fake_of_its_split_and_person(manifest: Path, tmp_path: Path) -> None:
    made = write_blends(read_manifest(manifest), tmp_path / "out", ("cross",), show_progress=False)
    rows = made.table.to_pylist()
    assert len(rows) == 16
    for real, fake in zip(rows[::2], rows[1::2], strict=True):
        assert (real["label"], fake["label"]) == (0, 1)
        assert (real["split"], real["target_id"]) == (fake["split"], fake["target_id"])
        assert fake["video_id"] == real["video_id"] + "/cross"
        assert fake["method"] == "cross"
        # The other face is of the same split, and of another person.
        assert fake["source_id"].startswith(fake["split"])
        assert fake["source_id"] != fake["target_id"]
        pictures = [cv2.imread(str(made.root / row["path"])) for row in (real, fake)]
        assert (pictures[0] != pictures[1]).any()
    assert cv2.imread(str(tmp_path / "out" / "sheet.png")) is not None
    assert made.geometry == read_manifest(manifest).geometry


def test_the_same_again(manifest: Path, tmp_path: Path) -> None:
    options = ["blend", "--manifest", str(manifest), "--method", "sbi+cross", "--split", "train"]
    for name in ("one", "two"):
        assert main([*options, "--out", str(tmp_path / name)]) == 0
    one, two = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / name).rglob("*.p*"))}
        for name in ("one", "two")
    )
    assert one == two
    assert main([*options, "--seed", "1", "--out", str(tmp_path / "three")]) == 0
    assert (tmp_path / "three" / "crops" / "00000000-fake.png").read_bytes() != one["00000000-fake.png"]


def test_what_cannot_be_blended_is_counted(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = manifest.parent / "crops"
    (crops / "train0.png").unlink()
    cv2.imwrite(str(crops / "train1.png"), np.zeros((16, 16, 3), np.uint8))
    assert main(["blend", "--manifest", str(manifest), "--out", str(tmp_path / "out")]) == 0
    assert "6 fakes of 8 reals, 2 skipped (no face that can be blended)" in capsys.readouterr().out
    for crop in crops.glob("*.png"):
        crop.unlink()
    with pytest.raises(ManifestError, match="has no real crop with a face in it"):
        write_blends(read_manifest(manifest), tmp_path / "none", ("sbi",), show_progress=False)


def test_bad_options(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["blend", "--manifest", str(manifest), "--out", str(tmp_path / "out")]
    for more, message in (
        (["--method", "gan"], "--method: 'gan' is unknown; must be of sbi, cross, joined with +"),
        (["--seed", "-1"], "--seed: is -1; must be 0 or more"),
        (["--split", "test"], "no row of split 'test'"),
    ):
        assert main([*options, *more]) == 2
        assert message in capsys.readouterr().err
    assert main(["blend", "--manifest", str(manifest), "--out", str(manifest.parent)]) == 2
    assert "is the folder of the manifest that is read; pass another" in capsys.readouterr().err
    out = make_folder(tmp_path / "busy")
    with file_lock(out, what="blending"), pytest.raises(OutputError, match="another blending is writing"):
        write_blends(read_manifest(manifest), out, ("sbi",), show_progress=False)


def test_a_sheet_of_reals_and_fakes(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["show-batch", "--manifest", str(manifest), "--out", str(tmp_path / "sheet.png")]
    options += ["--forgery", "sbi", "--image-size", "40", "--times", "2"]
    assert main([*options, "--crops", "3"]) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * (40 + 18 + 4) + 4, 5 * 44 + 4, 3)
    assert main([*options, "--crops", "0"]) == 2
    assert "--crops: is 0; must be 1 or more" in capsys.readouterr().err
