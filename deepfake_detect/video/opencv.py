"""Frames and metadata by OpenCV, where PyAV is not installed.

The pixels, indices and times are the same. What is lost, as OpenCV shows neither packets nor faults:
a clip is decoded once more, to count its pictures; damage in the middle is concealed where FFmpeg can,
and not told; of containers only MP4, MOV and Matroska, of pictures only GIF and JPEG, are known to be
cut off; an MP4 whose edit list hides pictures looks truncated; codecs have their four-letter names.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.records import Frame, VideoMetadata
from deepfake_detect.video.files import (
    check_file,
    checked_path,
    container_of,
    damaged,
    file_head,
    gif_ends,
    jpeg_ends,
    truncated,
    unopened,
)
from deepfake_detect.video.sampling import AllFrames, Sampling, chosen_indices

_ALL_FRAMES = AllFrames()
# Not even FFmpeg's own messages may stand on standard error beside ours; -8 is its AV_LOG_QUIET.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True, eq=False)
class _Clip:
    """A clip's metadata, and when each frame is shown, in seconds from the first."""

    metadata: VideoMetadata
    times_seconds: tuple[float, ...]


def read_metadata(path: str | os.PathLike[str]) -> VideoMetadata:
    """Read what a video file says of itself and count the pictures in it, as ``metadata.read_metadata``.

    Raises:
        VideoNotFoundError, VideoUnreadableError, OptionError: As there.

    Example:
        >>> read_metadata("examples/demo.mp4").num_frames > 100
        True
    """
    return _scanned(path).metadata


def read_frames(
    path: str | os.PathLike[str], *, sampling: Sampling = _ALL_FRAMES, allow_truncated: bool = False
) -> Generator[Frame, None, None]:
    """Yield the frames of a clip that ``sampling`` names, as ``decode.read_frames``.

    Raises:
        VideoNotFoundError, VideoUnreadableError, VideoTruncatedError, OptionError: As there.

    Example:
        >>> next(read_frames("examples/demo.mp4")).frame_index
        0
    """
    clip = _scanned(path)
    if clip.metadata.is_truncated and not allow_truncated:
        raise truncated(clip.metadata)
    wanted = chosen_indices(sampling, clip.metadata, clip.times_seconds)
    return _read_wanted(clip, wanted)


def _read_wanted(clip: _Clip, wanted: Sequence[int]) -> Generator[Frame, None, None]:
    path, remaining = clip.metadata.path, deque(wanted)
    if remaining and _is_picture(path):
        yield Frame(_rgb(_picture(path)), 0, 0.0)
        return
    with _opened(path) as capture:
        index = 0
        while remaining:
            if not capture.grab():
                raise damaged(clip.metadata, remaining[0])
            if index == remaining[0]:
                remaining.popleft()
                yield Frame(_rgb(capture.retrieve()[1]), index, clip.times_seconds[index])
            index += 1


def _rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _scanned(path: str | os.PathLike[str]) -> _Clip:
    file = checked_path("video", path)
    check_file(file)
    found = os.stat(file)
    return _scan(file, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _scan(path: Path, num_bytes: int, modified_ns: int) -> _Clip:
    """Decode a file, as its length and its time tell it from later ones of its name, and count."""
    if _is_picture(path):
        height, width = _picture(path).shape[:2]
        is_cut = container_of(path) == "jpeg" and not jpeg_ends(file_head(path, -1))
        facts = _Facts("picture", width, height, 0, 0.0, None, 0.0)
        return _Clip(_metadata(path, facts, 1, is_cut), (0.0,))
    with _opened(path) as capture:
        times: list[float] = []
        image = None
        while capture.grab():
            if not times:
                image = capture.retrieve()[1]
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        facts = _declared(path, capture, image, times)
    if image is None:
        raise VideoUnreadableError(path, "not one picture of its video decodes", "fetch the file again")
    is_cut = _lacks_pictures(path, facts, times)
    return _Clip(_metadata(path, facts, len(times), is_cut), tuple(time - times[0] for time in times))


@dataclass(frozen=True)
class _Facts:
    """What a file says of itself; ``num_declared`` as OpenCV estimates it where the file does not say."""

    codec: str
    width: int
    height: int
    rotation_degrees: int
    frames_per_second: float
    num_declared: int | None
    duration_seconds: float


def _declared(path: Path, capture: Any, image: np.ndarray | None, times: Sequence[float]) -> _Facts:
    height, width = (0, 0) if image is None else image.shape[:2]
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    letters = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    span = times[-1] - times[0] if times else 0.0
    duration = span + (1 / rate if rate > 0 else 0.0)
    if duration > 0 and abs(rate * duration - len(times)) > 1:
        rate = len(times) / duration
    return _Facts(
        codec=letters.decode("ascii", "replace").strip("\0 ").lower(),
        width=width,
        height=height,
        rotation_degrees=-round(capture.get(cv2.CAP_PROP_ORIENTATION_META) / 90) % 4 * 90,
        frames_per_second=rate,
        num_declared=max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None,
        duration_seconds=duration,
    )


def _lacks_pictures(path: Path, facts: _Facts, times: Sequence[float]) -> bool:
    """Tell whether a file holds fewer pictures than it declares, where it declares any."""
    container = container_of(path)
    if container == "gif":
        return not gif_ends(file_head(path, -1))
    if facts.num_declared is None:
        return False
    if (
        container == "matroska"
    ):  # its number is an estimate by its declared length; two pictures are for rounding
        return (
            times[-1] - times[0] + 2 / facts.frames_per_second < facts.num_declared / facts.frames_per_second
        )
    return container == "mp4" and len(times) < facts.num_declared


def _metadata(path: Path, facts: _Facts, num_frames: int, is_truncated: bool) -> VideoMetadata:
    return VideoMetadata(
        path=path,
        codec=facts.codec,
        pixel_format="unknown",
        width=facts.width,
        height=facts.height,
        rotation_degrees=facts.rotation_degrees,
        frames_per_second=facts.frames_per_second,
        num_frames=num_frames,
        num_frames_declared=facts.num_declared,
        duration_seconds=facts.duration_seconds,
        is_truncated=is_truncated,
    )


def _is_picture(path: Path) -> bool:
    return container_of(path) != "gif" and bool(cv2.haveImageReader(str(path)))


def _picture(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise VideoUnreadableError(path, "is a picture that does not decode", "fetch the file again")
    return image


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    words = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # ours take their place
    try:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(words)
    if not capture.isOpened():
        raise unopened(path, "is not a video OpenCV can open")
    try:
        yield capture
    finally:
        capture.release()
