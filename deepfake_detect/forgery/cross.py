"""Another person's face blended into an image, after Face X-ray (Li et al. 2020, arXiv:1912.13458)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.faces.crops import best_similarity
from deepfake_detect.forgery.config import CrossBlendConfig
from deepfake_detect.forgery.inputs import as_generator, check_outline, checked_crop
from deepfake_detect.forgery.landmarks import check_landmarks, face_polygon
from deepfake_detect.forgery.masks import make_mask
from deepfake_detect.forgery.single import mix

_DEFAULT = CrossBlendConfig()
_SPREAD_GAIN = (0.5, 2.0)  # a flat source must not have its noise amplified
_POISSON_BORDER = 8


def cross_blend(
    target: Any,
    target_landmarks_xy: Any,
    source: Any,
    source_landmarks_xy: Any,
    *,
    rng: np.random.Generator | int,
    config: CrossBlendConfig = _DEFAULT,
) -> tuple[np.ndarray, np.ndarray]:
    """Blend the face of one image into another.

    The source is rotated, scaled and shifted so that its landmarks match the target's, given the
    target's colors, and blended in through the target's outline, deformed and softened. If its crop ends
    inside the outline, it is mirrored there; a source in a similar pose (:func:`nearest_landmarks`) and
    with a similar margin avoids that.

    Args:
        target, source: Face crops, RGB uint8 (H, W, 3), sides from 32, sizes may differ; or
            anything that :func:`deepfake_detect.images.rgb_uint8` takes.
        target_landmarks_xy, source_landmarks_xy: (K, 2) each in pixels of its crop, the same
            number, K >= 5.
        rng: Random generator, or a seed. The same state gives the same result.
        config: How the mask is made, colors are matched and images blended.

    Returns:
        RGB uint8 (H, W, 3) of the target's size, and the mask, float32 (H, W) in [0, 1]. Where it is
        0 the image equals the target.

    Raises:
        ImageError: An image is not RGB, or a side is below 32 pixels.
        OptionError: As :func:`self_blend` for either face; or their numbers of landmarks differ.

    Example:
        >>> target, source = np.random.default_rng(0).integers(256, size=(2, 96, 96, 3), dtype=np.uint8)
        >>> five = [(36, 38), (60, 38), (48, 50), (39, 62), (57, 62)]
        >>> blended, mask = cross_blend(target, five, source, five, rng=0)
        >>> bool((blended == target)[mask == 0].all())
        True
    """
    receiving = checked_crop(target, subject="target")
    giving = checked_crop(source, subject="source")
    generator = as_generator(rng)
    there = check_landmarks(target_landmarks_xy, subject="target_landmarks_xy")
    here = check_landmarks(source_landmarks_xy, subject="source_landmarks_xy")
    if len(there) != len(here):
        raise OptionError(
            "source_landmarks_xy", f"has {len(here)} points, the target {len(there)}", "pass as many for both"
        )
    height, width = receiving.shape[:2]
    polygon = face_polygon(there)
    check_outline(polygon, height, width)
    check_outline(face_polygon(here), *giving.shape[:2])
    moved = cv2.warpAffine(
        giving,
        best_similarity(here, there),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    mask = make_mask(polygon, (height, width), config=config, rng=generator)
    solid = mask > mask.max() / 2
    if not solid.any():  # the outline was deformed out of the image
        return receiving.copy(), mask
    moved = _with_colors_of(moved, receiving, solid, amount=config.color_transfer)
    if config.blending == "poisson":
        moved = _poisson(receiving, moved, mask > 0)
    return mix(receiving, moved, mask), mask


def _with_colors_of(
    source: np.ndarray, target: np.ndarray, where: np.ndarray, *, amount: float
) -> np.ndarray:
    """Match mean and deviation of each Lab channel inside a region (Reinhard et al. 2001, IEEE CG&A)."""
    if amount == 0:
        return source
    lab, wanted = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) for image in (source, target))
    inside, wanted_inside = lab[where], wanted[where]
    gain = np.clip(wanted_inside.std(0) / np.maximum(inside.std(0), 1e-3), *_SPREAD_GAIN)
    matched = (lab - inside.mean(0)) * gain + wanted_inside.mean(0)
    mixed = np.clip(np.rint(lab + amount * (matched - lab)), 0, 255).astype(np.uint8)
    matched_rgb: np.ndarray = cv2.cvtColor(mixed, cv2.COLOR_LAB2RGB)
    return matched_rgb


def _poisson(target: np.ndarray, source: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the target with the source's gradients in a region (Pérez et al. 2003, SIGGRAPH).

    OpenCV moves or rejects regions that touch the border, so both images get a margin first; and it
    centers the region's bounding box on the point given, so that point is the center of the box.
    """
    wide = _POISSON_BORDER
    wide_target, wide_source = (
        np.pad(image, ((wide, wide), (wide, wide), (0, 0)), "reflect") for image in (target, source)
    )
    region = np.pad(where.astype(np.uint8) * 255, wide)
    left, top, width, height = cv2.boundingRect(region)
    center = (left + width // 2, top + height // 2)
    cloned = cv2.seamlessClone(wide_source, wide_target, region, center, cv2.NORMAL_CLONE)
    inner: np.ndarray = cloned[wide:-wide, wide:-wide]
    return inner
