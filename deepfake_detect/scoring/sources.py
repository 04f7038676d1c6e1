"""What a user names -> the clips that are meant: files, folders, addresses, standard input."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deepfake_detect.errors import OptionError

STANDARD_INPUT = "-"
# Beside those that datasets come in: what cameras, phones, recorders and the web write.
_MORE_SUFFIXES = frozenset({".ts", ".mts", ".m2ts", ".3gp", ".ogv", ".gif"})
_WEB, _STORES = ("http", "https"), ("s3", "gs", "gcs", "hf", "abfs", "az")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


@dataclass(frozen=True)
class ClipSource:
    """One clip to be judged.

    Attributes:
        name: What results call it: the path or address as it was given, or ``"-"``.
        path: The file; ``None`` for an address, whose clip is fetched when its turn comes.
    """

    name: str
    path: str | None

    @property
    def is_address(self) -> bool:
        return self.path is None

    @property
    def stem(self) -> str:
        """What files about the clip are named after.

        Example:
            >>> ClipSource("https://example.org/a/b.mp4?t=1", None).stem
            'b'
        """
        if self.name == STANDARD_INPUT:
            return "standard_input"
        if not self.is_address:
            return Path(self.name).stem
        parts = urlsplit(self.name)
        return Path(parts.path).stem or parts.netloc.replace(":", "_")


def find_clips(
    names: Sequence[str], *, scratch: Path, allow_addresses: bool = False, leave_out: Path | None = None
) -> list[ClipSource]:
    """Return the clips that names stand for, each file once.

    A folder stands for the videos and pictures in it and below, told by their suffixes and sorted
    by path. Hidden files and folders are left out, and so are links that lead out of the folder. A
    folder without any is kept as it is, so that judging it tells what is wrong.

    Args:
        names: Files, folders, addresses (http, https; files and folders of object stores: s3, gs, hf,
            abfs) and ``"-"``, which is read to its end here.
        scratch: Existing folder for what standard input holds.
        allow_addresses: Whether addresses may be fetched.
        leave_out: Folder whose files do not count as found in a folder around it (results).

    Raises:
        OptionError: An address came though they are not allowed, or one that cannot be fetched;
            or standard input is a terminal, or named twice.

    Example:
        >>> [clip.name for clip in find_clips(["examples", "examples/demo.mp4"], scratch=Path("."))]
        ['examples/demo.mp4']
    """
    clips: list[ClipSource] = []
    seen = set[str]()
    for name in names:
        for clip in _clips_of(name, scratch, allow_addresses, leave_out):
            identity = clip.name if clip.path is None else os.path.realpath(clip.path)
            if identity not in seen:
                seen.add(identity)
                clips.append(clip)
    return clips


def _clips_of(
    name: str, scratch: Path, allow_addresses: bool, leave_out: Path | None
) -> Iterator[ClipSource]:
    address = _ADDRESS.match(name)
    if name == STANDARD_INPUT:
        yield _from_standard_input(scratch)
    elif address is not None:
        scheme = address[1].lower()
        _check_address(name, scheme, is_allowed=allow_addresses)
        yield from _in_store(name) if scheme in _STORES else [ClipSource(name, None)]
    elif os.path.isdir(name):
        yield from [ClipSource(path, path) for path in _files_below(name, leave_out)] or [
            ClipSource(name, name)
        ]
    else:
        yield ClipSource(name, name)


def _check_address(name: str, scheme: str, *, is_allowed: bool) -> None:
    if scheme not in _WEB + _STORES:
        raise OptionError(
            name,
            f"{scheme} addresses are not fetched",
            f"pass {', '.join(_WEB + _STORES)}; a stream goes to --live",
        )
    if not is_allowed:
        raise OptionError(
            name, "is an address, and nothing is fetched unless you say so", "pass --allow-url to fetch it"
        )


def _in_store(address: str) -> list[ClipSource]:
    """Return the clips of a folder of an object store, or the one that is named itself."""
    from deepfake_detect.io.fetch import RemoteDir

    if os.path.splitext(address)[1].lower() in _media_suffixes():
        return [ClipSource(address, None)]
    names = sorted(RemoteDir(address).files())
    found = [name for name in names if os.path.splitext(name)[1].lower() in _media_suffixes()]
    if not found:
        raise OptionError(address, "holds no clip, or is not there", "check the address")
    return [ClipSource(f"{address.rstrip('/')}/{name}", None) for name in found]


def _media_suffixes() -> frozenset[str]:
    # Imported here: the readers of datasets take a tenth of a second, which a single clip can spare.
    from deepfake_detect.data.layouts.base import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    return frozenset(VIDEO_SUFFIXES | IMAGE_SUFFIXES | _MORE_SUFFIXES)


def _from_standard_input(scratch: Path) -> ClipSource:
    """Copy standard input to a file, a piece at a time; what it holds is told by its content."""
    path = scratch / "standard_input"
    if path.exists():
        raise OptionError(STANDARD_INPUT, "standard input is named twice", "name it once")
    if sys.stdin.isatty():
        raise OptionError(STANDARD_INPUT, "standard input is a terminal", "pipe a file into it: ... < FILE")
    with open(path, "xb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    return ClipSource(STANDARD_INPUT, str(path))


def _files_below(folder: str, leave_out: Path | None) -> list[str]:
    suffixes = _media_suffixes()
    root = os.path.realpath(folder)
    skipped = None if leave_out is None else os.path.realpath(leave_out)
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(parent, name)) != skipped
        ]
        for name in files:
            path = os.path.join(parent, name)
            is_media = os.path.splitext(name)[1].lower() in suffixes and not name.startswith(".")
            if is_media and _is_inside(path, root):
                found.append(path)
    return sorted(found)


def _is_inside(path: str, root: str) -> bool:
    return not os.path.islink(path) or os.path.realpath(path).startswith(os.path.join(root, ""))
