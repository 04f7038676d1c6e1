"""write_submission and its command."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.errors import OptionError
from deepfake_detect.scoring.submission import Submission, write_predictions, write_submission


def test_predictions_are_one_json_in_a_zip(
    small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        cv2.imwrite(str(images / f"{number:04d}.png"), np.full((120, 160, 3), 40 * number, np.uint8))
    out = tmp_path / "predictions.zip"
    command = ["submission", "--detector", str(small_detector), "--device", "cpu", "--out"]
    with pytest.warns(UserWarning, match="has 3 images, the benchmark has 1,000"):
        assert main([*command, str(out), "--images", str(images)]) == 0
    with zipfile.ZipFile(out) as archive:
        (name,) = archive.namelist()
        assert json.loads(archive.read(name)) == {f"{number:04d}.png": "real" for number in range(3)}
    assert "3 images, 0 called fake, 3 without a face and so called real" in capsys.readouterr().out
    assert main([*command, str(out), "--images", str(tmp_path)]) == 2
    assert "has no PNG file" in capsys.readouterr().err


def test_predictions_that_the_server_rejects_are_an_error() -> None:
    with pytest.raises(OptionError, match="out: is a.json; must end in .zip"):
        write_predictions("a.json", {"0000.png": True})
    with pytest.raises(OptionError, match="predictions: are empty"):
        write_predictions("a.zip", {})


def test_an_image_that_cannot_be_read_is_called_real_with_a_warning(
    small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "0000.png"), np.full((120, 160, 3), 40, np.uint8))
    (images / "0001.png").write_bytes(b"no image")
    out = tmp_path / "predictions.zip"
    command = ["submission", "--detector", str(small_detector), "--device", "cpu", "--out", str(out)]
    with pytest.warns(UserWarning, match="(cannot read|the benchmark has)") as caught:
        assert main([*command, "--images", str(images)]) == 0
    assert [str(one.message).removeprefix(f"{images}: ") for one in caught] == [
        "has 2 images, the benchmark has 1,000",
        "cannot read 1 image, called real: 0001.png",
    ]
    with zipfile.ZipFile(out) as archive:
        assert json.loads(archive.read("submission.json")) == {"0000.png": "real", "0001.png": "real"}
    assert "2 images, 0 called fake, 1 without a face" in capsys.readouterr().out
    with pytest.warns(UserWarning, match="(cannot read|the benchmark has)"):
        found = write_submission(images, out, detector=small_detector, device="cpu", show_progress=False)
    assert found == Submission(num_images=2, num_fake=0, num_without_face=1, num_unreadable=1)
