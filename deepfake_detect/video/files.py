"""Checks of a media file that need no decoding, and the errors they raise."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfake_detect.errors import (
    OptionError,
    VideoError,
    VideoNotFoundError,
    VideoTruncatedError,
    VideoUnreadableError,
)
from deepfake_detect.io.media import container_kind

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv"})
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
_KIND_BYTES = 12  # name every container but a transport stream
_REMEDY = "download the file again, or use its intact part by `allow_truncated`"


def checked_path(option: str, path: str | os.PathLike[str]) -> Path:
    """Return a path given as text or path.

    Args:
        option: Name of the parameter, for the message.
        path: The value.

    Raises:
        OptionError: It is neither text nor a path.
    """
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(name, str):
        raise OptionError(option, f"is of type {type(path).__name__}", "pass a path as str or pathlib.Path")
    return Path(name)


def check_file(path: Path) -> None:
    """Raise a specific error for faults that FFmpeg reports in one vague message.

    Raises:
        VideoNotFoundError, VideoUnreadableError: There is no readable regular file with data.
    """
    with _as_video_errors(path):
        mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise VideoUnreadableError(path, "is a folder", "pass one of the video files in it")
    if not stat.S_ISREG(mode):
        # A pipe would block until something is written to it, and cannot be read twice.
        raise VideoUnreadableError(path, "is not a regular file", "save the video to a file first")
    if not file_head(path, 1):
        raise VideoUnreadableError(path, "is empty (0 bytes)", "download the file again")


@contextmanager
def _as_video_errors(path: Path) -> Iterator[None]:
    """Convert errors of the operating system to the library's errors."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _file_error(path, error) from error


def _file_error(path: Path, error: OSError | ValueError) -> VideoError:
    # ValueError: a name that is never valid, such as one with a null character.
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
        return VideoNotFoundError(path, "there is no such file", "check the path")
    if isinstance(error, PermissionError):
        return VideoUnreadableError(path, "cannot be read by this user", "grant permission to read it")
    return VideoUnreadableError(
        path, f"cannot be read ({error.strerror})", "check its name and the disk it is on"
    )


def file_head(path: Path, num_bytes: int) -> bytes:
    """Return the first bytes of a file; -1 for all of them."""
    with _as_video_errors(path), open(path, "rb") as file:
        return file.read(num_bytes)


def container_of(path: Path) -> str | None:
    """Return the container that a file begins as, see ``io.media.MediaKind``; ``None`` if unknown."""
    kind = container_kind(file_head(path, _KIND_BYTES))
    return None if kind is None else kind.container


def unopened_error(path: Path, reason: str) -> VideoUnreadableError:
    """Return the error for a file that the decoder cannot open.

    Args:
        path: The file.
        reason: Cause to give unless the first bytes of the file show a better one.
    """
    if container_of(path) == "mp4":
        return VideoUnreadableError(
            path,
            "is an MP4 or MOV file without a usable index (it was cut off or is still being written)",
            "download the file again",
        )
    return VideoUnreadableError(path, reason, "pass a video or image file")


def damaged_error(path: Path, damage: str) -> VideoTruncatedError:
    """Return the error for a damaged file, or one with fewer frames than it declares."""
    return VideoTruncatedError(path, damage, _REMEDY)


def missing_part(num_frames: int, num_declared: int | None, duration_seconds: float) -> str:
    """Return what a file lacks, for people."""
    if num_declared is None or num_frames >= num_declared:
        return f"the file ends too early ({num_frames} frames, {duration_seconds:.2f} s are in it)"
    return f"{num_frames} of {num_declared} declared frames are in the file"


def has_gif_end(data: bytes) -> bool:
    """Return whether a GIF has its end mark after its last block; pixels may contain the same byte."""

    def after_colors(flags: int, position: int) -> int:
        return position + (3 << (flags % 8 + 1) if flags & 0x80 else 0)

    try:
        position = after_colors(data[10], 13)
        while data[position] != 0x3B:
            if data[position] == 0x2C:  # an image: position, size and flags, colors, then its code size
                position = after_colors(data[position + 9], position + 10) + 1
            else:  # an extension
                position += 2
            while data[position]:  # each block starts with its length; the last one has length 0
                position += data[position] + 1
            position += 1
    except IndexError:
        return False
    return True


def jpeg_end(data: bytes) -> int | None:
    """Return where a JPEG ends, after the mark behind its pixels; a thumbnail before them has its own."""
    position = 2
    # Segments start with their length, up to the one (0xDA) before the pixels, which contain no marks.
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        is_fill = data[position + 1 : position + 2] == b"\xff"
        position += 1 if is_fill else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    end = data.find(b"\xff\xd9", position)
    return None if end < 0 else end + 2
