"""What can be told of a file before, and without, decoding it."""

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
from deepfake_detect.records import VideoMetadata

_KIND_BYTES = 12  # name every container but a transport stream
_REMEDY = (
    "fetch the file again, or pass allow_truncated=True (--allow-truncated) to use the part that is there"
)


def checked_path(option: str, path: str | os.PathLike[str]) -> Path:
    """Return the path that was given.

    Raises:
        OptionError: It is neither text nor a path.
    """
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(name, str):
        raise OptionError(option, f"is of type {type(path).__name__}", "pass a path as str or pathlib.Path")
    return Path(name)


def check_file(path: Path) -> None:
    """Give the faults that FFmpeg would report in one vague message their own words.

    Raises:
        VideoNotFoundError, VideoUnreadableError: There is no regular file that may be read and holds data.
    """
    with _own_words(path):
        mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise VideoUnreadableError(path, "is a folder", "pass one of the video files in it")
    if not stat.S_ISREG(mode):
        # A pipe would block until somebody writes to it, and it cannot be read twice.
        raise VideoUnreadableError(path, "is not a regular file", "save the video to a file first")
    if not file_head(path, 1):
        raise VideoUnreadableError(path, "is empty (0 bytes)", "fetch the file again")


@contextmanager
def _own_words(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a file into the library's errors."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _file_error(path, error) from error


def _file_error(path: Path, error: OSError | ValueError) -> VideoError:
    # ValueError: a name that no file can have, such as one with a null character.
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
        return VideoNotFoundError(path, "there is no such file", "check the path")
    if isinstance(error, PermissionError):
        return VideoUnreadableError(
            path, "may not be read by this user", "give yourself permission to read it"
        )
    return VideoUnreadableError(
        path, f"cannot be read ({error.strerror})", "check its name and the disk it is on"
    )


def file_head(path: Path, num_bytes: int) -> bytes:
    """Return the first bytes of a file; -1 for all of them."""
    with _own_words(path), open(path, "rb") as file:
        return file.read(num_bytes)


def container_of(path: Path) -> str | None:
    """Return the container that a file begins as, see ``io.media.MediaKind``; ``None`` if unknown."""
    kind = container_kind(file_head(path, _KIND_BYTES))
    return None if kind is None else kind.container


def unopened(path: Path, reason: str) -> VideoUnreadableError:
    """Return the error for a file that FFmpeg does not open.

    Args:
        path: The file.
        reason: What to say where the file's head does not tell more.
    """
    if container_of(path) == "mp4":
        return VideoUnreadableError(
            path,
            "is an MP4 or MOV file without a usable index (it was cut off or is still being written)",
            "fetch the file again",
        )
    return VideoUnreadableError(path, reason, "pass a video or picture file")


def truncated(metadata: VideoMetadata) -> VideoTruncatedError:
    """Return the error for a clip that holds fewer pictures than it declares."""
    return VideoTruncatedError(metadata.path, _what_is_missing(metadata), _REMEDY)


def _what_is_missing(metadata: VideoMetadata) -> str:
    declared = metadata.num_frames_declared
    if declared is None or metadata.num_frames >= declared:
        return (
            f"the file ends too early ({metadata.num_frames} frames, "
            f"{metadata.duration_seconds:.2f} s are in it)"
        )
    return f"{metadata.num_frames} of {declared} declared frames are in the file"


def damaged(metadata: VideoMetadata, index: int) -> VideoTruncatedError:
    """Return the error for a clip in which a picture does not come.

    Args:
        metadata: Of the clip.
        index: Of the next frame that is wanted.
    """
    return VideoTruncatedError(
        metadata.path,
        f"is damaged: not all of its {metadata.num_frames} frames decode (seen on the way to frame {index})",
        _REMEDY,
    )


def gif_ends(data: bytes) -> bool:
    """Walk through a GIF's blocks to its end mark; pixels may hold the mark's value by chance."""

    def behind_colors(flags: int, position: int) -> int:
        return position + (3 << (flags % 8 + 1) if flags & 0x80 else 0)

    try:
        position = behind_colors(data[10], 13)
        while data[position] != 0x3B:
            if data[position] == 0x2C:  # a picture: place, size and flags, colors, then its code size
                position = behind_colors(data[position + 9], position + 10) + 1
            else:  # an extension
                position += 2
            while data[position]:  # each block says its length; one of 0 is the last
                position += data[position] + 1
            position += 1
    except IndexError:
        return False
    return True


def jpeg_ends(data: bytes) -> bool:
    """Tell whether the end mark follows a JPEG's pixels; a thumbnail before them has its own."""
    position = 2
    # Segments say their length, up to the one (0xDA) in front of the pixels. Those hold no marks.
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        is_fill = data[position + 1 : position + 2] == b"\xff"
        position += 1 if is_fill else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data.find(b"\xff\xd9", position) >= 0
