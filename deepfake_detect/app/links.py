"""A clip at an address of the web as an upload, where the server's owner has allowed that."""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path

from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError, request_error
from deepfake_detect.app.uploads import Upload, display_name
from deepfake_detect.errors import DeepfakeDetectError
from deepfake_detect.io.media import HEAD_BYTES, media_kind
from deepfake_detect.scoring.fetch import fetch, is_web

_MAX_SHOWN = 100


def fetch_upload(url: str, folder: Path, limits: Limits) -> Upload:
    """Download the clip at a URL into a folder of uploads; the caller deletes it.

    Args:
        url: Only http and https: other schemes could name files of this computer.
        folder: Of the uploads.
        limits: Limits to enforce while it arrives.

    Raises:
        RequestError: It cannot be downloaded, is too large or slow, or is no video or image.
    """
    shown, allowed = url[:_MAX_SHOWN], limits.sentence()
    if not is_web(url):
        raise RequestError("url", f"is {shown!r}", "pass the address of a clip", "http and https", 422)
    deadline = time.monotonic() + limits.max_upload_seconds

    def check(num_bytes: int, total: int | None) -> None:
        if max(num_bytes, total or 0) > limits.max_upload_bytes:
            raise RequestError(shown, "is too large", "pass a shorter clip", allowed, 413)
        if time.monotonic() > deadline:
            cause = f"was not complete after {limits.max_upload_seconds:g} s"
            raise RequestError(shown, cause, "save it to a file", allowed, 408)

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        try:
            path = fetch(url, Path(temporary), on_bytes=check)
        except DeepfakeDetectError as error:
            raise request_error(error, name=shown, allowed=allowed) from error
        num_bytes = path.stat().st_size
        check(num_bytes, None)
        with path.open("rb") as file:
            kind = media_kind(file.read(HEAD_BYTES))
        if kind is None:
            cause = "is not a supported video or image"
            raise RequestError(shown, cause, "pass the address of a clip", allowed, 415)
        stored = path.rename(folder / f"{secrets.token_hex(16)}{kind.suffix}")
    return Upload(stored, display_name(url.partition("?")[0].rstrip("/").encode()), kind, num_bytes)
