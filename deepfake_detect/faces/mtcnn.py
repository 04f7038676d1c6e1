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
from deepfake_detect.faces.cascade import PYRAMID_FACTOR, longer_side, search_everywhere
from deepfake_detect.faces.dense import Follower
from deepfake_detect.faces.networks import load_networks
from deepfake_detect.faces.parallel import in_batches, map_in_threads
from deepfake_detect.faces.sums import frames_tensor, summed_area_table
from deepfake_detect.images import rgb_uint8
from deepfake_detect.records import Face, Frame

DetectionMode = Literal["default", "exact", "dense"]

_SMALLEST_USUAL_FACE = 20.0  # facenet-pytorch's default
_SMALLEST_POSSIBLE_FACE = 12.0
_SHARE_OF_FRAME = 1 / 10
# The first network must look for somewhat smaller faces than those asked for: a face's best
# proposal may be smaller than the face. On 435 faces of 365 frames, the smallest a twelfth of the
# frame, recall at IoU 0.9 was .982 without this margin and 1.000 with it.
_MARGIN = 1.2
_KEY_INTERVAL = 8
_LARGEST_SMALLEST_DENSE_FACE = 80.0
# Frames searched together: operations on one are many and small. On a CPU two outgrow no cache, but
# for the many pixels of exact mode and the few of dense mode, which takes four parts of a clip.
_FRAMES_TOGETHER = {"exact": 1, "default": 2, "dense": 4}
_FRAMES_TOGETHER_ON_GPU = 8


def default_min_face(height: int, width: int) -> float:
    """Return the side in pixels of the smallest face looked for in a frame of this size.

    It is a tenth of the shorter side, and never below 20.

    Example:
        >>> [default_min_face(h, w) for h, w in ((160, 320), (720, 1280), (1080, 1920))]
        [20.0, 72.0, 108.0]
    """
    return max(_SMALLEST_USUAL_FACE, min(height, width) * _SHARE_OF_FRAME)


class FaceDetector:
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

    def __init__(
        self,
        *,
        device: str | torch.device = "auto",
        min_face: float | None = None,
        mode: DetectionMode = "default",
    ) -> None:
        if min_face is not None and not min_face >= _SMALLEST_POSSIBLE_FACE:
            raise OptionError(
                "min_face", f"is {min_face} px", f"MTCNN finds faces from {_SMALLEST_POSSIBLE_FACE}"
            )
        if mode not in get_args(DetectionMode):
            raise OptionError("mode", f"{mode!r} is unknown", f"choose {', '.join(get_args(DetectionMode))}")
        self.min_face = min_face
        self.mode = mode
        self._networks = load_networks(choose_device(device))

    def detect(self, image: Any) -> list[Face]:
        """Return the faces of one RGB image (see :func:`detect_faces`), largest first.

        In dense mode an image alone is searched everywhere.
        """
        return self._search([rgb_uint8(_pixels(image))])[0]

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
        frames = (rgb_uint8(_pixels(image), subject=f"frame {n}") for n, image in enumerate(images))
        on_gpu = self._networks.device.type == "cuda"
        size = _FRAMES_TOGETHER_ON_GPU if on_gpu else _FRAMES_TOGETHER[self.mode]
        search = self._search
        if self.mode == "dense":
            size, search = size * _KEY_INTERVAL, self._follow
        batches = in_batches(frames, size=size, alike=np.shape)
        num_threads = 1 if on_gpu else torch.get_num_threads()
        for found in map_in_threads(search, batches, num_threads=num_threads):
            yield from found

    def _search(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of images of one size."""
        min_face, smallest = self._sizes(images[0])
        tables = summed_area_table(frames_tensor(images, self._networks.device))
        found = search_everywhere(tables, self._networks, smallest=smallest)
        return [_large_enough(faces, min_face) for faces in found]

    def _follow(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of consecutive frames of one size, every eighth of which is a key frame."""
        min_face, smallest = self._sizes(images[0])
        follower = Follower(self._networks, smallest=smallest, min_face=min_face)
        parts = [images[start : start + _KEY_INTERVAL] for start in range(0, len(images), _KEY_INTERVAL)]
        steps = [follower.find([part[n] for part in parts if n < len(part)]) for n in range(len(parts[0]))]
        in_order = (steps[n][number] for number, part in enumerate(parts) for n in range(len(part)))
        return [_large_enough(faces, min_face) for faces in in_order]

    def _sizes(self, image: np.ndarray) -> tuple[float, float]:
        """Return the smallest face that is returned, and the smallest window looked through."""
        if self.mode == "exact":
            return 0.0, self.min_face or _SMALLEST_USUAL_FACE
        usual = default_min_face(*image.shape[:2])
        if self.mode == "dense":
            usual = min(usual, _LARGEST_SMALLEST_DENSE_FACE)
        min_face = self.min_face or usual
        return min_face, _smallest_window(min_face)


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


def _pixels(image: Any) -> Any:
    return image.image if isinstance(image, Frame) else image


def _large_enough(faces: list[Face], min_face: float) -> list[Face]:
    return [face for face in faces if longer_side(face) >= min_face]


def _smallest_window(min_face: float) -> float:
    """Return the smallest window to look through for faces of ``min_face`` pixels and more.

    It is one of the sizes that facenet-pytorch's own pyramid has (20, 28, 40, 56, 79, 112 ... px),
    so that leaving out the smaller ones moves no box.
    """
    window = min(min_face, _SMALLEST_USUAL_FACE)
    while window / PYRAMID_FACTOR * _MARGIN <= min_face:
        window /= PYRAMID_FACTOR
    return window
