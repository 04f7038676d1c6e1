"""The outline of a face as a blending weight per pixel."""

from __future__ import annotations

import cv2
import numpy as np

from deepfake_detect.forgery.config import MaskConfig

_FIXED_POINT_BITS = 4
_FULL = 255


def make_mask(
    polygon_xy: np.ndarray, size: tuple[int, int], *, config: MaskConfig, rng: np.random.Generator
) -> np.ndarray:
    """Return the weight with which a source is blended in.

    The convex outline (P, 2) is filled, deformed, smoothed twice and multiplied by the blend ratio. One
    that the first smoothing would remove is not eroded; one outside of the image gives a mask of zeros.

    Returns:
        float32 (H, W) of ``size``, in [0, 1]; the maximum is one of the blend ratios.
    """
    grid = rng.integers(*config.mask_side, size=2, endpoint=True)
    narrowest, widest = config.mask_kernel
    steps = [int(rng.integers((widest - narrowest) // 2, endpoint=True)) for _ in range(2)]
    first, second = (narrowest + 2 * step for step in steps)  # odd
    # Filled past the border too, so that an outline that crosses it does not seem to end there.
    margin = first // 2 + 2
    deformed = _filled(polygon_xy, size, grid, margin)
    if config.elastic_alpha > 0:
        deformed = _deformed(deformed, config, rng)
    # Smoothing with a positive kernel leaves 1 where its whole window was 1: an erosion.
    kept = cv2.erode(deformed, np.ones((first, first), np.uint8))[margin:-margin, margin:-margin]
    if kept.max() < _FULL:
        kept = deformed[margin:-margin, margin:-margin]
    solid = (kept == _FULL).astype(np.float32)
    soft = cv2.GaussianBlur(
        solid, (second, second), rng.uniform(*config.mask_sigma), borderType=cv2.BORDER_REPLICATE
    )
    ratio = rng.choice(config.blend_ratios) / max(soft.max(), 1e-6)
    mask: np.ndarray = cv2.resize(soft * np.float32(ratio), size[::-1], interpolation=cv2.INTER_LINEAR)
    return mask


def _filled(polygon_xy: np.ndarray, size: tuple[int, int], grid: np.ndarray, margin: int) -> np.ndarray:
    """Return the polygon as uint8 0 or 255, on a grid over the image and a margin around it."""
    rows, columns = (int(side) for side in grid)
    height, width = size
    points = (polygon_xy + 0.5) * (columns / width, rows / height) - 0.5 + margin
    fixed = np.round(points * 2**_FIXED_POINT_BITS).astype(np.int32)
    mask = np.zeros((rows + 2 * margin, columns + 2 * margin), np.uint8)
    cv2.fillConvexPoly(mask, fixed, _FULL, shift=_FIXED_POINT_BITS)
    return mask


def _deformed(mask: np.ndarray, config: MaskConfig, rng: np.random.Generator) -> np.ndarray:
    """Shift each point of a mask by smooth noise (Simard et al. 2003, ICDAR)."""
    rows, columns = mask.shape
    alpha = np.float32(config.elastic_alpha)
    noise = 2 * rng.random((2 * rows, columns), np.float32) - 1
    smooth = cv2.GaussianBlur(noise, (0, 0), config.elastic_sigma, borderType=cv2.BORDER_REFLECT)
    x = smooth[:rows] * alpha + np.arange(columns, dtype=np.float32)
    y = smooth[rows:] * alpha + np.arange(rows, dtype=np.float32)[:, None]
    return cv2.remap(mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
