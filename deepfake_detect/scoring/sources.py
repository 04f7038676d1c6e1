"""Sources -> clips: files, folders, URLs, standard input."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deepfake_detect.errors import DeepfakeDetectError, OptionError

STANDARD_INPUT = "-"
# Formats of cameras, phones, recorders and the web, in addition to those of datasets.
_MORE_SUFFIXES = frozenset({".ts", ".mts", ".m2ts", ".3gp", ".ogv", ".gif"})
_WEB, _STORES = ("http", "https"), ("s3", "gs", "gcs", "hf", "abfs", "az")
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


@dataclass(frozen=True)
class ClipSource:
    """One clip to score.

    Attributes:
        name: What results call it: the path or URL as it was given or found, or ``"-"``.
        path: The file; ``None`` for a URL, whose clip is downloaded when its turn comes.
        error: Why there is no clip, known before its turn; ``None`` for a clip.
    """

    name: str
    path: str | None
    error: DeepfakeDetectError | None = None

    @property
    def is_url(self) -> bool:
        """Whether the clip has to be downloaded."""
        return self.path is None

    @property
    def stem(self) -> str:
        """The name that files about the clip begin with.

        Example:
            >>> ClipSource("https://example.org/a/b.mp4?t=1", None).stem
            'b'
        """
        if self.name == STANDARD_INPUT:
            return "standard_input"
        if not self.is_url:
            return Path(self.name).stem
        parts = urlsplit(self.name)
        return Path(parts.path).stem or parts.netloc.replace(":", "_")


def find_clips(
    names: Sequence[str], *, scratch: Path, allow_url: bool = False, leave_out: Path | None = None
) -> list[ClipSource]:
    """Return the clips of the sources, each file once.

    A folder stands for the videos and images in it and below, recognized by their suffixes and
    sorted by path. Hidden files and folders are skipped, and so are links that lead out of the
    folder. A folder without any clip is returned as a clip, which then fails with a clear error.

    Args:
        names: Files, folders, URLs (http, https; files and folders of object stores: s3, gs, hf,
            abfs) and ``"-"``, which is read to its end here.
        scratch: Existing folder for the content of standard input.
        allow_url: Whether clips may be downloaded.
        leave_out: Folder whose files are skipped when a folder around it is searched (results).

    Raises:
        OptionError: There is a URL though ``allow_url`` is false, or one that cannot be downloaded;
            or standard input is a terminal, or named twice.

    Example:
        >>> [clip.name for clip in find_clips(["examples", "examples/demo.mp4"], scratch=Path("."))]
        ['examples/demo.mp4']
    """
    clips: list[ClipSource] = []
    seen = set[str]()
    for name in names:
        for clip in _clips_of(name, scratch, allow_url, leave_out):
            identity = clip.name if clip.path is None else os.path.realpath(clip.path)
            if identity not in seen:
                seen.add(identity)
                clips.append(clip)
    return clips


def _clips_of(name: str, scratch: Path, allow_url: bool, leave_out: Path | None) -> Iterator[ClipSource]:
    url = _URL.match(name)
    if name == STANDARD_INPUT:
        yield _from_standard_input(scratch)
    elif url is not None:
        scheme = url[1].lower()
        _check_url(name, scheme, is_allowed=allow_url)
        yield from _in_store(name) if scheme in _STORES else [ClipSource(name, None)]
    elif os.path.isdir(name):
        yield from [ClipSource(path, path) for path in _files_below(name, leave_out)] or [
            ClipSource(name, name)
        ]
    else:
        yield ClipSource(name, name)


def _check_url(name: str, scheme: str, *, is_allowed: bool) -> None:
    if scheme not in _WEB + _STORES:
        raise OptionError(
            name,
            f"{scheme} URLs are not supported for clips",
            f"pass {', '.join(_WEB + _STORES)}; streams are for watch()",
        )
    if not is_allowed:
        raise OptionError(
            name, "is a URL, and nothing is downloaded unless you allow it", "set `allow_url` to download it"
        )


def _in_store(url: str) -> list[ClipSource]:
    """Return the clips in a folder of an object store, or the one clip that is named."""
    from deepfake_detect.io.fetch import RemoteDir

    if os.path.splitext(url)[1].lower() in _media_suffixes():
        return [ClipSource(url, None)]
    try:
        names = sorted(RemoteDir(url).files())
    except DeepfakeDetectError as error:  # the other sources are scored
        return [ClipSource(url, None, error)]
    found = [name for name in names if os.path.splitext(name)[1].lower() in _media_suffixes()]
    if not found:
        return [
            ClipSource(url, None, OptionError(url, "contains no clip, or does not exist", "check the URL"))
        ]
    return [ClipSource(f"{url.rstrip('/')}/{name}", None) for name in found]


def _media_suffixes() -> frozenset[str]:
    # Imported here: the readers of datasets take a tenth of a second that a single clip does not need.
    from deepfake_detect.video.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    return frozenset(VIDEO_SUFFIXES | IMAGE_SUFFIXES | _MORE_SUFFIXES)


def _from_standard_input(scratch: Path) -> ClipSource:
    """Copy standard input to a file, in pieces; its format is recognized by its content."""
    path = scratch / "standard_input"
    if path.exists():
        raise OptionError(STANDARD_INPUT, "standard input is given twice", "pass it once")
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
