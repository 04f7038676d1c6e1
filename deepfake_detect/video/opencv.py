"""Frames and metadata by OpenCV, if PyAV is not installed.

Pixels, indices and times are the same. OpenCV gives access neither to packets nor to faults, with these
consequences: a clip is decoded twice, to count its frames; damage in the middle is concealed if FFmpeg
can, without an error; truncation is detected only in MP4, MOV and Matroska files and in GIF and JPEG
images; an MP4 with frames hidden by its edit list looks truncated; codecs have four-letter names.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.records import Frame, VideoMetadata
from deepfake_detect.video.files import (
    check_file,
    checked_path,
    container_of,
    damaged_error,
    file_head,
    has_gif_end,
    has_jpeg_end,
    truncated_error,
    unopened_error,
)
from deepfake_detect.video.sampling import AllFrames, Sampling, sampled_indices

_ALL_FRAMES = AllFrames()
# FFmpeg's own messages must not appear on standard error next to ours; -8 is its AV_LOG_QUIET.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True, eq=False)
class _Clip:
    """A clip's metadata, and the time of each frame in seconds from the first."""

    metadata: VideoMetadata
    times_seconds: tuple[float, ...]


def read_metadata(path: str | os.PathLike[str]) -> VideoMetadata:
    """Read a video file's metadata and count its frames, as :func:`metadata.read_metadata` does.

    Raises:
        VideoNotFoundError, VideoUnreadableError, OptionError: See there.

    Example:
        >>> read_metadata("examples/demo.mp4").num_frames > 100
        True
    """
    return _scanned(path).metadata


def read_frames(
    path: str | os.PathLike[str], *, sampling: Sampling = _ALL_FRAMES, allow_truncated: bool = False
) -> Generator[Frame, None, None]:
    """Yield the sampled frames of a clip, as :func:`decode.read_frames` does.

    Raises:
        VideoNotFoundError, VideoUnreadableError, VideoTruncatedError, OptionError: See there.

    Example:
        >>> next(read_frames("examples/demo.mp4")).frame_index
        0
    """
    clip = _scanned(path)
    if clip.metadata.is_truncated and not allow_truncated:
        raise truncated_error(clip.metadata)
    wanted = sampled_indices(sampling, clip.metadata, clip.times_seconds)
    return _read_wanted(clip, wanted)


def _read_wanted(clip: _Clip, wanted: Sequence[int]) -> Generator[Frame, None, None]:
    path, remaining = clip.metadata.path, deque(wanted)
    if remaining and _is_image(path):
        yield Frame(_rgb(_read_image(path)), 0, 0.0)
        return
    with _opened(path) as capture:
        index = 0
        while remaining:
            if not capture.grab():
                raise damaged_error(clip.metadata, remaining[0])
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
    """Decode a file and count its frames; size and time are the cache's key for a file that changes."""
    if _is_image(path):
        height, width = _read_image(path).shape[:2]
        is_cut = container_of(path) == "jpeg" and not has_jpeg_end(file_head(path, -1))
        declared = _Declared("picture", width, height, 0, 0.0, None, 0.0)
        return _Clip(_metadata(path, declared, 1, is_cut), (0.0,))
    with _opened(path) as capture:
        times: list[float] = []
        image = None
        while capture.grab():
            if not times:
                image = capture.retrieve()[1]
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        declared = _read_declared(capture, image, times)
    if image is None:
        raise VideoUnreadableError(path, "no frame of its video decodes", "download the file again")
    is_cut = _lacks_frames(path, declared, times)
    return _Clip(_metadata(path, declared, len(times), is_cut), tuple(time - times[0] for time in times))


@dataclass(frozen=True)
class _Declared:
    """Declarations of a file; OpenCV estimates ``num_declared`` if the file has no count."""

    codec: str
    width: int
    height: int
    rotation_degrees: int
    frames_per_second: float
    num_declared: int | None
    duration_seconds: float


def _read_declared(capture: cv2.VideoCapture, image: np.ndarray | None, times: Sequence[float]) -> _Declared:
    height, width = (0, 0) if image is None else image.shape[:2]
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    letters = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    span = times[-1] - times[0] if times else 0.0
    duration = span + (1 / rate if rate > 0 else 0.0)
    if duration > 0 and abs(rate * duration - len(times)) > 1:
        rate = len(times) / duration
    return _Declared(
        codec=letters.decode("ascii", "replace").strip("\0 ").lower(),
        width=width,
        height=height,
        rotation_degrees=-round(capture.get(cv2.CAP_PROP_ORIENTATION_META) / 90) % 4 * 90,
        frames_per_second=rate,
        num_declared=max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None,
        duration_seconds=duration,
    )


def _lacks_frames(path: Path, declared: _Declared, times: Sequence[float]) -> bool:
    """Return whether a file holds fewer frames than it declares, if it declares any."""
    container = container_of(path)
    if container == "gif":
        return not has_gif_end(file_head(path, -1))
    if declared.num_declared is None:
        return False
    if container == "matroska":
        # The number is an estimate from the declared length; two frames allow for rounding.
        rate = declared.frames_per_second
        return times[-1] - times[0] + 2 / rate < declared.num_declared / rate
    return container == "mp4" and len(times) < declared.num_declared


def _metadata(path: Path, declared: _Declared, num_frames: int, is_truncated: bool) -> VideoMetadata:
    return VideoMetadata(
        path=path,
        codec=declared.codec,
        pixel_format="unknown",
        width=declared.width,
        height=declared.height,
        rotation_degrees=declared.rotation_degrees,
        frames_per_second=declared.frames_per_second,
        num_frames=num_frames,
        num_frames_declared=declared.num_declared,
        duration_seconds=declared.duration_seconds,
        is_truncated=is_truncated,
    )


def _is_image(path: Path) -> bool:
    return container_of(path) != "gif" and bool(cv2.haveImageReader(str(path)))


def _read_image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise VideoUnreadableError(path, "is an image that does not decode", "download the file again")
    return image


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our errors replace them
    try:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        raise unopened_error(path, "is not a video OpenCV can open")
    try:
        yield capture
    finally:
        capture.release()
