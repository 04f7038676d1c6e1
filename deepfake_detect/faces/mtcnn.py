"""MTCNN (Zhang et al. 2016, arXiv:1604.02878) with facenet-pytorch's networks and weights.

The weights ship inside the facenet-pytorch package, so nothing is downloaded.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN

from deepfake_detect.device import choose_device
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.images import rgb_uint8
from deepfake_detect.records import Face, Frame

# MTCNN shrinks the frame step by step by this factor and finds a face at the step where it is
# about 12 pixels; facenet-pytorch starts with 20-pixel faces.
_PYRAMID_FACTOR = 0.709
_SMALLEST_USUAL_FACE = 20.0
_SMALLEST_POSSIBLE_FACE = 12.0
_SHARE_OF_FRAME = 1 / 12


def default_min_face(height: int, width: int) -> float:
    """Return the side in pixels of the smallest face looked for in a frame of this size.

    It is a twelfth of the shorter side, lowered to the next of the sizes that facenet-pytorch's
    own pyramid has (20, 28, 40, 56, 79, 112 ... px), so that leaving out the smallest faces
    moves no other box; never below 20.

    Example:
        >>> [round(default_min_face(h, w)) for h, w in ((240, 320), (720, 1280), (1080, 1920))]
        [20, 56, 79]
    """
    side = _SMALLEST_USUAL_FACE
    while side / _PYRAMID_FACTOR <= min(height, width) * _SHARE_OF_FRAME:
        side /= _PYRAMID_FACTOR
    return side


class FaceDetector:
    """MTCNN on one device.

    Args:
        device: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"`` or a torch device.
        min_face: Side in pixels of the smallest face looked for, from 12; ``None`` chooses for
            each frame by :func:`default_min_face`.
    """

    def __init__(self, *, device: str | torch.device = "auto", min_face: float | None = None) -> None:
        if min_face is not None and not min_face >= _SMALLEST_POSSIBLE_FACE:
            raise OptionError(
                "min_face", f"is {min_face} px", f"MTCNN finds faces from {_SMALLEST_POSSIBLE_FACE}"
            )
        self.min_face = min_face
        self._network = _mtcnn(str(choose_device(device)))

    def detect(self, image: Any) -> list[Face]:
        """Return the faces of one RGB image (see :func:`detect_faces`), largest first."""
        pixels = rgb_uint8(image)
        height, width = pixels.shape[:2]
        min_face = default_min_face(height, width) if self.min_face is None else self.min_face
        if min(height, width) < min_face:
            return []  # the pyramid would have no step at all
        self._network.min_face_size = min_face
        boxes, scores, landmarks = self._network.detect(pixels, landmarks=True)
        if boxes is None:
            return []
        return [
            Face(np.asarray(box, np.float32), float(score), np.asarray(points, np.float32))
            for box, score, points in zip(boxes, scores, landmarks, strict=True)
        ]


def detect_faces(
    frames: Iterable[Any], *, min_face: float | None = None, device: str | torch.device = "auto"
) -> list[list[Face]]:
    """Find the faces of frames.

    Args:
        frames: RGB frames, each uint8 (H, W, 3) (float in [0, 1], torch tensors, PIL images and
            :class:`records.Frame` are taken too); sizes may differ. One array or tensor
            (N, H, W, 3) is N frames; a single image counts as one frame.
        min_face: Side in pixels of the smallest face looked for, from 12; ``None`` takes a
            twelfth of each frame's shorter side, see :func:`default_min_face`.
        device: Where the networks run: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"``.

    Returns:
        For each frame the list of its faces, largest first; empty where there is none.

    Raises:
        ImageError: A frame is not an RGB image; the message tells which.
        OptionError: ``min_face`` is below 12.

    Example:
        >>> detect_faces([np.zeros((120, 160, 3), np.uint8), np.zeros((90, 90, 3), np.uint8)])
        [[], []]
    """
    if isinstance(frames, (str, bytes, os.PathLike)) or not (
        isinstance(frames, Frame) or hasattr(frames, "getbands") or hasattr(frames, "__iter__")
    ):
        raise ImageError(
            "frames", f"is a {type(frames).__name__}", "pass images; deepfake_detect.read_frames reads a path"
        )
    is_single = isinstance(frames, Frame) or hasattr(frames, "getbands") or getattr(frames, "ndim", 0) == 3
    several: Iterable[Any] = [frames] if is_single else frames
    detector = FaceDetector(device=device, min_face=min_face)
    images = (frame.image if isinstance(frame, Frame) else frame for frame in several)
    return [
        detector.detect(rgb_uint8(image, subject=f"frame {number}")) for number, image in enumerate(images)
    ]


@functools.lru_cache(maxsize=4)
def _mtcnn(device: str) -> MTCNN:
    with warnings.catch_warnings():
        # torch 2.4 and 2.5 warn of the way in which facenet-pytorch reads its own weights.
        warnings.simplefilter("ignore", FutureWarning)
        return MTCNN(keep_all=True, factor=_PYRAMID_FACTOR, device=torch.device(device)).eval()
