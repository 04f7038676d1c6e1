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
# The template to which insightface aligns faces, in an image of 112 x 112 pixels.
_ARCFACE_SIDE = 112
_ARCFACE_LANDMARKS = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)],
    np.float64,
)
_MIN_MARGIN, _MAX_MARGIN = 0.5, 4.0
_MIN_SIDE, _MAX_SIDE = 16, 1024
_BORDERS = {"mirror": cv2.BORDER_REFLECT_101, "black": cv2.BORDER_CONSTANT}


def check_geometry(geometry: CropGeometry) -> None:
    """Check that a geometry can be cut.

    Raises:
        OptionError: The margin is outside 0.5 to 4, ``narrowest`` outside 0.5 to the margin, the side is out
            of range or of crops that are not aligned, or aligned crops have another shape than a square or
            are cut at the border.
    """
    if not _MIN_MARGIN <= geometry.margin <= _MAX_MARGIN:
        raise OptionError(
            "margin", f"is {geometry.margin}", f"must be {_MIN_MARGIN:g} to {_MAX_MARGIN:g} times the box"
        )
    if geometry.narrowest is not None and not _MIN_MARGIN <= geometry.narrowest <= geometry.margin:
        raise OptionError(
            "narrowest",
            f"is {geometry.narrowest}",
            f"must be {_MIN_MARGIN:g} to the margin, {geometry.margin:g}",
        )
    if geometry.side is not None and not _MIN_SIDE <= geometry.side <= _MAX_SIDE:
        raise OptionError("side", f"is {geometry.side}", f"must be {_MIN_SIDE} to {_MAX_SIDE} pixels")
    if geometry.aligned and (geometry.shape != "square" or geometry.border == "cut"):
        raise OptionError("aligned", "is for square crops that are not cut", "set `shape` to square")
    if not geometry.aligned and (geometry.side is not None or geometry.template != "frontal"):
        raise OptionError("template", "and `side` are for aligned crops", "set `aligned`")


def crop_side(face: Face, geometry: CropGeometry) -> int:
    """Return the longer side of a face's crop in pixels of its frame, at least 1."""
    left, top, right, bottom = face.box_xyxy
    return max(1, round(float(max(right - left, bottom - top)) * geometry.margin))


def crop_face(image: np.ndarray, face: Face, geometry: CropGeometry) -> np.ndarray:
    """Return the crop of a face.

    A square is centered on the box and ``geometry.margin`` times its longer side. Past the frame's
    border the image is mirrored, so that every face has the same position and scale in its crop. With
    ``geometry.aligned`` the five landmarks are moved onto those of a frontal face by the best-fitting
    rotation, scale and shift. Published detectors have other shapes, borders and templates, see
    :class:`records.CropGeometry`.

    Args:
        image: RGB uint8 (H, W, 3).
        face: A face of that image.
        geometry: Margin and alignment.

    Returns:
        RGB uint8 (S, S, 3), S in pixels of the frame (its native size) unless the geometry gives it; of
        the shape ``"box"``, and where a crop is cut at the border, (S, T, 3).

    Raises:
        OptionError: The margin is outside 0.5 to 4, or parts of the geometry contradict one another.

    Example:
        >>> face = Face(np.float32([40, 30, 60, 60]), 1.0, np.zeros((5, 2), np.float32))
        >>> crop_face(np.zeros((90, 120, 3), np.uint8), face, CropGeometry(margin=1.3)).shape
        (39, 39, 3)
        >>> crop_face(np.zeros((90, 120, 3), np.uint8), face, CropGeometry(margin=1.5, shape="box")).shape
        (45, 30, 3)
    """
    check_geometry(geometry)
    if geometry.aligned:
        matrix, side = alignment(face, geometry)
        border = _BORDERS[geometry.border]
        return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    window = _window(image, *crop_window(face, geometry), geometry.border)
    return _padded(window) if geometry.shape == "padded" else window


def crop_window(face: Face, geometry: CropGeometry) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a crop that is not aligned, in pixels of the frame.

    It may extend past the frame, and is not padded.
    """
    left, top, right, bottom = (float(value) for value in face.box_xyxy)
    if geometry.shape == "square":
        width = height = crop_side(face, geometry)
    else:
        width, height = (max(1, round(side * geometry.margin)) for side in (right - left, bottom - top))
    return round((left + right - width) / 2), round((top + bottom - height) / 2), width, height


def alignment(face: Face, geometry: CropGeometry) -> tuple[np.ndarray, int]:
    """Return the map (2, 3) from pixels of the frame to those of an aligned crop, and the crop's side."""
    points = face.landmarks_xy.astype(np.float64)
    if geometry.template == "frontal":
        side = geometry.side or crop_side(face, geometry)
        template = (FRONTAL_LANDMARKS / geometry.margin + 0.5) * side
        return best_similarity(points, template.astype(np.float64)), side
    unit = (_ARCFACE_LANDMARKS / _ARCFACE_SIDE - 0.5) / geometry.margin + 0.5
    scale = float(np.hypot(*best_similarity(points, unit)[:, 0]))  # sides of the crop per pixel of the frame
    side = geometry.side or min(_MAX_SIDE, max(1, round(1 / max(scale, 1e-6))))
    return best_similarity(points, unit * side), side


def _window(image: np.ndarray, left: int, top: int, width: int, height: int, border: str) -> np.ndarray:
    """Return a part of an image, which may extend past it."""
    rows, columns = image.shape[:2]
    inside = np.s_[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    if border == "cut" or (left >= 0 and left + width <= columns and top >= 0 and top + height <= rows):
        window = image[inside]
        return window.copy() if window.size else image[:1, :1].copy()  # a box outside the frame
    if border == "black":
        black = np.zeros((height, width, 3), image.dtype)
        part = image[inside]
        y, x = max(0, -top), max(0, -left)
        black[y : y + part.shape[0], x : x + part.shape[1]] = part
        return black
    mirrored: np.ndarray = image[
        _mirror(np.arange(top, top + height), rows)[:, None],
        _mirror(np.arange(left, left + width), columns)[None, :],
    ]
    return mirrored


def _padded(crop: np.ndarray) -> np.ndarray:
    """Return a crop in the middle of a black square."""
    height, width = crop.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 3), crop.dtype)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = crop
    return square


def _mirror(positions: np.ndarray, length: int) -> np.ndarray:
    """Reflect positions at the first and last pixel into 0 .. length - 1."""
    period = max(1, 2 * (length - 1))
    folded = np.abs(positions) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(positions)


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
