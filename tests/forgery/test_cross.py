from __future__ import annotations

import cv2
import numpy as np
import pytest

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.forgery import CrossBlendConfig, cross_blend

ALPHA = CrossBlendConfig(blend_ratios=(1.0,))
POISSON = CrossBlendConfig(blend_ratios=(1.0,), blending="poisson")


@pytest.mark.parametrize("config", [ALPHA, POISSON], ids=lambda config: config.blending)
def test_the_face_is_the_sources_and_the_rest_the_targets(
    crop: np.ndarray, five: np.ndarray, config: CrossBlendConfig
) -> None:
    # The same face, turned upside down, small and darker: its features must land on their own.
    turned = cv2.resize(crop[::-1, ::-1] // 2, (150, 150), interpolation=cv2.INTER_AREA)
    points = (223 - five + 0.5) * (150 / 224) - 0.5
    blended, mask = cross_blend(crop, five, turned, points, rng=0, config=config)
    assert (blended == crop)[mask == 0].all()
    inside = mask > 0.9
    difference = np.abs(blended.astype(int) - crop)[inside].mean()
    assert difference < 12
    plain = crop[::-1, ::-1].astype(int)
    assert difference < np.abs(plain - crop)[inside].mean() / 3


def test_colors_become_the_targets(crop: np.ndarray, five: np.ndarray) -> None:
    blue = np.clip(crop.astype(int) // 2 + (0, 0, 90), 0, 255).astype(np.uint8)
    matched, mask = cross_blend(crop, five, blue, five, rng=1, config=ALPHA)
    kept, _ = cross_blend(
        crop, five, blue, five, rng=1, config=CrossBlendConfig(blend_ratios=(1.0,), color_transfer=0.0)
    )
    inside = mask > 0.9
    wanted = crop[inside].mean(0)
    assert np.abs(matched[inside].mean(0) - wanted).max() < 8
    assert np.abs(kept[inside].mean(0) - wanted).max() > 30


def test_poisson_leaves_a_smoother_edge_than_a_plain_mix(crop: np.ndarray, five: np.ndarray) -> None:
    bright = np.clip(crop.astype(int) + 60, 0, 255).astype(np.uint8)
    options = {"blend_ratios": (1.0,), "color_transfer": 0.0}
    steps = {}
    for blending in ("alpha", "poisson"):
        config = CrossBlendConfig(blending=blending, **options)  # type: ignore[arg-type]
        blended, mask = cross_blend(crop, five, bright, five, rng=2, config=config)
        edge = (mask > 0.3) & (mask < 0.7)
        steps[blending] = np.abs(blended.astype(int) - crop)[edge].mean()
    assert steps["poisson"] < steps["alpha"] / 2


@pytest.mark.parametrize("shift", [(-80, 0), (0, 90), (70, -80)])
def test_a_face_at_the_border_is_blended_in_place(
    shift: tuple[int, int], crop: np.ndarray, five: np.ndarray
) -> None:
    moved = np.roll(crop, shift[::-1], axis=(0, 1))
    blended, mask = cross_blend(moved, five + shift, crop, five, rng=0, config=POISSON)
    assert mask.any()
    assert (blended == moved)[mask == 0].all()
    assert np.abs(blended.astype(int) - moved)[mask > 0.9].mean() < 15


def test_the_seed_alone_decides(crop: np.ndarray, five: np.ndarray) -> None:
    first, _ = cross_blend(crop, five, crop[:, ::-1], five, rng=5)
    again, _ = cross_blend(crop, five, crop[:, ::-1], five, rng=np.random.default_rng(5))
    assert (first == again).all()


def test_bad_input_is_refused(crop: np.ndarray, five: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"source: has the shape \(64, 64\)"):
        cross_blend(crop, five, crop[:64, :64, 0], five, rng=0)
    with pytest.raises(ImageError, match="target: is 20 x 224 pixels"):
        cross_blend(crop[:, :20], five, crop, five, rng=0)
    with pytest.raises(OptionError, match="source_landmarks_xy: is None"):
        cross_blend(crop, five, crop, None, rng=0)
    more = np.concatenate([five, five + 1])
    with pytest.raises(OptionError, match="source_landmarks_xy: has 10 points, the target 5"):
        cross_blend(crop, five, crop, more, rng=0)
