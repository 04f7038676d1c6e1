"""Folders behind URLs: object stores, hubs, other machines; the only importer of fsspec.

What fsspec reaches is reached here: ``s3://``, ``gs://``, ``hf://``, ``file://`` and others, each by a
package of its own (s3fs, gcsfs, huggingface_hub). An object appears when it is whole, so that writing
is atomic as with local files.
"""

from __future__ import annotations

import errno
import functools
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detect.errors import OptionError, OutputError, VideoUnreadableError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.progress import progress_bar

_FILES_AT_ONCE = 256
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_url(place: str | os.PathLike[str]) -> bool:
    """Tell whether a place is a URL rather than a path.

    Example:
        >>> [is_url(place) for place in ("s3://bucket/faces", "/data/faces", Path("a"))]
        [True, False, False]
    """
    protocol, separator, _ = str(place).partition("://")
    return bool(separator) and protocol.isalnum()


@dataclass(frozen=True)
class RemoteDir:
    """A folder behind a URL; picklable, so that each worker opens it anew.

    Args:
        url: As fsspec takes it, such as ``s3://bucket/faces``.

    Raises:
        OptionError: fsspec, or the package for its protocol, is not installed; by the methods.
    """

    url: str

    def files(self) -> dict[str, int]:
        """Return all files below it: path relative to it -> size in bytes; none where it is not there.

        Raises:
            OptionError: It cannot be listed.
        """
        with _told(OptionError, self.url, "cannot be listed", "check the URL and your credentials"):
            system, root = _opened(self.url)
            system.invalidate_cache()
            found = system.find(root, detail=True)
        return {name[len(root) :].lstrip("/"): int(about["size"] or 0) for name, about in found.items()}

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file here, whole or not at all; or a folder, file by file.

        Raises:
            VideoUnreadableError: It cannot be read.
        """
        url = f"{self.url.rstrip('/')}/{name}"
        with _told(VideoUnreadableError, url, "cannot be fetched", "check that it is there"):
            system, root = _opened(self.url)
            path = f"{root}/{name}"
            files = system.find(path) if system.isdir(path) else [path]
        for file in files:
            with (
                atomic_path(target / file[len(path) + 1 :]) as temporary,
                _told(VideoUnreadableError, url, "cannot be fetched", "check that it is there"),
            ):
                system.get_file(file, str(temporary))

    def fetch_all(
        self, names: Sequence[str], folder: Path, *, note: str, at_once: int = _FILES_AT_ONCE
    ) -> None:
        """Copy files into a folder, several at a time, under their names.

        Args:
            names: Relative to it.
            folder: Where to.
            note: What they are, for the progress bar, which is drawn where there are more than go at once.
            at_once: Files copied at the same time; few where they are large.

        Raises:
            VideoUnreadableError: One cannot be read.
        """
        with progress_bar(enabled=len(names) > at_once) as progress:
            task = progress.add_task("fetching", total=len(names), note=note)
            for first in range(0, len(names), at_once):
                some = names[first : first + at_once]
                with _told(VideoUnreadableError, self.url, "cannot be fetched", "check that it is there"):
                    system, root = _opened(self.url)
                    targets = [folder / name for name in some]
                    for target in targets:
                        target.parent.mkdir(parents=True, exist_ok=True)
                    system.get([f"{root}/{name}" for name in some], [str(target) for target in targets])
                progress.advance(task, len(some))

    def put(self, source: Path, name: str) -> None:
        """Copy a file there.

        Raises:
            OutputError: It cannot be written.
        """
        with self._written(name) as (system, path):
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
            system.put_file(str(source), path)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            OutputError: It cannot be removed.
        """
        with self._written(name) as (system, path):
            if system.exists(path):
                system.rm_file(path)

    @contextmanager
    def _written(self, name: str) -> Iterator[tuple[Any, str]]:
        url = f"{self.url.rstrip('/')}/{name}"
        with _told(OutputError, url, "cannot be written", "check the URL and your credentials"):
            system, root = _opened(self.url)
            yield system, f"{root}/{name}"


@functools.cache
def _opened(url: str) -> tuple[Any, str]:
    """Return fsspec's file system and the folder's path in it."""
    if importlib.util.find_spec("fsspec") is None:
        raise OptionError(url, "fsspec is not installed", "run: pip install 'deepfake_detect[remote]'")
    from fsspec.core import url_to_fs

    try:
        system, root = url_to_fs(url)
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise OptionError(url, f"its protocol needs another package ({reason})", "install that") from error
    except ValueError as error:
        raise OptionError(url, f"is no URL that fsspec knows ({error})", "pass s3://..., gs://...") from error
    return system, str(root).rstrip("/")


@contextmanager
def _told(
    kind: type[OptionError] | type[OutputError] | type[VideoUnreadableError],
    url: str,
    cause: str,
    remedy: str,
) -> Iterator[None]:
    try:
        yield
    except (OptionError, OutputError):
        raise
    except Exception as error:  # each protocol's package has errors of its own, by no common name
        if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
            raise  # here, and not there
        lines = str(error).splitlines() or [""]
        raise kind(url, f"{cause} ({type(error).__name__}: {lines[0]})", remedy) from error
