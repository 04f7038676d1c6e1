from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.forgery import PAPER, SelfBlendConfig, blend_batch, self_blend_pair
from deepfake_detect.forgery.batch_draws import _hue_maps
from tests.forgery.test_single import NO_CHANGE

_COUNT = 256


@pytest.fixture(scope="module")
def images(crop: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(crop).permute(2, 0, 1).expand(_COUNT, -1, -1, -1)[:, :, 8:, :]


@pytest.fixture(scope="module")
def landmarks(five: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(five - (0, 8)).float().expand(_COUNT, -1, -1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def statistics(real: np.ndarray, blended: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Of pictures (H, W, 3) and mask (H, W)."""
    change = blended.astype(float) - real
    share = mask / mask.max()
    steep = np.hypot(*np.gradient(share))
    inner = change[share > 0.9].mean(0)
    return {
        "mask area": float((share > 0.05).mean()),
        "mask mean": float(mask.mean()),
        "steepest edge": float(steep.max()),
        "edge": float(steep[(share > 0.05) & (share < 0.95)].mean()),
        "change inside": float(np.abs(change)[share > 0.5].mean()),
        "change at the edge": float(np.abs(change)[(share > 0.05) & (share < 0.5)].mean()),
        "change outside": float(np.abs(change)[mask == 0].mean()),
        "red": float(inner[0]),
        "green": float(inner[1]),
        "blue": float(inner[2]),
        "tint": float(inner.std()),
    }


# Both means may be off by chance, and by this share of their size: edges are a little softer on the
# batch's coarser grid.
_ALLOWED = {"edge": 0.1, "steepest edge": 0.1, "change at the edge": 0.1}


@pytest.mark.parametrize(
    "config",
    [
        SelfBlendConfig(),
        PAPER,
        SelfBlendConfig(hue_shift=6.0, saturation_shift=25.0, value_shift=25.0, rgb_shift_probability=0.0),
    ],
    ids=["source", "either", "hsv"],
)
def test_the_two_implementations_have_the_same_statistics(
    images: torch.Tensor, landmarks: torch.Tensor, config: SelfBlendConfig
) -> None:
    singles, batched = [], []
    image = np.ascontiguousarray(images[0].permute(1, 2, 0).numpy())
    for seed in range(_COUNT):
        pair = self_blend_pair(image, landmarks[0].numpy(), rng=seed, config=config)
        singles.append(statistics(pair.real, pair.blended, pair.mask))
    for part in range(0, _COUNT, 64):
        several = blend_batch(images[:64], landmarks[:64], generator=generator(part), config=config)
        reals, blended = (pictures.permute(0, 2, 3, 1).numpy() for pictures in several[:2])
        batched += map(statistics, reals, blended, several.masks.numpy())
    for name in singles[0]:
        one, other = (np.array([values[name] for values in found]) for found in (singles, batched))
        chance = np.sqrt((one.var() + other.var()) / _COUNT)
        allowed = 4 * chance + _ALLOWED.get(name, 0.04) * abs(one.mean())
        assert abs(one.mean() - other.mean()) <= allowed, name
        assert other.std() == pytest.approx(one.std(), rel=0.3, abs=1e-6), name


@pytest.mark.parametrize("degrees", [0.0, 25.0, -40.0, 130.0])
def test_the_hue_of_colors_near_the_mean_is_shifted_exactly(degrees: float) -> None:
    rng = np.random.default_rng(0)
    means = rng.uniform(0.1, 0.9, (50, 3))
    maps = _hue_maps(means, np.full(50, degrees))
    for mean, matrix in zip(means, maps, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*mean)
        expected = colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)
        np.testing.assert_allclose(matrix @ mean, expected, atol=1e-6)
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-9)  # grays stay


@pytest.mark.parametrize("changed", ["source", "target", "either"])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_only_the_inside_of_the_masks_changes(
    images: torch.Tensor, landmarks: torch.Tensor, changed: str, kind: str
) -> None:
    batch = images[:24, :, 5:, :215].contiguous()
    if kind == "float32":
        batch = batch.float() / 255
    before = batch.clone()
    config = SelfBlendConfig(changed=changed)  # type: ignore[arg-type]
    reals, blended, masks = blend_batch(batch, landmarks[:24], generator=generator(), config=config)
    assert (batch == before).all()
    assert reals.shape == blended.shape == batch.shape
    assert reals.dtype == blended.dtype == batch.dtype
    assert masks.shape == (24, *batch.shape[2:])
    assert masks.dtype == torch.float32
    assert float(masks.min()) == 0
    assert float(masks.max()) <= 1
    assert (reals == blended).all(1)[masks == 0].all()
    assert ((reals != blended).any(1) & (masks > 0.2)).any((1, 2)).all()
    kept = int((reals == batch).all((1, 2, 3)).sum())
    assert {"source": kept == 24, "target": kept == 0, "either": 3 <= kept <= 21}[changed]
    if kind == "float32":
        assert float(blended.min()) >= 0
        assert float(blended.max()) <= 1


def test_floats_and_bytes_give_the_same_pictures(images: torch.Tensor, landmarks: torch.Tensor) -> None:
    as_bytes = blend_batch(images[:16], landmarks[:16], generator=generator(), config=PAPER)
    as_floats = blend_batch(images[:16].float() / 255, landmarks[:16], generator=generator(), config=PAPER)
    assert torch.allclose(as_floats.masks, as_bytes.masks)
    # A changed target is rounded before the source is mixed in.
    assert float((as_floats.blended * 255 - as_bytes.blended).abs().max()) <= 1.01


def test_the_generator_alone_decides(images: torch.Tensor, landmarks: torch.Tensor) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = blend_batch(images[:4], landmarks[:4], generator=generator(7))
    again = blend_batch(images[:4], landmarks[:4], generator=generator(7))
    other = blend_batch(images[:4], landmarks[:4], generator=generator(8))
    assert (torch.get_rng_state() == state).all()
    assert (first.blended == again.blended).all()
    assert (first.masks != other.masks).any()


def test_each_image_has_its_own_face(images: torch.Tensor, landmarks: torch.Tensor) -> None:
    points = landmarks[:3] + torch.tensor([(-60.0, -40.0), (0, 0), (60, 40)])[:, None]
    masks = blend_batch(images[:3], points, generator=generator()).masks
    line = torch.arange(masks.shape[2], dtype=torch.float32)
    middles = (masks.sum(1) @ line) / masks.sum((1, 2))
    assert middles[1] - middles[0] > 30
    assert middles[2] - middles[1] > 30


def test_one_color_stays_one_color_at_the_border(landmarks: torch.Tensor) -> None:
    flat = torch.full((24, 3, 224, 224), 200, dtype=torch.uint8)
    config = replace(
        SelfBlendConfig(translate_x=0.1, translate_y=0.1, scale=(0.8, 1.2)),
        rgb_shift=0.0,
        hue_shift=0.0,
        saturation_shift=0.0,
        value_shift=0.0,
        brightness_limit=0.0,
        contrast_limit=0.0,
        sharpen_alpha=(0.0, 0.0),
    )
    points = landmarks[:24] + torch.tensor([-70.0, -60.0])
    _, blended, masks = blend_batch(flat, points, generator=generator(), config=config)
    assert (blended == 200).all()
    assert (masks.amax((1, 2)) > 0.2).all()


def test_small_shifts_of_hue_saturation_and_value_are_the_same(
    images: torch.Tensor, landmarks: torch.Tensor
) -> None:
    """Brightness and sharpness would drown what the papers' 0.3 of a level does."""
    config = replace(NO_CHANGE, hue_shift=0.3, saturation_shift=0.3, value_shift=0.3, blend_ratios=(1.0,))
    image = np.ascontiguousarray(images[0].permute(1, 2, 0).numpy())
    singles = [self_blend_pair(image, landmarks[0].numpy(), rng=n, config=config) for n in range(40)]
    several = blend_batch(images[:40], landmarks[:40], generator=generator(), config=config)
    made = several.blended.permute(0, 2, 3, 1).numpy()
    tints = [
        [(fake.astype(float) - image)[mask > 0.9].mean(0) for fake, mask in fakes]
        for fakes in (
            [(pair.blended, pair.mask) for pair in singles],
            list(zip(made, several.masks.numpy(), strict=True)),
        )
    ]
    one, other = (np.mean(found, axis=0) for found in tints)
    assert one[1] < -0.8  # a hue rounded down makes red skin redder
    np.testing.assert_allclose(other, one, atol=0.8)  # of which half a level is 8-bit HSV's rounding


def test_no_gradient_is_asked_for(images: torch.Tensor, landmarks: torch.Tensor) -> None:
    learned = (images[:2].float() / 255).requires_grad_()
    blended = blend_batch(learned, landmarks[:2].clone().requires_grad_(), generator=generator()).blended
    assert not blended.requires_grad
    for wrong in (None, 3):
        with pytest.raises(OptionError, match="generator: is a .*; pass a torch.Generator"):
            blend_batch(images[:2], landmarks[:2], generator=wrong)  # type: ignore[arg-type]


def test_an_empty_batch_stays_empty() -> None:
    empty = torch.zeros((0, 3, 64, 64), dtype=torch.uint8)
    reals, blended, masks = blend_batch(empty, torch.zeros((0, 5, 2)), generator=generator())
    assert (len(reals), len(blended), tuple(masks.shape)) == (0, 0, (0, 64, 64))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 64, 64), np.uint8), "images: is a ndarray; pass RGB"),
        (torch.zeros((1, 1, 64, 64)), r"images: has the shape \(1, 1, 64, 64\)"),
        (torch.zeros((1, 3, 64, 64), dtype=torch.float16), "images: has the dtype float16"),
        (torch.zeros((1, 3, 64, 20)), "images: is 20 x 64 pixels"),
        (torch.full((1, 3, 64, 64), 9.0), "images: has values from 9 to 9"),
    ],
)
def test_bad_images_are_refused(batch: torch.Tensor, message: str, landmarks: torch.Tensor) -> None:
    with pytest.raises(ImageError, match=message):
        blend_batch(batch, landmarks[:1] / 4, generator=generator())


def test_bad_landmarks_are_refused(images: torch.Tensor, landmarks: torch.Tensor) -> None:
    points = landmarks[:3].clone()
    points[2] += 300
    with pytest.raises(
        OptionError, match=r"landmarks_xy\[2\]: the face's middle .* is outside of the picture"
    ):
        blend_batch(images[:3], points, generator=generator())
    points[2] = torch.nan
    with pytest.raises(OptionError, match=r"landmarks_xy\[2\]: holds values that are not finite"):
        blend_batch(images[:3], points, generator=generator())


@pytest.mark.needs_cuda
def test_a_gpu_makes_the_same_pictures(images: torch.Tensor, landmarks: torch.Tensor) -> None:
    here = blend_batch(images[:16], landmarks[:16], generator=generator(), config=PAPER)
    there = blend_batch(images[:16].cuda(), landmarks[:16], generator=generator(), config=PAPER)
    assert there.blended.is_cuda
    assert there.masks.is_cuda
    difference = (here.blended.float() - there.blended.cpu().float()).abs()
    assert float(difference.mean()) < 0.05
