from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.augmented import augmented_sheet
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.sheets import contact_sheet
from deepfake_detect.errors import ImageError, ManifestError, OptionError
from deepfake_detect.forgery.batch_sheet import save_batch_sheet
from tests.data.trees import crop_manifest, textured_crops


def test_each_image_stands_where_it_belongs() -> None:
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    sheet = contact_sheet([np.full((9, 12, 3), color, np.uint8) for color in colors], num_columns=2, side=20)
    assert sheet.shape == (4 + 2 * 24, 4 + 2 * 24, 3)
    for (row, column), color in zip([(14, 14), (14, 38), (38, 14)], colors, strict=True):
        assert tuple(sheet[row, column]) == color
    assert tuple(sheet[38, 38]) == (255, 255, 255)
    with pytest.raises(ImageError, match="there is no image to show"):
        contact_sheet([])


def test_a_sheet_of_augmentations(tmp_path: Path) -> None:
    rows = read_manifest(crop_manifest(tmp_path / "m", textured_crops(4, "train", size=64)))
    options = {"image_size": 32, "num_crops": 3, "num_times": 2, "seed": 0}
    plain = augmented_sheet(rows, augmentation="none", **options)  # type: ignore[arg-type]
    assert plain.shape == (4 + 3 * 54, 4 + 3 * 36, 3)
    stored, once = plain[4:36, 4:36], plain[4:36, 40:72]
    np.testing.assert_array_equal(stored, once)
    strong = augmented_sheet(rows, augmentation="strong", **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(strong[4:36, 4:36], stored)
    assert (strong[4:36, 40:] != plain[4:36, 40:]).any()
    with pytest.raises(OptionError, match="num_crops: is 0; must be 1 or more"):
        save_batch_sheet(rows.path, tmp_path / "sheet.png", num_crops=0)
    with pytest.raises(OptionError, match="seed: is -1; must be 0 to 4.29497e"):
        save_batch_sheet(rows.path, tmp_path / "sheet.png", seed=-1)
    with pytest.raises(OptionError, match="augmentation: is 'wild'; must be one of none, light"):
        save_batch_sheet(rows.path, tmp_path / "sheet.png", augmentation="wild")
    with pytest.raises(ManifestError, match="has no matching crops"):
        augmented_sheet(rows.where("label = 7"), augmentation="none", **options)  # type: ignore[arg-type]


def test_the_tool_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(4, "train", size=64))
    out = tmp_path / "sheet.png"
    options = ["--augmentation", "compression", "--image-size", "48", "--crops", "4", "--times", "3"]
    assert main(["show-batch", "--manifest", str(path), "--out", str(out), *options]) == 0
    assert "212 x 284 pixels" in capsys.readouterr().out
    assert cv2.imread(str(out)).shape == (284, 212, 3)
