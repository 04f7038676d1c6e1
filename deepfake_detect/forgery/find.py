"""The library's face detector on crops that have no landmarks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from deepfake_detect.device import choose_device
from deepfake_detect.errors import ImageError
from deepfake_detect.faces import MtcnnDetector
from deepfake_detect.images import rgb_uint8
from deepfake_detect.records import Face

# The detector expects a margin around faces. Crops that a face fills (DFDC's, as published) gave boxes
# larger than the crop and eyes on the brows; with half a crop of border on each side all of 300 had a
# face, and in the 14 inspected its landmarks were right.
_BORDER = 0.5  # relative to the longer side
_SEARCHED_SIDE = 160
_MIN_FACE = 0.3


def find_landmarks(
    images: Iterable[Any], *, device: str | torch.device = "auto"
) -> Iterator[np.ndarray | None]:
    """Find the five landmarks of the face that a crop was cut around.

    Of several faces it is the one that is large and near the center; faces smaller than 0.3 of the
    crop's shorter side are ignored.

    Args:
        images: RGB crops as :func:`deepfake_detect.faces.detect_faces` takes them, also endless ones.
        device: Where the detector runs: ``"auto"`` (CUDA where available), ``"cpu"``, ``"cuda"``.

    Yields:
        float32 (5, 2) in pixels of the crop, or ``None`` where no face is found.

    Raises:
        ImageError: A crop is not an RGB image; the message names it.
        DeviceError: The device is not available.

    Example:
        >>> list(find_landmarks([np.zeros((90, 90, 3), np.uint8)], device="cpu"))
        [None]
    """
    if isinstance(images, (str, bytes)) or not hasattr(images, "__iter__"):
        raise ImageError("images", f"is a {type(images).__name__}", "pass RGB crops")
    detector = MtcnnDetector(device=choose_device(device), min_face=_MIN_FACE * _SEARCHED_SIDE)
    sizes: deque[tuple[np.ndarray, np.ndarray]] = deque()  # of crops, and of them as they are searched
    frames = (_with_border(image, number, sizes) for number, image in enumerate(images))
    for faces in detector.detect_each(frames):
        yield _landmarks_of_main(faces, *sizes.popleft())


def _with_border(image: Any, number: int, sizes: deque[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    crop = rgb_uint8(image, subject=f"crop {number}")
    size = np.array(crop.shape[1::-1])
    searched = np.maximum(1, np.round(size * (_SEARCHED_SIDE / size.max())).astype(int))
    sizes.append((size, searched))
    small = cv2.resize(crop, searched.tolist(), interpolation=cv2.INTER_AREA)
    border = round(_BORDER * int(searched.max()))
    return cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE)


def _landmarks_of_main(faces: Sequence[Face], size: np.ndarray, searched: np.ndarray) -> np.ndarray | None:
    """Return the landmarks, in pixels of the crop, of the face it was cut around."""
    border, middle = round(_BORDER * int(searched.max())), searched / 2
    best, best_merit = None, -np.inf
    for face in faces:
        corner, opposite = face.box_xyxy[:2] - border, face.box_xyxy[2:] - border
        off_middle = np.abs((corner + opposite) / 2 - middle)
        merit = float((opposite - corner).max() - np.linalg.norm(off_middle))
        if (off_middle <= middle).all() and merit > best_merit:
            best, best_merit = face.landmarks_xy - border, merit
    if best is None:
        return None
    in_crop: np.ndarray = ((best + 0.5) * (size / searched) - 0.5).astype(np.float32)
    return in_crop
