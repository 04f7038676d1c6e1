"""Face crops: a square around a face, the same in extraction, training and scoring."""

from __future__ import annotations

import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.records import CropGeometry, Face

# Position of eyes, nose and mouth corners of a frontal face by MTCNN, relative to the box's center in
# units of its longer side: medians over 302 Labeled Faces in the Wild, made symmetric.
FRONTAL_LANDMARKS = np.array(
    [(-0.176, -0.112), (0.176, -0.112), (0.0, 0.081), (-0.160, 0.254), (0.160, 0.254)], np.float32
)
_MIN_MARGIN, _MAX_MARGIN = 0.5, 4.0


def check_geometry(geometry: CropGeometry) -> None:
    """Raise OptionError for a margin outside 0.5 to 4."""
    if not _MIN_MARGIN <= geometry.margin <= _MAX_MARGIN:
        raise OptionError(
            "margin", f"is {geometry.margin}", f"must be {_MIN_MARGIN:g} to {_MAX_MARGIN:g} times the box"
        )


def crop_side(face: Face, geometry: CropGeometry) -> int:
    """Return the side of a face's square crop in pixels of its frame, at least 1."""
    left, top, right, bottom = face.box_xyxy
    return max(1, round(float(max(right - left, bottom - top)) * geometry.margin))


def crop_face(image: np.ndarray, face: Face, geometry: CropGeometry) -> np.ndarray:
    """Return a square crop of a face.

    The square is centered on the box and ``geometry.margin`` times its longer side. Past the frame's
    border the image is mirrored, so that every face has the same position and scale in its crop. With
    ``geometry.aligned`` the five landmarks are moved onto those of a frontal face by the best-fitting
    rotation, scale and shift.

    Args:
        image: RGB uint8 (H, W, 3).
        face: A face of that image.
        geometry: Margin and alignment.

    Returns:
        RGB uint8 (S, S, 3), S in pixels of the frame (its native size).

    Raises:
        OptionError: The margin is outside 0.5 to 4.

    Example:
        >>> face = Face(np.float32([40, 30, 60, 60]), 1.0, np.zeros((5, 2), np.float32))
        >>> crop_face(np.zeros((90, 120, 3), np.uint8), face, CropGeometry(margin=1.3)).shape
        (39, 39, 3)
    """
    check_geometry(geometry)
    side = crop_side(face, geometry)
    if geometry.aligned:
        return _aligned(image, face, side, geometry.margin)
    left, top, right, bottom = face.box_xyxy
    first_x, first_y = round(float(left + right - side) / 2), round(float(top + bottom - side) / 2)
    return _mirrored_window(image, first_x, first_y, side)


def _mirrored_window(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    columns = _mirror(np.arange(left, left + side), width)
    rows = _mirror(np.arange(top, top + side), height)
    if left >= 0 and left + side <= width and top >= 0 and top + side <= height:
        return image[top : top + side, left : left + side].copy()
    window: np.ndarray = image[rows[:, None], columns[None, :]]
    return window


def _mirror(positions: np.ndarray, length: int) -> np.ndarray:
    """Reflect positions at the first and last pixel into 0 .. length - 1."""
    period = max(1, 2 * (length - 1))
    folded = np.abs(positions) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(positions)


def _aligned(image: np.ndarray, face: Face, side: int, margin: float) -> np.ndarray:
    template = (FRONTAL_LANDMARKS / margin + 0.5) * side
    matrix = best_similarity(face.landmarks_xy.astype(np.float64), template.astype(np.float64))
    return cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def best_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the least-squares rotation, scale and shift (2, 3) from points to points (Umeyama 1991)."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    source_centered, target_centered = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(target_centered.T @ source_centered / len(source))
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    variance = source_centered.var(0).sum()
    scale = (singular * sign).sum() / max(variance, 1e-12)
    shift = target_mean - scale * rotation @ source_mean
    return np.hstack([scale * rotation, shift[:, None]])
