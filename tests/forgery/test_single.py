from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepfake_detect import forgery
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.forgery import PAPER, SelfBlendConfig, self_blend, self_blend_pair
from deepfake_detect.forgery.config import CrossBlendConfig
from deepfake_detect.forgery.masks import make_mask

NO_CHANGE = SelfBlendConfig(
    rgb_shift=0.0,
    hue_shift=0.0,
    saturation_shift=0.0,
    value_shift=0.0,
    brightness_limit=0.0,
    contrast_limit=0.0,
    downscale_factors=(),
    sharpen_alpha=(0.0, 0.0),
    translate_x=0.0,
    translate_y=0.0,
    scale=(1.0, 1.0),
)


def test_only_the_inside_of_the_mask_changes(crop: np.ndarray, five: np.ndarray) -> None:
    original = crop.copy()
    for seed in range(20):
        blended, mask = self_blend(crop, five, rng=seed)
        assert (blended.dtype, blended.shape) == (np.uint8, crop.shape)
        assert (mask.dtype, mask.shape) == (np.float32, crop.shape[:2])
        assert mask.min() == 0
        assert mask.max() <= 1
        assert mask.max() == pytest.approx(
            min((0.25, 0.5, 0.75, 1.0), key=lambda r: abs(r - mask.max())), abs=0.02
        )
        assert (blended == crop)[mask == 0].all()
        assert (blended != crop)[mask > 0.2].any()
    assert (crop == original).all()


def test_the_pair_differs_inside_the_mask_only_and_either_is_changed(
    crop: np.ndarray, five: np.ndarray
) -> None:
    kept = 0
    for seed in range(40):
        pair = self_blend_pair(crop, five, rng=seed)
        assert (pair.real == pair.blended)[pair.mask == 0].all()
        kept += (pair.real == crop).all()
    assert 10 <= kept <= 30
    for seed in range(5):
        pair = self_blend_pair(crop, five, rng=seed, config=replace(PAPER, changed="target"))
        assert (pair.real != crop).any()


def test_the_seed_alone_decides(crop: np.ndarray, five: np.ndarray) -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    first, mask = self_blend(crop, five, rng=3)
    again, _ = self_blend(crop, five, rng=np.random.default_rng(3))
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]
    assert (first == again).all()
    assert (first != self_blend(crop, five, rng=4)[0]).any()
    rng = np.random.default_rng(3)
    assert (self_blend(crop, five, rng=rng)[1] != self_blend(crop, five, rng=rng)[1]).any()
    assert mask.any()


def test_without_changes_nothing_changes(crop: np.ndarray, five: np.ndarray) -> None:
    for seed in range(6):
        assert (self_blend(crop, five, rng=seed, config=NO_CHANGE)[0] == crop).all()


@pytest.mark.parametrize(
    "change",
    [
        {"rgb_shift": 20.0, "rgb_shift_probability": 1.0},
        {"hue_shift": 20.0},
        {"saturation_shift": 40.0},
        {"value_shift": 40.0},
        {"brightness_limit": 0.1},
        {"contrast_limit": 0.1},
        {"downscale_factors": (4,)},
        {"sharpen_alpha": (0.5, 0.5)},
        {"translate_x": 0.03},
        {"translate_y": 0.03},
        {"scale": (0.9, 0.95)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_step_does_something(crop: np.ndarray, five: np.ndarray, change: dict[str, object]) -> None:
    config = replace(NO_CHANGE, **change)  # type: ignore[arg-type]
    assert any((self_blend(crop, five, rng=seed, config=config)[0] != crop).any() for seed in range(6))


def test_the_colors_shift_as_far_as_allowed(five: np.ndarray) -> None:
    gray = np.full((224, 224, 3), 120, np.uint8)
    config = replace(NO_CHANGE, rgb_shift=20.0, rgb_shift_probability=1.0, blend_ratios=(1.0,))
    shifts = []
    for seed in range(60):
        blended, mask = self_blend(gray, five, rng=seed, config=config)
        shifts.append(blended[mask > 0.999].astype(int).mean(0) - 120)
    assert 15 < np.abs(shifts).max() <= 20.5
    assert np.abs(np.mean(shifts, 0)).max() < 6


@pytest.mark.parametrize("shift", [(-70, -60), (80, 70), (0, 90)])
def test_a_face_past_the_border_leaves_no_seam(shift: tuple[int, int]) -> None:
    # One color stays one color: nothing dark is moved in from outside, nothing ends at the border.
    flat = np.full((224, 224, 3), 200, np.uint8)
    five = np.array([(85, 90), (140, 90), (112, 120), (92, 150), (132, 150)]) + shift
    config = replace(NO_CHANGE, translate_x=0.1, translate_y=0.1, scale=(0.8, 1.2))
    for seed in range(8):
        blended, mask = self_blend(flat, five, rng=seed, config=config)
        assert (blended == 200).all()
        assert mask.any()


def test_an_outline_cut_by_the_border_goes_on_past_it() -> None:
    config = SelfBlendConfig(elastic_alpha=0.0, mask_kernel=(25, 25), blend_ratios=(1.0,))
    square = np.array([(60.0, -50), (160, -50), (160, 150), (60, 150)])
    mask = make_mask(square, (224, 224), config=config, rng=np.random.default_rng(0))
    # As wide at the border as in the middle.
    assert mask[0].sum() == pytest.approx(mask[60].sum(), rel=0.02)
    assert mask[0].sum() == pytest.approx(100 - 24, abs=6)


def test_an_outline_too_small_to_be_worn_down_keeps_its_size() -> None:
    config = SelfBlendConfig(elastic_alpha=0.0, mask_kernel=(25, 25), blend_ratios=(1.0,))
    square = np.array([(100.0, 100), (112, 100), (112, 112), (100, 112)])
    mask = make_mask(square, (224, 224), config=config, rng=np.random.default_rng(0))
    assert mask.max() == pytest.approx(1, abs=0.02)
    outside = make_mask(square - 500, (224, 224), config=config, rng=np.random.default_rng(0))
    assert not outside.any()


def test_more_landmarks_mean_their_hull(crop: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(90, 130, (68, 2))
    _, mask = self_blend(crop, points, rng=0)
    rows, columns = np.nonzero(mask)
    assert rows.min() > 70
    assert columns.max() < 150


def test_other_kinds_of_picture_are_taken(crop: np.ndarray, five: np.ndarray) -> None:
    expected, _ = self_blend(crop, five, rng=0)
    floating, _ = self_blend(crop / 255, five.tolist(), rng=0)
    assert (floating == expected).all()
    predicted = torch.tensor(five, dtype=torch.float64, requires_grad=True)
    assert (self_blend(crop, predicted, rng=0)[0] == expected).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 64), np.uint8), r"image: has the shape \(64, 64\); for grayscale, stack it"),
        (np.zeros((64, 64, 3), np.int32), "image: has the dtype int32"),
        (np.full((64, 64, 3), 7.0), r"with values outside \[0, 1\]"),
        (np.zeros((31, 64, 3), np.uint8), "image: is 64 x 31 pixels; must be 32 pixels or more on each side"),
    ],
)
def test_bad_pictures_are_refused(image: np.ndarray, message: str, five: np.ndarray) -> None:
    with pytest.raises(ImageError, match=message):
        self_blend(image, five, rng=0)


def test_bad_options_are_refused(crop: np.ndarray, five: np.ndarray) -> None:
    with pytest.raises(OptionError, match="landmarks_xy: is None"):
        self_blend(crop, None, rng=0)
    with pytest.raises(OptionError, match="center .* is outside of the image of 224 x 224"):
        self_blend(crop, five + 400, rng=0)
    with pytest.raises(OptionError, match=r"the face is \d\.\d% of the image's side; must be 5% to"):
        self_blend(np.zeros((900, 900, 3), np.uint8), five / 7, rng=0)
    with pytest.raises(OptionError, match=r"the face is \d+\.\d% of .*; must be 5% to 2,000%"):
        self_blend(crop, (five - 112) * 90 + 112, rng=0)
    with pytest.raises(
        OptionError, match="changed: is 'either', which changes the real too; call self_blend_pair"
    ):
        self_blend(crop, five, rng=0, config=PAPER)
    for rng in (None, -1, "seed"):
        with pytest.raises(OptionError, match="rng: is .*; must be a numpy Generator, or a seed from 0"):
            self_blend(crop, five, rng=rng)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"changed": "both"}, "changed: is 'both'; must be source, target or either"),
        ({"rgb_shift": -1.0}, "rgb_shift: is -1.0; must be 0 to 255"),
        ({"rgb_shift": float("nan")}, "rgb_shift: is nan; must be finite"),
        ({"scale": (1.1, 0.9)}, r"scale: is \(1.1, 0.9\); must be a range within 0.5 to 2"),
        ({"mask_kernel": (4, 9)}, r"mask_kernel: is \(4, 9\); must be odd"),
        ({"blend_ratios": (0.0,)}, r"blend_ratios: is \(0.0,\); must be numbers above 0 and at most 1"),
        ({"downscale_factors": (1,)}, r"downscale_factors: is \(1,\); must be integers from 2 to 8"),
    ],
)
def test_bad_configurations_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SelfBlendConfig(**options)  # type: ignore[arg-type]


def test_bad_cross_blends_are_refused() -> None:
    with pytest.raises(OptionError, match="blending: is 'copy'; must be alpha or poisson"):
        CrossBlendConfig(blending="copy")  # type: ignore[arg-type]


def test_the_room_is_light_and_names_what_it_has() -> None:
    code = (
        "import sys, deepfake_detect.forgery;"
        "print([m for m in ('torch', 'cv2', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for name in forgery.__all__:
        assert getattr(forgery, name) is not None
    with pytest.raises(AttributeError, match="No deepfake_detect.forgery attribute absent"):
        forgery.absent  # noqa: B018
