"""A face in its crop: landmarks in pixels, the outline around them, faces in a similar pose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.faces.crops import alignment, crop_window
from deepfake_detect.plurals import counted
from deepfake_detect.records import CropGeometry, Face

NUM_DETECTOR_LANDMARKS = 5
_MIN_EXTENT = 4.0  # px, both ways
_FARTHEST = 1e6  # px
_NUM_OUTLINE_POINTS = 32
# A face in units of the distance between the center of the eyes and the center of the mouth: half its
# width, how far down it is widest, and where forehead and chin end. Proportions of adults, fitted by
# eye to outlines on DFDC crops.
_HALF_WIDTH, _WIDEST_AT, _FOREHEAD_AT, _CHIN_AT = 0.97, 0.25, -0.68, 1.61
_EYE_TO_CENTER = 0.45
# How far the nose would move to the side if the head turned by a right angle.
_NOSE_LENGTH = 0.33
_MAX_TURN = 0.8  # sine of the angle; past it the nose gives no more information
_NEAR_SHRINKS, _FAR_GROWS = 0.6, 0.25


def check_landmarks(landmarks_xy: Any, *, subject: str = "landmarks_xy") -> np.ndarray:
    """Return landmarks in pixels, (K, 2) with K >= 5, as float64; they may be outside of the image.

    Raises:
        OptionError: They are ``None``, of another shape or type, not finite, over a million pixels
            away, or collapsed to a point or a line; the message names them by ``subject``.
    """
    wanted = "pass (K, 2) numbers in pixels of the image, K >= 5; find_landmarks finds five in a crop"
    if landmarks_xy is None:
        raise OptionError(subject, "is None: there is no face", wanted)
    points = _as_numbers(landmarks_xy, subject, wanted)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < NUM_DETECTOR_LANDMARKS:
        raise OptionError(subject, f"has the shape {points.shape}", wanted)
    _check_spread(points[None], subject)
    return points


def check_landmark_batch(landmarks_xy: Any, num_images: int) -> np.ndarray:
    """Return those of N images as float64 (N, K, 2); the errors of :func:`check_landmarks` name the image."""
    wanted = f"pass ({num_images}, K, 2) numbers, K >= 5"
    points = _as_numbers(landmarks_xy, "landmarks_xy", wanted)
    if points.ndim != 3 or points.shape[::2] != (num_images, 2) or points.shape[1] < 5:
        raise OptionError(
            "landmarks_xy", f"is of shape {points.shape} for {counted(num_images, 'image')}", wanted
        )
    _check_spread(points, "landmarks_xy")
    return points


def _as_numbers(landmarks_xy: Any, subject: str, wanted: str) -> np.ndarray:
    """Return an array or tensor of real numbers as float64."""
    given = landmarks_xy.detach().cpu() if hasattr(landmarks_xy, "detach") else landmarks_xy
    try:
        points = np.asarray(given)
        if np.iscomplexobj(points):
            raise TypeError("complex")
        return points.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(subject, f"is not an array of numbers ({error})", wanted) from error


def _check_spread(points: np.ndarray, subject: str) -> None:
    """Check that points (N, K, 2) are finite, not far away, and span an area."""
    finite = (np.abs(points) <= _FARTHEST).all((1, 2))  # false for NaN too
    # The spread along the smaller of the principal axes.
    usable = np.where(finite[:, None, None], points, 0.0)
    centered = usable - usable.mean(1, keepdims=True)
    xx, yy = (centered**2).sum(1).T
    xy = centered.prod(2).sum(1)
    extent = np.sqrt(np.maximum((xx + yy) / 2 - np.hypot((xx - yy) / 2, xy), 0))
    for number in np.flatnonzero(~finite | (extent < _MIN_EXTENT)):
        which = f"{subject}[{number}]" if len(points) > 1 else subject
        if not finite[number]:
            cause = f"contains values that are not finite, or beyond {_FARTHEST:,.0f} pixels"
            raise OptionError(which, cause, "skip this face")
        raise OptionError(which, "has collapsed to a point or a line", "skip this face")


def face_outlines(landmarks_xy: np.ndarray) -> np.ndarray:
    """Return a polygon of forehead, cheeks and chin around each face.

    With more than five landmarks (N, K, 2) it is all of them: their convex hull is the outline (arXiv:
    2204.08376). From the five of MTCNN it is estimated. In units of the distance between the center of
    the eyes and the center of the mouth (averaged with the eyes' distance, so that a raised head is not
    too small), it reaches from 0.68 above the eyes to 0.61 below the mouth and 0.97 to either side,
    widest a quarter of the way down. Where the nose is off the center line the head is turned: the
    side it points to becomes narrower, by up to half, and the other slightly wider.

    Returns:
        float64 (N, P, 2) points in the same unit; only their convex hull counts.
    """
    points = np.asarray(landmarks_xy, np.float64)
    if points.shape[1] > NUM_DETECTOR_LANDMARKS:
        return points
    left_eye, right_eye, nose, left_mouth, right_mouth = points.transpose(1, 0, 2)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across, down = (right_eye - left_eye) / 2, mouth - eyes
    eye_distance, length = (np.maximum(np.linalg.norm(way, axis=1), 1e-6) for way in (across, down))
    size = (eye_distance / _EYE_TO_CENTER + length) / 2
    right, along = across / eye_distance[:, None], down / length[:, None]
    off = nose - eyes
    aside = (off[:, 0] * along[:, 1] - off[:, 1] * along[:, 0]) / size / _NOSE_LENGTH  # to the right
    turn = np.clip(aside, -_MAX_TURN, _MAX_TURN)[:, None]

    angles = np.linspace(0, 2 * np.pi, _NUM_OUTLINE_POINTS, endpoint=False)[None]
    towards = turn * np.sign(np.cos(angles))
    width = _HALF_WIDTH * (1 - np.where(towards > 0, _NEAR_SHRINKS, _FAR_GROWS) * towards)
    reach = np.where(np.sin(angles) < 0, _WIDEST_AT - _FOREHEAD_AT, _CHIN_AT - _WIDEST_AT)
    x = width * np.cos(angles) * size[:, None]
    y = (_WIDEST_AT + reach * np.sin(angles)) * np.sqrt(size * length)[:, None]
    outline: np.ndarray = eyes[:, None] + x[..., None] * right[:, None] + y[..., None] * along[:, None]
    return outline


def face_polygon(landmarks_xy: np.ndarray) -> np.ndarray:
    """Return the convex outline of one face: float64 (P, 2), see :func:`face_outlines`."""
    outline = face_outlines(np.asarray(landmarks_xy, np.float64)[None])[0]
    hull: np.ndarray = cv2.convexHull(outline.astype(np.float32))[:, 0].astype(np.float64)
    return hull


def crop_landmarks(
    row: Mapping[str, Any], *, crop_size: tuple[int, int], geometry: CropGeometry
) -> np.ndarray | None:
    """Return a manifest row's landmarks in pixels of its stored crop.

    Args:
        row: With the manifest's ``box_xyxy`` and ``landmarks_xy``, both in pixels of the frame.
        crop_size: Height and width of the stored crop in pixels.
        geometry: How it was cut from the frame (the manifest's).

    Returns:
        float32 (5, 2), or ``None`` where the row has no box or landmarks, as the dataset's owners cut the
        crop, or where crops are cut at the frame's border: :func:`find_landmarks` can look for the face.

    Raises:
        OptionError: The margin is outside 0.5 to 4.

    Example:
        >>> row = {"box_xyxy": [40, 30, 60, 60], "landmarks_xy": [45, 42, 55, 42, 50, 47, 46, 54, 54, 54]}
        >>> crop_landmarks(row, crop_size=(60, 60), geometry=CropGeometry(margin=2.0))[2].tolist()
        [30.0, 32.0]
    """
    if row["box_xyxy"] is None or row["landmarks_xy"] is None:
        return None
    points = np.asarray(row["landmarks_xy"], np.float64).reshape(-1, 2)
    face = Face(np.asarray(row["box_xyxy"], np.float32), 1.0, points.astype(np.float32))
    if geometry.border == "cut":
        return None
    if geometry.aligned:
        matrix, side = alignment(face, geometry)
        points, sides = transform_points(points, matrix), (side, side)
    else:
        left, top, *window = crop_window(face, geometry)
        sides = (max(window), max(window)) if geometry.shape == "padded" else (window[0], window[1])
        points -= (left - (sides[0] - window[0]) // 2, top - (sides[1] - window[1]) // 2)
    height, width = crop_size
    scale = np.array([width / sides[0], height / sides[1]])
    in_crop: np.ndarray = ((points + 0.5) * scale - 0.5).astype(np.float32)
    return in_crop


def transform_points(points_xy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return points (..., 2) after the affine map (2, 3)."""
    moved: np.ndarray = points_xy @ matrix[:, :2].T + matrix[:, 2]
    return moved


def normalized_landmarks(landmarks_xy: np.ndarray) -> np.ndarray:
    """Return landmarks (..., K, 2) with mean 0 and mean squared distance from it 1.

    Example:
        >>> five = np.array([(30.0, 40), (60, 40), (45, 58), (33, 75), (57, 75)])
        >>> bool(np.allclose(normalized_landmarks(five), normalized_landmarks(five * 3 + 7)))
        True
    """
    points = np.asarray(landmarks_xy, np.float64)
    centered = points - points.mean(-2, keepdims=True)
    size = np.sqrt((centered**2).sum(-1, keepdims=True).mean(-2, keepdims=True))
    scaled: np.ndarray = centered / np.maximum(size, 1e-9)
    return scaled


def nearest_landmarks(landmarks_xy: np.ndarray, bank_xy: np.ndarray, *, k: int) -> np.ndarray:
    """Find the faces with the most similar landmarks (arXiv:1912.13458).

    Position and size are removed; tilt is not, so that heads in a similar pose are found.

    Args:
        landmarks_xy: (K, 2), K >= 5.
        bank_xy: (N, K, 2) of other faces.
        k: Number of faces to return, 1 to N.

    Returns:
        int64 (k,) indices into the bank, nearest first.

    Raises:
        OptionError: ``k`` is out of range, or landmarks fail :func:`check_landmarks` or differ in
            number.

    Example:
        >>> five = np.array([(30.0, 40), (60, 40), (45, 58), (33, 75), (57, 75)])
        >>> bank = np.stack([five + (0, 9) * (np.arange(5)[:, None] == 2), five * 2])
        >>> nearest_landmarks(five, bank, k=1).tolist()
        [1]
    """
    points = check_landmarks(landmarks_xy)
    bank = check_landmark_batch(bank_xy, len(bank_xy))
    if bank.shape[1] != len(points):
        raise OptionError(
            "bank_xy", f"has {bank.shape[1]} landmarks per face, not {len(points)}", "pass as many for all"
        )
    if not 1 <= k <= len(bank):
        raise OptionError("k", f"is {k} of {len(bank)} faces", "must be 1 to the number of faces")
    return nearest_normalized(normalized_landmarks(points), normalized_landmarks(bank), k=k)


def nearest_normalized(landmarks: np.ndarray, bank: np.ndarray, *, k: int) -> np.ndarray:
    """Do the same as :func:`nearest_landmarks` with normalized landmarks, without checks."""
    distances = ((bank - landmarks) ** 2).sum((1, 2))
    nearest = np.argpartition(distances, k - 1)[:k]
    ordered: np.ndarray = nearest[np.argsort(distances[nearest], kind="stable")]
    return ordered
