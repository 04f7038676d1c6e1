"""Corruptions by level, and a detector measured on them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.corruptions import CORRUPTIONS, Corrupted, check_corruptions
from deepfake_detect.evaluation.predict import manifest_logits
from deepfake_detect.evaluation.robustness import measure_robustness
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.report.figures import robustness_figure
from tests.data.trees import crop_manifest, textured_crops


def picture(height: int = 240, width: int = 224) -> np.ndarray:
    """A smooth colored picture with some texture."""
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([60 + rows / 2, 200 - columns / 2, 120 + 40 * np.sin(rows / 5)], axis=-1)
    texture = np.random.default_rng(0).normal(0, 6, smooth.shape)
    return np.clip(cv2.GaussianBlur(smooth + texture, (0, 0), 0.7), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_has_five_levels_that_change_more_and_more(name: str) -> None:
    image = picture()
    kept = image.copy()
    assert len(CORRUPTIONS[name].levels) == 5
    distances = []
    for level in CORRUPTIONS[name].levels:
        changed = Corrupted(name, level)(image)
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
        np.testing.assert_array_equal(Corrupted(name, level)(image), changed)  # the same in every run
        distances.append(np.abs(changed.astype(float) - image).mean())
    assert distances[0] > 0
    assert all(after > before for before, after in zip(distances, distances[1:], strict=False))
    np.testing.assert_array_equal(image, kept)


def test_what_each_corruption_leaves() -> None:
    image = picture()
    gray = Corrupted("saturation", 0.0)(image)
    assert np.ptp(gray.astype(int), axis=-1).max() == 0
    covered = (Corrupted("occlusion", 0.45)(image) == 128).all(axis=-1)
    assert covered.mean() == pytest.approx(29 / 64, abs=0.01)
    lightly = (Corrupted("occlusion", 0.1)(image) == 128).all(axis=-1)
    assert (covered | ~lightly).all()
    assert Corrupted("brightness", 0.5)(image).mean() == pytest.approx(image.mean() / 2, abs=0.6)
    assert Corrupted("contrast", 0.5)(image).std() == pytest.approx(image.std() / 2, rel=0.02)
    noise = Corrupted("noise", 8)(np.full((128, 128, 3), 128, np.uint8)).astype(float) - 128
    assert noise.std() == pytest.approx(8, rel=0.03)
    # Red stays red: neither codec swaps the channels.
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    for name, level in (("jpeg", 90), ("h264", 23)):
        assert Corrupted(name, level)(red).mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=8)


def test_the_levels_that_the_field_compares_are_there() -> None:
    assert {23, 32, 40} <= set(CORRUPTIONS["h264"].levels)
    with pytest.raises(OptionError, match="robustness: is 'rain'; must be one of jpeg, h264"):
        check_corruptions(("jpeg", "rain"))


class _Smoothness(torch.nn.Module):
    """The smoother the middle of the crop, the more likely fake: right for textured crops."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        middle = images[:, :, 20:44, 20:44]
        # No surer than 1, so that what looks smooth enough is all alike.
        return (3 - 12 * (middle[..., 1:] - middle[..., :-1]).abs().mean(dim=(1, 2, 3))).clamp(max=1)


@pytest.fixture
def scorer(small_detector: Path) -> TorchDetector:
    _, config = read_detector(small_detector)
    plain = replace(config.model.preprocessing, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    config = replace(config, model=replace(config.model, preprocessing=plain))
    return TorchDetector(_Smoothness(), config, device=torch.device("cpu"))  # type: ignore[arg-type]


def test_crops_are_changed_on_their_way_to_the_detector(scorer: TorchDetector, tmp_path: Path) -> None:
    manifest = read_manifest(crop_manifest(tmp_path / "m", textured_crops(3, "test")))
    options = {"num_workers": 0, "show_progress": False}
    _, plain = manifest_logits(scorer, manifest, **options)  # type: ignore[arg-type]
    _, blurred = manifest_logits(scorer, manifest, change=Corrupted("blur", 5), **options)  # type: ignore[arg-type]
    is_real = manifest.column("label") == 0
    assert (plain[is_real] < 0).all()
    assert (blurred == 1).all()


def test_a_detector_of_texture_falls_to_blur_and_not_to_darkness(
    scorer: TorchDetector, tmp_path: Path
) -> None:
    manifest = read_manifest(crop_manifest(tmp_path / "m", textured_crops(12, "test")))
    lines: list[str] = []
    found = measure_robustness(
        scorer,
        manifest,
        split="test",
        num_videos=20,
        names=("blur", "brightness"),
        num_resamples=30,
        show_progress=False,
        log=lines.append,
    )
    assert (found.num_videos_real, found.num_videos_fake) == (10, 10)
    assert found.unchanged.value == 1.0
    assert [point.level for point in found.curves["blur"]] == list(CORRUPTIONS["blur"].levels)
    assert found.curves["brightness"][1].auc.value == 1.0
    worst = found.curves["blur"][-1]
    assert worst.auc.value == 0.5
    assert worst.change.value == pytest.approx(worst.auc.value - 1.0)
    assert math.isnan(worst.change.low)  # it is the same in every resample, which shows no spread
    assert lines[0].startswith("Gaussian blur, sigma in pixels of 224: 0.5: ")
    report = found.to_json()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["curves"]["blur"][4]["level"] == 5
    drawn = [axes for axes in robustness_figure(found).axes if axes.lines]
    assert len(drawn) == 2
    assert drawn[0].lines[0].get_ydata()[-1] == worst.auc.value


def test_refuses(scorer: TorchDetector, tmp_path: Path) -> None:
    manifest = read_manifest(crop_manifest(tmp_path / "m", textured_crops(2, "test")))
    options = {"split": "test", "show_progress": False}
    for number in (0, 1, 21):
        with pytest.raises(OptionError, match=f"robustness_videos: is {number}; must be an even"):
            measure_robustness(scorer, manifest, num_videos=number, **options)  # type: ignore[arg-type]
    with pytest.raises(ManifestError, match="has only one class; measure on real and fake videos"):
        measure_robustness(scorer, manifest.where("label = 1"), num_videos=4, **options)  # type: ignore[arg-type]
