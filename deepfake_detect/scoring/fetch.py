"""What an address names -> a file: of the web by yt-dlp, the extra ``url``; of a store by ``urls``.

A direct link to a video is taken as it is; of the page of a site that yt-dlp knows, the best
pictures up to 1080 lines, without sound where they come apart from it. yt-dlp's own configuration,
cookies and cache play no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from deepfake_detect.errors import OptionError, VideoUnreadableError

_FORMAT = "bv*[height<=1080]/bv*/b"
_TIMEOUT_SECONDS = 20


def check_fetching(addresses: Iterable[str]) -> None:
    """Raise OptionError when the web's extra is needed and not installed: before the work, not in it."""
    if any(is_web(address) for address in addresses):
        _youtube_dl()


def is_web(address: str) -> bool:
    """Tell whether an address is one of the web.

    Example:
        >>> is_web("https://example.org/a.mp4"), is_web("s3://bucket/a.mp4")
        (True, False)
    """
    return address.lower().startswith(("http://", "https://"))


def fetch(
    address: str, folder: Path, *, on_bytes: Callable[[int, int | None], None] = lambda done, total: None
) -> Path:
    """Download the clip of an address.

    Args:
        address: http, https, or of an object store.
        folder: Existing empty folder to leave it in.
        on_bytes: Called with the bytes that are there, and how many there will be where that is known.

    Returns:
        The file.

    Raises:
        OptionError: The extra ``url``, or ``remote``, is not installed.
        VideoUnreadableError: There is no clip, or it cannot be had.
    """
    if not is_web(address):
        return _from_store(address, folder)
    options = {
        "format": _FORMAT,
        "outtmpl": {"default": str(folder / "clip.%(ext)s")},
        "noplaylist": True,
        "playlist_items": "1",
        "cachedir": False,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Silence(),
        "socket_timeout": _TIMEOUT_SECONDS,
        "retries": 2,
        "progress_hooks": [lambda state: _report(state, on_bytes)],
    }
    YoutubeDL, DownloadError = _youtube_dl()  # noqa: N806
    try:
        with YoutubeDL(options) as downloader:
            downloader.extract_info(address, download=True)
    except DownloadError as error:
        raise VideoUnreadableError(
            address, f"cannot be fetched ({_reason(error)})", "check the address, or save the clip to a file"
        ) from error
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise VideoUnreadableError(
            address, f"gave {len(files)} files, not one", "pass the address of one clip"
        )
    return files[0]


def _from_store(address: str, folder: Path) -> Path:
    from deepfake_detect.io.fetch import RemoteDir

    place, _, name = address.rpartition("/")
    RemoteDir(place).fetch(name, folder / name)
    return folder / name


def _youtube_dl() -> tuple[Any, type[Exception]]:
    try:
        from yt_dlp import YoutubeDL
        from yt_dlp.utils import DownloadError
    except ImportError as error:
        raise OptionError(
            "--allow-url",
            "yt-dlp, which fetches clips, is not installed",
            "pip install 'deepfake_detect[url]'",
        ) from error
    return YoutubeDL, DownloadError


def _report(state: dict[str, Any], on_bytes: Callable[[int, int | None], None]) -> None:
    on_bytes(
        state.get("downloaded_bytes") or 0, state.get("total_bytes") or state.get("total_bytes_estimate")
    )


def _reason(error: Exception) -> str:
    """Return the first line of an error of yt-dlp without its mark and its colors."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.replace("\x1b[0;31m", "").replace("\x1b[0m", "").removeprefix("ERROR: ")


class _Silence:
    """A logger for yt-dlp: what matters comes as an error."""

    def debug(self, message: str) -> None: ...

    info = warning = error = debug
