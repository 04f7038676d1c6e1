"""Sampling policies: a clip's metadata to the indices of the frames to read.

Each policy is a frozen dataclass, so it can be compared, printed and stored with a result. Indices are
sorted, unique and within ``0 .. num_frames - 1``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.records import VideoMetadata

# Matroska rounds timestamps to milliseconds: a frame due at 66.7 ms may be stamped 67 ms.
_CLOCK_TOLERANCE_SECONDS = 1e-3


class Sampling(Protocol):
    """Interface of a sampling policy for :func:`read_frames`."""

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> Sequence[int]:
        """Return the indices to read, ascending and unique, in ``0 .. metadata.num_frames - 1``.

        Args:
            metadata: Metadata of the clip; ``num_frames`` is at least 1.
            times_seconds: Time of each frame in seconds from the first, ascending; ``None`` if not
                known.
        """
        ...


@dataclass(frozen=True)
class AllFrames:
    """Every frame of the clip."""

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> range:
        """Return ``range(num_frames)``; the times are not used."""
        return range(metadata.num_frames)


@dataclass(frozen=True)
class EvenlySpaced:
    """``num_frames`` frames, evenly spaced over the whole clip.

    Two or more include the first and the last frame; one is the middle frame (the earlier of the two for
    an even number). All frames are read of a clip with no more than ``num_frames``.

    Args:
        num_frames: Number of frames, at least 1.

    Raises:
        OptionError: ``num_frames`` is not an integer of at least 1.

    Example:
        >>> from deepfake_detect.records import VideoMetadata
        >>> clip = VideoMetadata("a.mp4", "h264", "yuv420p", 64, 48, 0, 25.0, 10, 10, 0.4, False)
        >>> EvenlySpaced(4).frame_indices(clip)
        [0, 3, 6, 9]
    """

    num_frames: int

    def __post_init__(self) -> None:
        _require_count("num_frames", self.num_frames)

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> list[int]:
        """Return ``min(self.num_frames, metadata.num_frames)`` indices; the times are not used."""
        last = metadata.num_frames - 1
        if self.num_frames == 1:
            return [last // 2]
        count = min(self.num_frames, metadata.num_frames)
        positions: list[int] = np.linspace(0, last, count).round().astype(int).tolist()
        return positions


@dataclass(frozen=True)
class EveryKth:
    """Frames 0, ``step``, 2 ``step`` and so on.

    Args:
        step: Distance between two frames, at least 1.

    Raises:
        OptionError: ``step`` is not an integer of at least 1.

    Example:
        >>> from deepfake_detect.records import VideoMetadata
        >>> clip = VideoMetadata("a.mp4", "h264", "yuv420p", 64, 48, 0, 25.0, 10, 10, 0.4, False)
        >>> list(EveryKth(4).frame_indices(clip))
        [0, 4, 8]
    """

    step: int

    def __post_init__(self) -> None:
        _require_count("step", self.step)

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> range:
        """Return ``range(0, num_frames, step)``; the times are not used."""
        return range(0, metadata.num_frames, self.step)


@dataclass(frozen=True)
class ByRate:
    """The frames on screen at the times 0, 1/rate, 2/rate ... seconds.

    A rate above the clip's own reads every frame once. :func:`read_frames` passes the real times, so a
    clip of variable frame rate is sampled by time; without them the clip's average rate is used.

    Args:
        frames_per_second: Frames to read per second of the clip, above 0.

    Raises:
        OptionError: ``frames_per_second`` is not a finite number above 0.

    Example:
        >>> from deepfake_detect.records import VideoMetadata
        >>> clip = VideoMetadata("a.mp4", "h264", "yuv420p", 64, 48, 0, 25.0, 50, 50, 2.0, False)
        >>> ByRate(2).frame_indices(clip)
        [0, 12, 25, 37]
    """

    frames_per_second: float

    def __post_init__(self) -> None:
        rate = self.frames_per_second
        if not _is_number(rate) or not math.isfinite(rate) or rate <= 0:
            raise OptionError("frames_per_second", f"is {rate!r}", "must be a number above 0")

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> list[int]:
        """Return the indices of the frames on screen at these times, each index once.

        Raises:
            OptionError: The clip has several frames, and neither their times nor its rate are known.
        """
        if metadata.num_frames == 1:
            return [0]
        if times_seconds is None:
            times_seconds = _times_at_constant_rate(metadata)
        starts = np.append(times_seconds, metadata.duration_seconds)  # (num_frames + 1,)
        # Number of the first tick at or after each start: a frame is on screen at some tick if the next
        # frame's first tick is a later one.
        ticks = np.ceil((starts - _CLOCK_TOLERANCE_SECONDS) * self.frames_per_second)
        indices: list[int] = np.flatnonzero(ticks[:-1] < ticks[1:]).tolist()
        return indices


@dataclass(frozen=True)
class FrameList:
    """Frames by their index.

    Args:
        indices: Ascending and unique, from 0.

    Example:
        >>> from deepfake_detect.records import VideoMetadata
        >>> clip = VideoMetadata("a.mp4", "h264", "yuv420p", 64, 48, 0, 25.0, 50, 50, 2.0, False)
        >>> FrameList((3, 4, 40)).frame_indices(clip)
        (3, 4, 40)
    """

    indices: tuple[int, ...]

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> tuple[int, ...]:
        """Return the indices; the times are not used."""
        return self.indices


def sampled_indices(
    sampling: Sampling, metadata: VideoMetadata, times_seconds: Sequence[float] | None
) -> Sequence[int]:
    """Return the indices of a policy, which may be a caller's own, after checking them.

    Raises:
        OptionError: They are out of range or not in ascending order.
    """
    wanted = sampling.frame_indices(metadata, times_seconds=times_seconds)
    positions = np.asarray(wanted)
    last = metadata.num_frames - 1
    is_ascending = bool(np.all(np.diff(positions) > 0))
    if not is_ascending or (len(positions) and not 0 <= positions[0] <= positions[-1] <= last):
        raise OptionError(
            "sampling",
            f"{sampling!r} returned indices that are not ascending within 0 to {last}",
            "return sorted, unique indices of existing frames",
        )
    return wanted


def _times_at_constant_rate(metadata: VideoMetadata) -> list[float]:
    if metadata.frames_per_second <= 0:
        raise OptionError(
            "sampling by rate",
            f"the frame rate of {metadata.path} is not known",
            "sample it with EvenlySpaced or EveryKth",
        )
    return [index / metadata.frames_per_second for index in range(metadata.num_frames)]


def _is_number(value: object) -> bool:
    # A bool is a number in Python, but ByRate(True) is a mistake and not one frame per second.
    return hasattr(value, "__float__") and not isinstance(value, (bool, str))


def _require_count(option: str, value: int) -> None:
    try:
        is_allowed = not isinstance(value, bool) and operator.index(value) >= 1
    except TypeError:
        is_allowed = False
    if not is_allowed:
        raise OptionError(option, f"is {value!r}", "must be an integer of at least 1")
