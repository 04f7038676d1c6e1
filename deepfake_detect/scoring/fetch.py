"""URL -> file: from the web by yt-dlp, the extra ``url``; from object stores by ``io.fetch``.

A direct link to a video is downloaded unchanged; from the page of a site that yt-dlp supports, the
best video stream up to 1080 lines, without sound where that is a stream of its own. yt-dlp's own
configuration, cookies and cache are not used.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.extras import missing_library
from deepfake_detect.io.fetch import MAX_BYTES, OnBytes, download, watch_download

_FORMAT = "bv*[height<=1080]/bv*/b"
_TIMEOUT_SECONDS = 20


def check_fetching(urls: Iterable[str]) -> None:
    """Raise OptionError if a URL needs the extra ``url`` and it is not installed."""
    if any(is_web(url) for url in urls):
        _youtube_dl()


def is_web(url: str) -> bool:
    """Return whether a URL is one of the web, not of an object store.

    Example:
        >>> is_web("https://example.org/a.mp4"), is_web("s3://bucket/a.mp4")
        (True, False)
    """
    return url.lower().startswith(("http://", "https://"))


def fetch(
    url: str, folder: Path, *, max_bytes: int = MAX_BYTES, on_bytes: OnBytes = lambda done, total: None
) -> Path:
    """Download the clip at a URL.

    Args:
        url: http, https, or of an object store.
        folder: Existing empty folder for the file.
        max_bytes: Largest size allowed.
        on_bytes: Called with the number of bytes downloaded, and the total where that is known.

    Returns:
        The file.

    Raises:
        OptionError: The extra ``url``, or ``remote``, is not installed.
        VideoUnreadableError: There is no clip, or it cannot be downloaded from the web.
        FetchError: It is too large or comes too slowly, or cannot be downloaded from an object store.
    """
    if not is_web(url):
        target = folder / url.rpartition("/")[2]
        download(url, target, max_bytes=max_bytes, on_bytes=on_bytes)
        return target
    YoutubeDL, DownloadError = _youtube_dl()  # noqa: N806

    def download_clip(report: OnBytes) -> None:
        with YoutubeDL({**options, "progress_hooks": [partial(_report, report)]}) as downloader:
            downloader.extract_info(url, download=True)

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
    }
    try:
        watch_download(url, download_clip, max_bytes=max_bytes, on_bytes=on_bytes)
    except DownloadError as error:
        raise VideoUnreadableError(
            url, f"cannot be downloaded ({_reason(error)})", "check the URL, or save the clip to a file"
        ) from error
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise VideoUnreadableError(url, f"gave {len(files)} files instead of one", "pass the URL of one clip")
    return files[0]


def _youtube_dl() -> tuple[Any, type[Exception]]:
    try:
        from yt_dlp import YoutubeDL
        from yt_dlp.utils import DownloadError
    except ImportError as error:
        raise missing_library("allow_url", "yt_dlp") from error
    return YoutubeDL, DownloadError


def _report(report: OnBytes, state: dict[str, Any]) -> None:
    total = state.get("total_bytes") or state.get("total_bytes_estimate")
    report(state.get("downloaded_bytes") or 0, None if total is None else int(total))


def _reason(error: Exception) -> str:
    """Return the first line of an error of yt-dlp without its prefix and colors."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.replace("\x1b[0;31m", "").replace("\x1b[0m", "").removeprefix("ERROR: ")


class _Silence:
    """A logger for yt-dlp that drops everything: errors come as exceptions."""

    def debug(self, message: str) -> None: ...

    info = warning = error = debug
