"""Local files: atomic writing, locks, hashing, and the cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from deepfake_detect.errors import DeepfakeDetectError, OutputError

_log = logging.getLogger(__name__)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path next to ``path`` that is renamed to it when the block succeeds.

    The temporary name keeps the suffix, by which some libraries choose the format. When the block
    raises, the temporary file is removed and ``path`` is unchanged.

    Args:
        path: Path of the finished file; its folder is created if missing.

    Yields:
        The path to write to.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = Path(path)
    if str(path) == "" or target.is_dir():
        raise OutputError(path or "output", "is not a file name", "choose a file to write")
    if target.exists() and not target.is_file():
        raise OutputError(path, "is a device, which a file would replace", "choose a file to write")
    make_folder(target.parent)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem[:40]}.", suffix=target.suffix, dir=target.parent
        )
    except OSError as error:
        raise _cannot_write(target, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a result is as readable as any other file of its user.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
        _log.debug("wrote %s", target)
    except OSError as error:
        if isinstance(error, DeepfakeDetectError):
            raise
        raise _cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Return the folder of downloads: ``$DEEPFAKE_DETECT_CACHE``, else the user's cache folder.

    Raises:
        OutputError: The user has no home folder.
    """
    chosen = os.environ.get("DEEPFAKE_DETECT_CACHE")
    if chosen:
        return Path(chosen)
    try:
        folder = platformdirs.user_cache_path("deepfake_detect", appauthor=False)
    except RuntimeError:  # older releases return a path that starts with "~"
        folder = Path("~")
    if not folder.is_absolute():
        cause = "is unknown because this user has no home folder"
        raise OutputError("cache", cause, "set DEEPFAKE_DETECT_CACHE to a writable folder")
    return folder


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and its missing parents.

    Raises:
        OutputError: A file is in the way, or the folder is not writable.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    if not os.access(folder, os.W_OK):
        raise OutputError(folder, "is not writable by this user", "choose another folder")
    return folder


@contextmanager
def file_lock(folder: Path, *, what: str) -> Iterator[None]:
    """Lock a folder for the duration of a block.

    Args:
        folder: An existing folder.
        what: Name of the activity, for the error.

    Raises:
        OutputError: Another process has locked it.
    """
    from filelock import FileLock, Timeout  # here, since scoring does not need it

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            folder, f"another {what} is writing there", "wait for it, or choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(path, f"cannot be written ({error.strerror or error})", "choose another path")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity are a ValueError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        # A file name may hold bytes that are not text: they are written as escapes.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file that this library wrote.

    Raises:
        OutputError: It is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(path, f"is damaged ({error})", "delete it, or choose another folder") from error


def sha256_of_file(path: str | os.PathLike[str], *, start: int = 0) -> str:
    """Return the SHA-256 of a file's bytes, from ``start`` on, in lower-case hexadecimal (64 characters)."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
