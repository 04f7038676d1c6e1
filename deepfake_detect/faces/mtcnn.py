"""Finding faces: which frames, how small a face, on which device, in which of three ways.

default  the faces that matter to the library: those that are large enough in their frame
exact    what facenet-pytorch's MTCNN finds, face for face
dense    every frame of a clip, each searched near the faces of the frame before
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from deepfake_detect.device import choose_device
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.faces.dense import DenseDetector
from deepfake_detect.faces.finder import (
    SMALLEST_USUAL_FACE,
    MtcnnDetector,
    check_min_face,
    default_min_face,
    large_enough,
    smallest_window,
)
from deepfake_detect.faces.networks import TorchNetworks, load_networks
from deepfake_detect.records import Face, Frame

DetectionMode = Literal["default", "exact", "dense"]

_KEY_INTERVAL = 8
_LARGEST_SMALLEST_DENSE_FACE = 80.0
# Frames searched together: operations on one are many and small. On a CPU two outgrow no cache, but
# for the many pixels of exact mode and the few of dense mode, which takes four parts of a clip.
_FRAMES_TOGETHER = {"exact": 1, "default": 2, "dense": 4}
_FRAMES_TOGETHER_ON_GPU = 8


class FaceDetector(MtcnnDetector):
    """MTCNN (Zhang et al. 2016, arXiv:1604.02878) with facenet-pytorch's weights, on one device.

    Args:
        device: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"`` or a torch device.
        min_face: Longer side in pixels of the smallest face that is returned, from 12; ``None``
            is as in :func:`detect_faces`.
        mode: See :func:`detect_faces`.

    Raises:
        OptionError: ``min_face`` is below 12, or the mode is unknown.
        DeviceError: There is no such device.
    """

    _networks: TorchNetworks

    def __init__(
        self,
        *,
        device: str | torch.device = "auto",
        min_face: float | None = None,
        mode: DetectionMode = "default",
    ) -> None:
        check_min_face(min_face)  # before networks are loaded
        if mode not in get_args(DetectionMode):
            raise OptionError("mode", f"{mode!r} is unknown", f"choose {', '.join(get_args(DetectionMode))}")
        super().__init__(load_networks(choose_device(device)), num_threads=1, min_face=min_face)
        self.mode = mode

    def detect_each(self, images: Iterable[Any]) -> Iterator[list[Face]]:
        """Yield the faces of each of many images, in order.

        Images may come from a generator, however long: few are held at a time. On a CPU that is
        two for each of torch's threads and two more (one in exact mode, 32 in dense mode); on a
        GPU eight and in dense mode 64.

        Args:
            images: As in :func:`detect_faces`; in dense mode the consecutive frames of a clip.

        Raises:
            ImageError: An image is not RGB; the message tells which.
        """
        return super().detect_each(images)

    def _count_threads(self) -> int:
        return 1 if self._is_on_gpu else torch.get_num_threads()

    @property
    def _is_on_gpu(self) -> bool:
        return self._networks.device.type == "cuda"

    def _batch_size(self) -> int:
        size = _FRAMES_TOGETHER_ON_GPU if self._is_on_gpu else _FRAMES_TOGETHER[self.mode]
        return size * _KEY_INTERVAL if self.mode == "dense" else size

    def _find_in(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        return self._follow(images) if self.mode == "dense" else self._search(images)

    @torch.inference_mode()
    def _search(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        return super()._search(images)

    def _follow(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of consecutive frames of one size, every eighth of which is a key frame."""
        min_face, smallest = self._sizes(images[0])
        follower = DenseDetector(self._networks, smallest=smallest, min_face=min_face)
        parts = [images[start : start + _KEY_INTERVAL] for start in range(0, len(images), _KEY_INTERVAL)]
        steps = [follower.find([part[n] for part in parts if n < len(part)]) for n in range(len(parts[0]))]
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
    """Find the faces of frames.

    ==========  ==============================================================================
    mode        what is found
    ==========  ==============================================================================
    "default"   every face whose longer side is ``min_face`` or more
    "exact"     what facenet-pytorch 2.5.3 finds with ``MTCNN(keep_all=True)``: the same boxes,
                scores and landmarks in the same order, ``min_face`` being its
                ``min_face_size``
    "dense"     as "default", for all consecutive frames of a clip: every eighth is searched
                everywhere, the others near the faces of the frame before, or everywhere where
                one of those is lost or the shot changes. A face that enters is found within
                eight frames
    ==========  ==============================================================================

    On a CPU frames are searched side by side, one per torch thread.

    Args:
        frames: RGB frames, each uint8 (H, W, 3) (float in [0, 1], torch tensors, PIL images and
            :class:`records.Frame` are taken too); sizes may differ. One array or tensor
            (N, H, W, 3) is N frames; a single image counts as one frame.
        mode: See above.
        min_face: Side in pixels of the smallest face looked for, from 12; ``None`` takes a tenth
            of each frame's shorter side (see :func:`default_min_face`), in dense mode 80 where
            that is less, and in exact mode 20.
        device: Where the networks run: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"``.

    Returns:
        For each frame the list of its faces, largest first; empty where there is none.

    Raises:
        ImageError: A frame is not an RGB image; the message tells which.
        OptionError: ``min_face`` is below 12, or the mode is unknown.
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
    detector = FaceDetector(device=device, min_face=min_face, mode=mode)
    return [detector.detect(frames)] if is_single else list(detector.detect_each(frames))
