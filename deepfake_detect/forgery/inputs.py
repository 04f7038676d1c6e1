"""Checks of what blends take in, the same for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.images import rgb_uint8

MIN_SIDE = 32
_MIN_SIZE, _MAX_SIZE = 0.05, 20.0  # of a face, relative to the image


def checked_crop(image: Any, *, subject: str = "image") -> np.ndarray:
    """Return a crop as RGB uint8 (H, W, 3).

    Raises:
        ImageError: It is no RGB image (see :func:`deepfake_detect.images.rgb_uint8`), or a side is
            below 32 pixels.
    """
    crop = rgb_uint8(image, subject=subject)
    check_sides(crop.shape[0], crop.shape[1], subject=subject)
    return crop


def check_sides(height: int, width: int, *, subject: str) -> None:
    """Check that an image is large enough for a blend to have an inside and an edge.

    Raises:
        ImageError: A side is below 32 pixels.
    """
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            subject, f"is {width} x {height} pixels", f"must be {MIN_SIDE} pixels or more on each side"
        )


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


def check_outlines(outlines_xy: np.ndarray, height: int, width: int) -> None:
    """Check that faces (N, P, 2) are centered inside an image of this size, and neither tiny nor huge.

    Raises:
        OptionError: One is; the message names it.
    """
    centers = (outlines_xy.min(1) + outlines_xy.max(1)) / 2
    extents = np.ptp(outlines_xy, axis=1) / max(height, width)
    sizes = np.where(extents.max(1) > _MAX_SIZE, extents.max(1), extents.min(1))
    for number in np.flatnonzero((sizes < _MIN_SIZE) | (sizes > _MAX_SIZE)):
        raise OptionError(
            f"landmarks_xy[{number}]" if len(outlines_xy) > 1 else "landmarks_xy",
            f"the face is {100 * sizes[number]:.1f} % of the image's side",
            f"must be {100 * _MIN_SIZE:.0f} % to {100 * _MAX_SIZE:,.0f} %",
        )
    outside = ((centers < 0) | (centers > (width - 1, height - 1))).any(1)
    for number in np.flatnonzero(outside):
        which = f"landmarks_xy[{number}]" if len(outlines_xy) > 1 else "landmarks_xy"
        x, y = centers[number].round().astype(int)
        raise OptionError(
            which,
            f"the face's center ({x}, {y}) is outside of the image of {width} x {height}",
            "pass landmarks in pixels of this crop (crop_landmarks converts those of a frame)",
        )
