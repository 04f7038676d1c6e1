"""Files and folders behind URLs: the only importer of fsspec, and the only downloader.

``http(s)://`` needs no other package: fsspec would need aiohttp, and does not resume. Everything else
(``s3://``, ``gs://``, ``hf://``, ``file://``, ...) is read by fsspec, each protocol by a package of its
own (s3fs, gcsfs, huggingface_hub). An object of a store appears when it is whole, so writing is atomic
as with local files.

With ``DEEPFAKE_DETECT_OFFLINE=1`` only files that are already in the cache are used.
"""

from __future__ import annotations

import errno
import functools
import importlib.util
import io
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from deepfake_detect.errors import DeepfakeDetectError, FetchError, OptionError, OutputError
from deepfake_detect.extras import missing_library
from deepfake_detect.io.drive import asks_to_confirm, confirmed_address
from deepfake_detect.io.files import cache_folder, make_folder, sha256_of_file
from deepfake_detect.progress import progress_bar

if TYPE_CHECKING:
    import http.client

    from fsspec import AbstractFileSystem

_log = logging.getLogger(__name__)

_HUB = "https://huggingface.co"
OFFLINE = "DEEPFAKE_DETECT_OFFLINE"
"""Environment variable: only files in the cache are used."""
_LOCAL_PROTOCOLS = ("file", "local", "memory")
_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30
_FILES_AT_ONCE = 256
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOTHING_LEFT = 416
MAX_BYTES = 2**33  # of files whose size nothing else bounds
# A download that gets less than this many bytes in so many seconds is given up.
MIN_BYTES, SLOW_SECONDS = 500_000, 60.0
OnBytes = Callable[[int, int | None], None]
"""Called with the bytes present and, where known, the total."""


def is_url(text: str | os.PathLike[str]) -> bool:
    """Return whether text is a URL rather than a path.

    Example:
        >>> [is_url(text) for text in ("s3://bucket/faces", "/data/faces", Path("a"))]
        [True, False, False]
    """
    protocol, separator, _ = str(text).partition("://")
    return bool(separator) and protocol.isalnum()


def path_or_url(text: str | os.PathLike[str]) -> Path | str:
    """Return a path as ``Path`` and a URL unchanged: a ``Path`` would drop one of its slashes."""
    return str(text) if is_url(text) else Path(text)


def hub_address(url: str) -> str:
    """Return an address of the Hugging Face Hub at ``$HF_ENDPOINT``, where that is set; others unchanged.

    Example:
        >>> hub_address("https://example.org/a.bin")
        'https://example.org/a.bin'
    """
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB
    return f"{endpoint}{url.removeprefix(_HUB)}" if url.startswith(f"{_HUB}/") else url


def fetch_file(
    url: str,
    *,
    folder: Path | None = None,
    name: str | None = None,
    sha256: str | None = None,
    max_bytes: int = MAX_BYTES,
    show_progress: bool = True,
) -> Path:
    """Download a file once; later calls return the cached copy without network access.

    An interrupted download resumes. The file gets its name only when it has the announced length and
    the right hash. Several processes may call this at once: one downloads.

    Args:
        url: Any URL.
        folder: Where to keep the file; :func:`cache_folder` when ``None``.
        name: Of the file there; the end of the URL when ``None``.
        sha256: Its SHA-256 or the first digits of it, in hexadecimal.
        max_bytes: Largest size allowed.
        show_progress: Whether to show a progress bar.

    Returns:
        Path of the local file.

    Raises:
        FetchError: The file cannot be downloaded, is too large, or has another hash.
        OptionError: The URL's protocol needs a package that is not installed.
    """
    from filelock import FileLock

    name = name or url.rsplit("/", 1)[-1]
    target = (folder or cache_folder()) / name
    if not target.is_file():
        make_folder(target.parent)
        with FileLock(target.with_name(f".{name}.lock")), progress_bar(enabled=show_progress) as progress:
            if not target.is_file():
                _log.info("downloading %s to %s", url, target)
                task = progress.add_task(name, total=None, note="bytes")

                def on_bytes(done: int, total: int | None) -> None:
                    progress.update(task, completed=done, total=total)

                download(url, target, sha256=sha256, max_bytes=max_bytes, on_bytes=on_bytes)
                return target
    _check_sha256(target, sha256)
    _log.debug("%s is in the cache: %s", url, target)
    return target


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    max_bytes: int = MAX_BYTES,
    on_bytes: OnBytes = lambda done, total: None,
) -> None:
    """Download a file to a path, resuming from ``NAME.part`` next to it if that exists.

    ``on_bytes`` is called with the bytes present and, where known, the total.

    Raises:
        FetchError: The file cannot be downloaded, is too large, comes too slowly, or has another hash.
        OptionError: The URL's protocol needs a package that is not installed.
    """
    make_folder(target.parent)
    part = target.with_name(target.name + ".part")

    def append_missing(report: OnBytes) -> None:
        done = part.stat().st_size if part.exists() else 0
        with _opened_at(url, done) as (stream, start, total):
            _check_size(url, total, max_bytes)
            with open(part, "ab" if start else "wb") as file:
                size = start
                # A whole block of a slow connection may take hours: what is there is read.
                while block := getattr(stream, "read1", stream.read)(_BLOCK_BYTES):
                    size += len(block)
                    report(size, total)
                    file.write(block)
            if total is not None and size < total:
                raise OSError(f"the connection closed after {size} of {total} bytes")

    with _remote_errors(FetchError, url, "cannot be fetched", "check that it exists, or try again to resume"):
        watch_download(url, append_missing, max_bytes=max_bytes, on_bytes=on_bytes)
    try:
        _check_sha256(part, sha256)
    except FetchError:
        part.unlink()
        raise
    os.replace(part, target)


def watch_download(
    url: str, work: Callable[[OnBytes], None], *, max_bytes: int, on_bytes: OnBytes = lambda done, total: None
) -> None:
    """Run a download in a thread, and give it up when it is too large or too slow.

    A connection that sends a byte now and then never ends by a timeout. The thread then ends at its next
    report, or with this process.

    Args:
        url: What is downloaded, for errors.
        work: Called with a function that it must call with the bytes present and the total, if known,
            before it writes them.
        max_bytes: Largest size allowed.
        on_bytes: Called in this thread with the same numbers.

    Raises:
        FetchError: It is too large, or too slow.
        Exception: Whatever ``work`` raised.
    """
    messages: queue.SimpleQueue[tuple[int, int | None] | BaseException | None] = queue.SimpleQueue()
    is_given_up = threading.Event()

    def report(done: int, total: int | None) -> None:
        if is_given_up.is_set():
            raise OSError("given up")
        _check_size(url, max(done, total or 0), max_bytes)
        messages.put((done, total))

    def run() -> None:
        try:
            work(report)
            messages.put(None)
        except BaseException as error:  # of any kind: it is raised in the other thread
            messages.put(error)

    threading.Thread(target=run, daemon=True, name="download").start()
    counted, deadline = 0, time.monotonic() + SLOW_SECONDS
    try:
        while True:
            try:
                message = messages.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                cause = f"sent less than {MIN_BYTES:,} bytes in {SLOW_SECONDS:g} seconds"
                raise FetchError(url, cause, "try again, or download it with another program") from None
            if not isinstance(message, tuple):
                break
            if message[0] - counted >= MIN_BYTES:
                counted, deadline = message[0], time.monotonic() + SLOW_SECONDS
            on_bytes(*message)
    finally:
        is_given_up.set()
    try:
        if message is not None:
            raise message
    finally:
        del message  # an error that its own traceback refers to would keep the connection open


@contextmanager
def _opened_at(url: str, start: int) -> Iterator[tuple[IO[bytes], int, int | None]]:
    """Open a file behind a URL; give the stream, the byte it starts at, and the file's size if known."""
    if not url.lower().startswith(("http://", "https://")):
        system, path = _opened(url)
        with system.open(path, "rb") as stream:
            size = int(stream.size)
            start = start if start <= size else 0
            stream.seek(start)
            yield stream, start, size
        return
    import urllib.error  # here: the command line checks URLs without loading it

    _check_online(url)
    try:
        response = _answer(url, start)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        if error.code != _NOTHING_LEFT or not start:
            raise
        yield io.BytesIO(), start, start  # the part is whole
        return
    with response:
        start = start if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        yield response, start, None if length is None else start + int(length)


def _answer(url: str, start: int) -> http.client.HTTPResponse:
    """Return the response to a request from a byte on; pages of Google Drive are confirmed."""
    from urllib.request import Request, urlopen

    headers = {"Range": f"bytes={start}-"} if start else {}
    response: http.client.HTTPResponse = urlopen(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS)  # nosec B310 # https or http, checked above
    if asks_to_confirm(response.url, response.headers.get("Content-Type", "")):
        with response:
            page = response.read(_BLOCK_BYTES).decode("utf-8", "replace")
        confirmed = Request(confirmed_address(response.url, page), headers=headers)
        response = urlopen(confirmed, timeout=_TIMEOUT_SECONDS)  # nosec B310 # as above
        if asks_to_confirm(response.url, response.headers.get("Content-Type", "")):
            response.close()
            cause = "returned a web page again after the download was confirmed"
            raise FetchError(url, cause, "download it in a browser, and pass it as a local file")
    return response


def _check_size(url: str, size: int | None, max_bytes: int) -> None:
    if size is not None and size > max_bytes:
        raise FetchError(url, f"has more than {max_bytes:,} bytes", "fetch a smaller file, or allow more")


def _check_sha256(path: Path, sha256: str | None) -> None:
    if sha256 is not None and not (found := sha256_of_file(path)).startswith(sha256):
        raise FetchError(
            path, f"has the SHA-256 {found}, its publisher gives {sha256}", "delete it and download it again"
        )


def is_offline() -> bool:
    """Return whether only files in the cache may be used."""
    return os.environ.get(OFFLINE, "0") not in ("", "0")


def _check_online(url: str) -> None:
    if is_offline():
        raise FetchError(
            url, f"is not in the cache, and {OFFLINE} is set", f"unset {OFFLINE}, or download the file first"
        )


@dataclass(frozen=True)
class RemoteDir:
    """A folder behind a URL as fsspec takes it; picklable, so that each worker opens it itself.

    Raises:
        OptionError: It cannot be listed, or fsspec or the package for its protocol is not installed.
        FetchError: A file cannot be downloaded.
        OutputError: A file cannot be written.
    """

    url: str

    def files(self) -> dict[str, int]:
        """Return all files below the folder: relative path -> bytes; empty if it does not exist."""
        with _remote_errors(OptionError, self.url, "cannot be listed", "check the URL and your credentials"):
            system, root = _opened(self.url)
            system.invalidate_cache()
            found = system.find(root, detail=True)
        return {name[len(root) :].lstrip("/"): int(about["size"] or 0) for name, about in found.items()}

    def fetch(self, name: str, target: Path) -> None:
        """Download a file, or a folder file by file."""
        url = f"{self.url.rstrip('/')}/{name}"
        with _remote_errors(FetchError, url, "cannot be fetched", "check that it exists"):
            system, root = _opened(self.url)
            path = f"{root}/{name}"
            files = system.find(path) if system.isdir(path) else [path]
        for file in files:
            suffix = file[len(path) :]
            download(url + suffix, target / suffix.lstrip("/"))

    def fetch_all(
        self, names: Sequence[str], folder: Path, *, note: str, at_once: int = _FILES_AT_ONCE
    ) -> None:
        """Download files into a folder under their relative names, ``at_once`` at a time.

        If there are more, a progress bar with the ``note`` is shown.
        """
        with progress_bar(enabled=len(names) > at_once) as progress:
            task = progress.add_task("fetching", total=len(names), note=note)
            for first in range(0, len(names), at_once):
                some = names[first : first + at_once]
                with _remote_errors(FetchError, self.url, "cannot be fetched", "check that it exists"):
                    system, root = _opened(self.url)
                    targets = [folder / name for name in some]
                    for target in targets:
                        target.parent.mkdir(parents=True, exist_ok=True)
                    system.get([f"{root}/{name}" for name in some], [str(target) for target in targets])
                progress.advance(task, len(some))

    def put(self, source: Path, name: str) -> None:
        """Upload a file."""
        with self._written(name) as (system, path):
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
            system.put_file(str(source), path)

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        with self._written(name) as (system, path):
            if system.exists(path):
                system.rm_file(path)

    @contextmanager
    def _written(self, name: str) -> Iterator[tuple[AbstractFileSystem, str]]:
        url = f"{self.url.rstrip('/')}/{name}"
        with _remote_errors(OutputError, url, "cannot be written", "check the URL and your credentials"):
            system, root = _opened(self.url)
            yield system, f"{root}/{name}"


def _opened(url: str) -> tuple[AbstractFileSystem, str]:
    """Return fsspec's file system and the path in it."""
    protocol, _, path = url.partition("://")
    if protocol not in _LOCAL_PROTOCOLS:
        _check_online(url)
    bucket, _, rest = path.partition("/")
    system, root = _file_system(f"{protocol}://{bucket}")
    if protocol in _LOCAL_PROTOCOLS:
        return system, path.rstrip("/")
    return system, "/".join([root, rest]).rstrip("/")


@functools.cache
def _file_system(url: str) -> tuple[AbstractFileSystem, str]:
    if importlib.util.find_spec("fsspec") is None:
        raise missing_library(url, "fsspec")
    from fsspec.core import url_to_fs

    try:
        system, root = url_to_fs(url)
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise OptionError(url, f"its protocol needs another package ({reason})", "install it") from error
    except ValueError as error:
        raise OptionError(
            url, f"is not a URL that fsspec knows ({error})", "pass s3://..., gs://..., hf://..."
        ) from error
    return system, str(root).rstrip("/")


@contextmanager
def _remote_errors(kind: type[DeepfakeDetectError], url: str, cause: str, remedy: str) -> Iterator[None]:
    """Turn whatever a protocol's package raises into one of this library's errors."""
    try:
        yield
    except DeepfakeDetectError:
        raise
    except Exception as error:  # each package has exceptions of its own, with no common base
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise OutputError("disk", f"cannot be written ({error.strerror})", "free some space") from error
        lines = str(error).splitlines() or [""]
        raise kind(url, f"{cause} ({type(error).__name__}: {lines[0]})", remedy) from error
