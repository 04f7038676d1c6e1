"""How much of a file from a stranger is decoded: options with defaults, checked before the work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from av.video.frame import VideoFrame

from deepfake_detect.errors import VideoLimitError
from deepfake_detect.options import check_options, option

_T = TypeVar("_T")
_LARGE_PIXELS = 9_000_000  # of frames above 4K
# Bytes of a decoder's frames with 15 per pixel for a frame in RGB and its integral image: with these, a
# process that scores stays under 1.5 GB.
_MOST_BYTES, _BYTES_PER_PIXEL = 1_350_000_000, 15


@dataclass(frozen=True)
class DecodingLimits:
    """Limits of one clip or image; a larger one is a :class:`VideoLimitError`.

    Raises:
        OptionError: A limit is out of range.

    Example:
        >>> DecodingLimits(max_pixels=1_000_000).max_frames
        1000000
    """

    max_pixels: int = option(
        50_000_000,
        low=1,
        high=178_956_970,  # Pillow raises an error above this
        help="most pixels in a frame or image; the default allows 8K frames",
    )
    max_frames: int = option(
        1_000_000, low=1, help="most frames in a clip; the default is 9 hours at 30 frames per second"
    )
    max_decoding_seconds: float = option(
        3600.0, above=0, help="time limit for decoding one clip, in seconds; scoring time does not count"
    )

    def __post_init__(self) -> None:
        check_options(self)

    def check_size(self, path: Path, width: int, height: int) -> None:
        """Raise VideoLimitError for frames with too many pixels."""
        if width * height > self.max_pixels:
            raise VideoLimitError(
                path,
                f"has frames of {width} x {height} pixels; {self.max_pixels / 1e6:g} megapixels are allowed",
                "scale it down, or raise `max_pixels`",
            )

    def check_count(self, path: Path, num_frames: int) -> None:
        """Raise VideoLimitError for too many frames."""
        if num_frames > self.max_frames:
            raise VideoLimitError(
                path, f"has more than {self.max_frames} frames", "cut out a part, or raise `max_frames`"
            )

    def bounded(self, path: Path, decoded: Iterator[list[VideoFrame]]) -> Iterator[list[VideoFrame]]:
        """Yield decoded frames; raise VideoLimitError when the decoder holds too many large ones.

        A codec may refer to 16 earlier frames, and its frames may take 1 to 8 bytes per pixel. A decoder
        reuses its buffers, so those that were seen are all that it has.
        """
        buffers: dict[int, int] = {}  # address -> bytes
        for frames in decoded:
            for frame in frames:
                num_pixels = frame.width * frame.height
                if num_pixels > _LARGE_PIXELS:
                    address = frame.planes[0].buffer_ptr
                    buffers[address] = sum(plane.buffer_size for plane in frame.planes)
                    if sum(buffers.values()) + _BYTES_PER_PIXEL * num_pixels > _MOST_BYTES:
                        raise VideoLimitError(path, "takes too much memory to decode", "scale it down")
                del frame  # large frames are in memory no longer than needed
            yield frames
            del frames

    def timed(self, path: Path, items: Iterator[_T]) -> Iterator[_T]:
        """Yield items; raise VideoLimitError when making them has taken too long."""
        seconds, end = 0.0, object()
        while True:
            started = time.perf_counter()
            item = next(items, end)
            seconds += time.perf_counter() - started
            if item is end:
                return
            if seconds > self.max_decoding_seconds:
                raise VideoLimitError(
                    path,
                    f"takes more than {self.max_decoding_seconds:g} seconds to decode",
                    "cut out a part, or raise `max_decoding_seconds`",
                )
            yield item  # type: ignore[misc]
            del item  # large frames are in memory no longer than needed


DEFAULT_LIMITS = DecodingLimits()
NO_LIMITS = DecodingLimits(max_pixels=178_956_970, max_frames=10**12, max_decoding_seconds=1e9)
"""For a file that was read before, within the limits that were set then."""
