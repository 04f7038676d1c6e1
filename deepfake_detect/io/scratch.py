"""Temporary folders; what killed processes left of theirs is removed."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepfake_detect.errors import OutputError
from deepfake_detect.io.files import file_lock, make_folder

_PREFIX = "deepfake_detect."
_YOUNG_SECONDS = 60  # a process may have made its folder and not locked it yet


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a temporary folder for the duration of a block.

    A process holds a lock in each folder of its own, which the system releases when it is killed. So the
    next process knows which ones to remove.

    Raises:
        OutputError: There is no room for it.

    Example:
        >>> with scratch_folder() as folder:
        ...     folder.is_dir()
        True
        >>> folder.exists()
        False
    """
    remove_abandoned(Path(tempfile.gettempdir()))
    try:
        name = tempfile.mkdtemp(prefix=_PREFIX)
    except OSError as error:
        raise OutputError(
            tempfile.gettempdir(), f"cannot be written ({error.strerror})", "set TMPDIR to another folder"
        ) from error
    try:
        with file_lock(Path(name), what="process"):
            yield make_folder(Path(name) / "files")
    finally:
        shutil.rmtree(name, ignore_errors=True)


@functools.cache
def remove_abandoned(temporary: Path) -> None:
    """Remove the scratch folders of this user's killed processes, once a process."""
    for folder in temporary.glob(f"{_PREFIX}*"):
        with suppress(OSError, OutputError):  # it is in use, or has just been removed
            about = folder.lstat()
            is_mine = not hasattr(os, "getuid") or about.st_uid == os.getuid()
            if is_mine and not folder.is_symlink() and time.time() - about.st_mtime > _YOUNG_SECONDS:
                with file_lock(folder, what="process"):
                    shutil.rmtree(folder, ignore_errors=True)
