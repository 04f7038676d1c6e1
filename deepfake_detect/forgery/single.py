"""A fake made from one real: a face blended into itself after a slight change (arXiv:2204.08376)."""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.forgery.config import PAPER, SelfBlendConfig
from deepfake_detect.forgery.inputs import as_generator, check_outline, checked_crop
from deepfake_detect.forgery.landmarks import check_landmarks, face_polygon, transform_points
from deepfake_detect.forgery.masks import make_mask

_DEFAULT = SelfBlendConfig()


@dataclass(frozen=True, eq=False)
class SelfBlendPair:
    """A real and the fake made from it, which differ only inside the mask.

    Attributes:
        real: RGB uint8 (H, W, 3): the input, or the input in other colors and sharpness.
        blended: RGB uint8 (H, W, 3).
        mask: float32 (H, W) in [0, 1], the weight of what was blended in.
    """

    real: np.ndarray
    blended: np.ndarray
    mask: np.ndarray


def self_blend(
    image: Any, landmarks_xy: Any, *, rng: np.random.Generator | int, config: SelfBlendConfig = _DEFAULT
) -> tuple[np.ndarray, np.ndarray]:
    """Make a self-blended image: the input with a slightly changed copy of its own face blended in.

    The copy changes in color and sharpness, is scaled and shifted, and blended in through a mask
    that is the face's outline, deformed and softened (Shiohara and Yamasaki 2022, arXiv:2204.08376;
    parameters of the authors' code, mapooon/SelfBlendedImages). A face may reach past the border:
    its mask is cut off there, and the copy is mirrored, so that no seam shows.

    Args:
        image: A face crop, RGB uint8 (H, W, 3), H and W from 32; or anything that
            :func:`deepfake_detect.images.rgb_uint8` takes.
        landmarks_xy: (K, 2) in pixels of the crop: MTCNN's five, from which the outline is
            estimated, or more (68, 81), whose convex hull is used.
        rng: Random generator, or a seed. The same state gives the same result.
        config: Its options; ``changed`` must be ``"source"``.

    Returns:
        The blended image, RGB uint8 (H, W, 3), and the mask, float32 (H, W) in [0, 1]: the weight of
        the copy. Where it is 0 the image equals the input.

    Raises:
        ImageError: The image is not RGB, or a side is below 32 pixels.
        OptionError: Landmarks are missing, of another shape, not finite, collapsed, or of a face
            whose center is outside of the image; ``rng`` is neither; or ``changed`` would change
            the real too.

    Example:
        >>> image = np.random.default_rng(0).integers(256, size=(96, 96, 3), dtype=np.uint8)
        >>> five = [(36, 38), (60, 38), (48, 50), (39, 62), (57, 62)]
        >>> blended, mask = self_blend(image, five, rng=1)
        >>> blended.shape, bool((blended == image)[mask == 0].all())
        ((96, 96, 3), True)
    """
    if config.changed != "source":
        raise OptionError(
            "changed",
            f"is {config.changed!r}, which changes the real too",
            "call self_blend_pair, which returns it",
        )
    pair = self_blend_pair(image, landmarks_xy, rng=rng, config=config)
    return pair.blended, pair.mask


def self_blend_pair(
    image: Any, landmarks_xy: Any, *, rng: np.random.Generator | int, config: SelfBlendConfig = PAPER
) -> SelfBlendPair:
    """Make a self-blended image and the real that goes with it.

    As :func:`self_blend`, but half of the time the receiving image changes in color and sharpness
    instead, as in the paper. The changed image is then the real, so that a change of the whole image
    does not give a fake away.

    Args:
        image, landmarks_xy, rng: As for :func:`self_blend`.
        config: Its options.

    Returns:
        The real, the fake and the mask.

    Raises:
        ImageError, OptionError: As :func:`self_blend`.

    Example:
        >>> five = [(36, 38), (60, 38), (48, 50), (39, 62), (57, 62)]
        >>> pair = self_blend_pair(np.zeros((96, 96, 3), np.uint8), five, rng=1)
        >>> bool((pair.real == pair.blended)[pair.mask == 0].all())
        True
    """
    crop = checked_crop(image)
    generator = as_generator(rng)
    polygon = face_polygon(check_landmarks(landmarks_xy))
    check_outline(polygon, *crop.shape[:2])
    changes_source = config.changed == "source" or (config.changed == "either" and generator.random() < 0.5)
    changed = _change(crop, config, generator)
    source, target = (changed, crop) if changes_source else (crop, changed)
    matrix = _random_affine(crop.shape[0], crop.shape[1], config, generator)
    moved = cv2.warpAffine(
        source, matrix, crop.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    mask = make_mask(transform_points(polygon, matrix), crop.shape[:2], config=config, rng=generator)
    return SelfBlendPair(target, mix(target, moved, mask), mask)


def mix(target: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean of two RGB uint8 images, with the mask (H, W) as the weight of the second."""
    base = target.astype(np.float32)
    mixed = base + mask[..., None] * (source - base)
    rounded: np.ndarray = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return rounded


def _random_affine(height: int, width: int, config: SelfBlendConfig, rng: np.random.Generator) -> np.ndarray:
    """Return a random scaling about the image's center and shift, as a map (2, 3) of points."""
    size, limits = np.array([width, height]), np.array([config.translate_x, config.translate_y])
    scale = rng.uniform(*config.scale, size=2)
    shift = rng.uniform(-limits, limits) * size
    center = (size - 1) / 2
    return np.column_stack([np.diag(scale), center - scale * center + shift])


def _change(image: np.ndarray, config: SelfBlendConfig, rng: np.random.Generator) -> np.ndarray:
    """Return the image in other colors and sharpness."""
    colors, sharpen, smaller = _steps(config, threading.get_ident())
    steps = [step for step, probability in colors if rng.random() < probability]
    shrinks = rng.random() < 0.5 and len(smaller) > 0
    steps.append(smaller[rng.integers(len(smaller))] if shrinks else sharpen)
    for step in steps:
        # Each its own seed: with a common one, steps use the same numbers, and hue follows contrast.
        step.set_random_seed(int(rng.integers(2**32)))
        image = step(image=image)["image"]
    return image


@functools.lru_cache(maxsize=32)
def _steps(config: SelfBlendConfig, thread: int) -> tuple[list[tuple[Any, float]], Any, list[Any]]:
    """Return color changes with their probabilities, sharpening, and the downscalings.

    Steps hold their random state, so each thread has its own.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    hsv = (config.hue_shift, config.saturation_shift, config.value_shift)
    light = (config.brightness_limit, config.contrast_limit)
    rgb = [(-config.rgb_shift, config.rgb_shift)] * 3
    colors: list[tuple[Any, float]] = []
    if config.rgb_shift:
        colors.append((albumentations.RGBShift(*rgb, p=1.0), config.rgb_shift_probability))
    if any(hsv):
        colors.append((albumentations.HueSaturationValue(*((-limit, limit) for limit in hsv), p=1.0), 1.0))
    if any(light):
        colors.append(
            (albumentations.RandomBrightnessContrast(*((-limit, limit) for limit in light), p=1.0), 1.0)
        )
    # By area: the authors' nearest pixel would also shift the image, by up to 1.5 pixels.
    ways = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    smaller = [
        albumentations.Downscale((1 / factor, 1 / factor), interpolation_pair=ways, p=1.0)
        for factor in config.downscale_factors
    ]
    sharpen = albumentations.Sharpen(alpha=config.sharpen_alpha, lightness=config.sharpen_lightness, p=1.0)
    return colors, sharpen, smaller
