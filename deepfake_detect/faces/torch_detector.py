"""Face detection with PyTorch, on a CPU or GPU, in one of three modes.

default  faces that are large enough in their frame
exact    the faces that facenet-pytorch's MTCNN finds
dense    every frame of a clip, each searched near the faces of the frame before
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from deepfake_detect.device import choose_device
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.faces.cascade import USUAL, CascadeOptions
from deepfake_detect.faces.dense import DenseDetector
from deepfake_detect.faces.detector import (
    SMALLEST_USUAL_FACE,
    FaceDetector,
    check_min_face,
    default_min_face,
    large_enough,
    most_at_once,
    smallest_window,
)
from deepfake_detect.faces.networks import TorchNetworks, load_networks
from deepfake_detect.records import Face, Frame

DetectionMode = Literal["default", "exact", "dense"]

_SMALLEST_EXACT_FACE = 8.0
_KEY_INTERVAL = 8
_LARGEST_SMALLEST_DENSE_FACE = 80.0
# Frames per batch: the operations on one frame are many and small. Two fit into a CPU's cache; exact
# mode has more pixels per frame, dense mode fewer.
_FRAMES_PER_BATCH = {"exact": 1, "default": 2, "dense": 4}
_FRAMES_PER_GPU_BATCH = 8


class MtcnnDetector(FaceDetector):
    """MTCNN (Zhang et al. 2016, arXiv:1604.02878) with facenet-pytorch's weights, on one device.

    Args:
        device: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"`` or a torch device.
        min_face: Longer side in pixels of the smallest face that is returned, 12 or more, in exact mode
            8 or more; ``None``: see :func:`detect_faces`.
        mode: See :func:`detect_faces`.
        thresholds: P(face) from which a box passes P-Net, R-Net and O-Net; not in dense mode.
        factor: Ratio of one scale of the search to the one before; not in dense mode.

    Raises:
        OptionError: A value is out of range, the mode is unknown, or does not take an option.
        DeviceError: There is no such device.
    """

    _networks: TorchNetworks

    def __init__(
        self,
        *,
        device: str | torch.device = "auto",
        min_face: float | None = None,
        mode: DetectionMode = "default",
        thresholds: tuple[float, float, float] = USUAL.thresholds,
        factor: float = USUAL.factor,
    ) -> None:
        if mode not in get_args(DetectionMode):
            raise OptionError("mode", f"is {mode!r}", f"must be one of {', '.join(get_args(DetectionMode))}")
        self.mode = mode
        check_min_face(min_face, smallest=self._smallest_possible_face())  # before the networks are loaded
        cascade = CascadeOptions(thresholds, factor)
        if mode == "dense" and cascade != USUAL:
            raise OptionError("mode", "dense takes no thresholds and factor", "choose default or exact")
        networks = load_networks(choose_device(device))
        super().__init__(networks, num_threads=1, min_face=min_face, cascade=cascade)

    def _smallest_possible_face(self) -> float:
        return _SMALLEST_EXACT_FACE if self.mode == "exact" else super()._smallest_possible_face()

    def _count_threads(self, num_pixels: int) -> int:
        is_on_cpu = self._networks.device.type == "cpu"
        return most_at_once(num_pixels, torch.get_num_threads()) if is_on_cpu else 1

    def _batch_size(self) -> int:
        is_on_cpu = self._networks.device.type == "cpu"
        size = _FRAMES_PER_BATCH[self.mode] if is_on_cpu else _FRAMES_PER_GPU_BATCH
        return size * _KEY_INTERVAL if self.mode == "dense" else size

    @torch.inference_mode()
    def _search(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of images of one size; in dense mode every eighth is a key frame."""
        if self.mode != "dense":
            return super()._search(images)
        min_face, smallest = self._sizes(images[0])
        detector = DenseDetector(self._networks, smallest=smallest, min_face=min_face)
        parts = [images[start : start + _KEY_INTERVAL] for start in range(0, len(images), _KEY_INTERVAL)]
        steps = [detector.find([part[n] for part in parts if n < len(part)]) for n in range(len(parts[0]))]
        in_order = (steps[n][number] for number, part in enumerate(parts) for n in range(len(part)))
        return [large_enough(faces, min_face) for faces in in_order]

    def _sizes(self, image: np.ndarray) -> tuple[float, float]:
        if self.mode == "exact":
            return 0.0, self.min_face or SMALLEST_USUAL_FACE
        if self.mode == "dense" and self.min_face is None:
            min_face = min(default_min_face(*image.shape[:2]), _LARGEST_SMALLEST_DENSE_FACE)
            return min_face, smallest_window(min_face)
        return super()._sizes(image)


def detect_faces(
    frames: Iterable[Any],
    *,
    mode: DetectionMode = "default",
    min_face: float | None = None,
    device: str | torch.device = "auto",
) -> list[list[Face]]:
    """Detect the faces of frames.

    ==========  ==============================================================================
    mode        what is detected
    ==========  ==============================================================================
    "default"   every face whose longer side is ``min_face`` or more
    "exact"     what facenet-pytorch 2.5.3 finds with ``MTCNN(keep_all=True)``: the same boxes,
                scores and landmarks in the same order, ``min_face`` being its
                ``min_face_size``
    "dense"     as "default", for all consecutive frames of a clip: every eighth frame is
                searched whole, the others near the faces of the frame before, or whole if
                one of those is lost or the shot changes. A face that enters is found within
                eight frames
    ==========  ==============================================================================

    On a CPU frames are searched in parallel, one per torch thread.

    Args:
        frames: RGB frames, each uint8 (H, W, 3) (float in [0, 1], torch tensors, PIL images and
            :class:`records.Frame` are accepted too); sizes may differ. One array or tensor
            (N, H, W, 3) is N frames; a single image counts as one frame.
        mode: See above.
        min_face: Side in pixels of the smallest face to detect, 12 or more, in exact mode 8 or more;
            ``None`` is a tenth of each frame's shorter side (see :func:`default_min_face`), in dense
            mode at most 80, in exact mode 20.
        device: Device of the networks: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"``.

    Returns:
        For each frame the list of its faces, largest first; empty if there is none.

    Raises:
        ImageError: A frame is not an RGB image; the message names it.
        OptionError: ``min_face`` is too small, or the mode is unknown.
        DeviceError: There is no such device.

    Example:
        >>> detect_faces([np.zeros((120, 160, 3), np.uint8), np.zeros((90, 90, 3), np.uint8)])
        [[], []]
    """
    is_image = isinstance(frames, Frame) or hasattr(frames, "getbands")
    if isinstance(frames, (str, bytes, os.PathLike)) or not (is_image or hasattr(frames, "__iter__")):
        raise ImageError(
            "frames", f"is a {type(frames).__name__}", "pass images; deepfake_detect.read_frames reads a path"
        )
    is_single = is_image or getattr(frames, "ndim", 0) == 3
    detector = MtcnnDetector(device=device, min_face=min_face, mode=mode)
    return [detector.detect(frames)] if is_single else list(detector.detect_each(frames))
