"""Face detection with the networks of any runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Any, TypeVar

import numpy as np

from deepfake_detect.device import return_freed_memory
from deepfake_detect.errors import OptionError
from deepfake_detect.faces.cascade import (
    PYRAMID_FACTOR,
    USUAL,
    CascadeOptions,
    Networks,
    longer_side,
    search_everywhere,
)
from deepfake_detect.faces.integral import integral_images
from deepfake_detect.faces.parallel import in_batches, map_in_threads
from deepfake_detect.images import rgb_uint8
from deepfake_detect.records import Face, Frame

_Batch = TypeVar("_Batch")
SMALLEST_USUAL_FACE = 20.0
"""Side in pixels of the smallest face that facenet-pytorch detects by default."""
_SMALLEST_POSSIBLE_FACE = 12.0
_FRAME_FRACTION = 1 / 10
# P-Net must search for slightly smaller faces than requested: a face's best proposal may be smaller
# than the face. On 435 faces of 365 frames, the smallest a twelfth of the
# frame, recall at IoU 0.9 was .982 without this margin and 1.000 with it.
_MARGIN = 1.2
# An integral image takes 12 bytes per pixel: 600 MB in all. Above a 4K frame, freed memory is not kept.
_MOST_PIXELS_AT_ONCE, _LARGE_PIXELS = 50_000_000, 9_000_000


def default_min_face(height: int, width: int) -> float:
    """Return the side in pixels of the smallest face that is detected in a frame of this size by default.

    It is a tenth of the shorter side, but at least 20.

    Example:
        >>> [default_min_face(h, w) for h, w in ((160, 320), (720, 1280), (1080, 1920))]
        [20.0, 72.0, 108.0]
    """
    return max(SMALLEST_USUAL_FACE, min(height, width) * _FRAME_FRACTION)


class FaceDetector:
    """Detects every face that is large enough in its frame.

    Args:
        networks: P-Net, R-Net and O-Net in some runtime.
        num_threads: Threads that detect faces, each in frames of its own.
        min_face: Longer side in pixels of the smallest face that is returned, 12 or more; ``None``
            is a tenth of each frame's shorter side (see :func:`default_min_face`).
        cascade: Thresholds and steps of the search.

    Raises:
        OptionError: ``min_face`` is below 12.
    """

    def __init__(
        self,
        networks: Networks[Any],
        *,
        num_threads: int,
        min_face: float | None = None,
        cascade: CascadeOptions = USUAL,
    ) -> None:
        check_min_face(min_face, smallest=self._smallest_possible_face())
        self.min_face = min_face
        self.cascade = cascade
        self.runtime = networks.runtime
        self._networks = networks
        self._num_threads = num_threads

    def detect(self, image: Any) -> list[Face]:
        """Return the faces of one RGB image uint8 (H, W, 3), largest first.

        Raises:
            ImageError: It is not RGB.
        """
        return self._search([rgb_uint8(_pixels(image))])[0]

    def detect_each(self, images: Iterable[Any]) -> Iterator[list[Face]]:
        """Yield the faces of each of many images, in order, largest first.

        Images may come from a generator of any length: a few per thread are in memory at a time, in dense
        mode some dozens.

        Args:
            images: RGB uint8 (H, W, 3), or :class:`records.Frame`; sizes may differ. In dense mode the
                consecutive frames of a clip.

        Raises:
            ImageError: An image is not RGB; the message names it.
        """
        batches = in_batches(_all_rgb(images), size=self._batch_size(), alike=np.shape)
        first = list(islice(batches, 1))
        if first:
            num_threads = self._count_threads(_num_pixels(first[0][0]))
            for found in map_in_threads(self._search, _joined(first, batches), num_threads=num_threads):
                yield from found

    def _smallest_possible_face(self) -> float:
        return _SMALLEST_POSSIBLE_FACE

    def _count_threads(self, num_pixels: int) -> int:
        """Return how many frames of a size are searched at once."""
        return most_at_once(num_pixels, self._num_threads)

    def _batch_size(self) -> int:
        return 1

    def _search(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of consecutive images of one size."""
        is_large = _num_pixels(images[0]) > _LARGE_PIXELS
        if is_large:
            return_freed_memory()  # of decoding, for the integral image
        found = self._found(images)
        if is_large:
            return_freed_memory()  # of the integral image, for decoding
        return found

    def _found(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        min_face, smallest = self._sizes(images[0])
        tables = integral_images(self._networks.frames(images))
        found = search_everywhere(tables, self._networks, smallest=smallest, options=self.cascade)
        return [large_enough(faces, min_face) for faces in found]

    def _sizes(self, image: np.ndarray) -> tuple[float, float]:
        """Return the smallest face that is returned, and P-Net's smallest window."""
        min_face = self.min_face or default_min_face(*image.shape[:2])
        return min_face, smallest_window(min_face, factor=self.cascade.factor)


def most_at_once(num_pixels: int, num_threads: int) -> int:
    """Return how many frames of a number of pixels are searched at once, in threads of their own.

    Example:
        >>> [most_at_once(width * height, 8) for width, height in ((1920, 1080), (3840, 2160), (7680, 4320))]
        [8, 6, 1]
    """
    if num_pixels > _LARGE_PIXELS:
        return 1
    return max(1, min(num_threads, _MOST_PIXELS_AT_ONCE // num_pixels))


def check_min_face(min_face: float | None, *, smallest: float = _SMALLEST_POSSIBLE_FACE) -> None:
    """Raise OptionError for a smallest face below so many pixels."""
    if min_face is not None and not min_face >= smallest:
        raise OptionError("min_face", f"is {min_face}", f"must be {smallest:g} or more pixels")


def large_enough(faces: Sequence[Face], min_face: float) -> list[Face]:
    """Return the faces whose longer side is at least ``min_face`` pixels."""
    return [face for face in faces if longer_side(face) >= min_face]


def smallest_window(min_face: float, *, factor: float = PYRAMID_FACTOR) -> float:
    """Return P-Net's smallest window for faces of at least ``min_face`` pixels.

    It is one of the sizes of facenet-pytorch's own pyramid (20, 28, 40, 56, 79, 112 ... px), so that
    leaving out the smaller ones moves no box.

    Example:
        >>> [round(smallest_window(side)) for side in (12, 30, 72, 108)]
        [12, 20, 56, 79]
    """
    window = min(min_face, SMALLEST_USUAL_FACE)
    while window / factor * _MARGIN <= min_face:
        window /= factor
    return window


def _joined(first: list[_Batch], others: Iterator[_Batch]) -> Iterator[_Batch]:
    yield first.pop()  # large frames are in memory no longer than needed
    yield from others


def _all_rgb(images: Iterable[Any]) -> Iterator[np.ndarray]:
    numbers = count()  # enumerate() would hold each image until the next one is decoded
    for image in images:
        image = rgb_uint8(_pixels(image), subject=f"frame {next(numbers)}")
        yield image
        del image


def _num_pixels(image: np.ndarray) -> int:
    return int(image.shape[0] * image.shape[1])


def _pixels(image: Any) -> Any:
    return image.image if isinstance(image, Frame) else image
