"""Checks of what blends take in, the same for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.images import rgb_uint8

_MIN_SIDE = 32  # a blend needs an inside and an edge
_MIN_SIZE, _MAX_SIZE = 0.05, 20.0  # of a face, relative to the image


def checked_crop(image: Any, *, subject: str = "image") -> np.ndarray:
    """Return a crop as RGB uint8 (H, W, 3).

    Raises:
        ImageError: It is no RGB image (see :func:`deepfake_detect.images.rgb_uint8`), or a side is
            below 32 pixels.
    """
    crop = rgb_uint8(image, subject=subject)
    height, width = crop.shape[:2]
    if min(height, width) < _MIN_SIDE:
        raise ImageError(
            subject, f"is {width} x {height} pixels", f"must be {_MIN_SIDE} pixels or more on each side"
        )
    return crop


def as_generator(rng: np.random.Generator | int) -> np.random.Generator:
    """Return the generator, or a new one for a seed.

    Raises:
        OptionError: It is neither, or the seed is negative.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if not isinstance(rng, (int, np.integer)) or rng < 0:
        raise OptionError("rng", f"is {rng!r}", "must be a numpy Generator, or a seed from 0")
    return np.random.default_rng(rng)


def check_outline(outline_xy: np.ndarray, height: int, width: int) -> None:
    """Check that a face (P, 2) is centered inside an image of this size, and neither tiny nor huge.

    Raises:
        OptionError: It is not.
    """
    low, high = outline_xy.min(0), outline_xy.max(0)
    extent = (high - low) / max(height, width)
    size = extent.max() if extent.max() > _MAX_SIZE else extent.min()
    if not _MIN_SIZE <= size <= _MAX_SIZE:
        raise OptionError(
            "landmarks_xy",
            f"the face is {100 * size:.1f}% of the image's side",
            f"must be {100 * _MIN_SIZE:.0f}% to {100 * _MAX_SIZE:,.0f}%",
        )
    x, y = (low + high) / 2
    if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
        raise OptionError(
            "landmarks_xy",
            f"the face's center ({x:.0f}, {y:.0f}) is outside of the image of {width} x {height}",
            "pass landmarks in pixels of this crop (crop_landmarks converts those of a frame)",
        )
