"""A request's body onto the disk, piece by piece: never all in memory, and never more than allowed."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError
from deepfake_detect.io.media import HEAD_BYTES, MediaKind, media_kind

FIELD = "file"
"""Name of the form field with the clip."""

_FORM = f"one file in the field {FIELD!r} of a multipart/form-data body"
_MAX_FORM_BYTES = 64 * 1024  # of a form without its file: boundaries, headers, other fields
_MAX_NAME_LENGTH = 100


@dataclass(frozen=True)
class Upload:
    """A completely received file.

    Attributes:
        path: Chosen here, with a random name.
        name: The client's name for it, for display only.
        kind: By its content.
        num_bytes: Its size.
    """

    path: Path
    name: str
    kind: MediaKind
    num_bytes: int


class Body:
    """The pieces of a request's body.

    Args:
        receive: Of the ASGI request.
        max_silence_seconds: Longest pause between two pieces.
        max_seconds: Longest time for all of them.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        *,
        max_silence_seconds: float,
        max_seconds: float,
    ) -> None:
        self._receive = receive
        self._max_silence_seconds = max_silence_seconds
        self._max_seconds = max_seconds
        self._is_complete = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the pieces that have not been read yet.

        Raises:
            ClientDisconnect: The client disconnected before the end.
            RequestError: There was a long pause, or the whole body takes too long.
        """
        deadline = time.monotonic() + self._max_seconds
        while not self._is_complete:
            if time.monotonic() >= deadline:
                raise _slow(f"was not complete after {self._max_seconds:g} s", "a faster upload")
            try:
                message = await asyncio.wait_for(self._receive(), self._max_silence_seconds)
            except asyncio.TimeoutError as error:
                silence = f"paused for {self._max_silence_seconds:g} s"
                raise _slow(silence, "an upload without long pauses") from error
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._is_complete = not message.get("more_body", False)
            yield message.get("body", b"")

    async def until_gone(self) -> None:
        """Wait until the client, whose body was received, disconnects."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _FilePart:
    """The file of a multipart form, written as it is received; other fields are skipped.

    Args:
        file: Open for writing.
        content_type: Of the request.
        limits: Limits to enforce.

    Raises:
        RequestError: The body is not a multipart form.
    """

    def __init__(self, file: BinaryIO, content_type: str, limits: Limits) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            cause = f"has content type {content_type[:80]!r}" if content_type else "has no content type"
            raise RequestError("body", cause, "send it as a form", _FORM, 415)
        self.num_bytes = 0
        self.name = ""
        self.head = b""
        self._file = file
        self._limits = limits
        self._num_received = 0
        self._num_files = 0
        self._is_inside = self._is_complete = False
        self._field, self._value, self._disposition = b"", b"", b""
        self._other_field = ""
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._more_field,
            "on_header_value": self._more_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, piece: bytes) -> None:
        """Process the next piece of the body.

        Raises:
            RequestError: The form is malformed, has several files, or is too large.
        """
        self._num_received += len(piece)
        if self._num_received > self._limits.max_upload_bytes + _MAX_FORM_BYTES:
            raise self.too_large(f"more than {self._limits.max_upload_bytes:,} bytes")
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed("is not a well-formed form") from error
        if self._num_received - self.num_bytes > _MAX_FORM_BYTES + len(piece):
            raise _malformed("has too much data in addition to the file")

    def finish(self) -> MediaKind:
        """Check that a complete file was received and return its kind.

        Raises:
            RequestError: It was not, or it is not a video or image.
        """
        if not self._is_complete:
            raise _malformed("ends too early")
        if not self._num_files:
            found = f"has its file in the field {self._other_field!r}, and" if self._other_field else "has"
            raise _malformed(f"{found} no file in the field {FIELD!r}")
        if not self.num_bytes:
            raise RequestError(
                self.name, "is empty (0 bytes)", "choose another file", self._limits.sentence(), 400
            )
        kind = media_kind(self.head)
        if kind is None:
            raise RequestError(
                self.name,
                "is not a supported video or image",
                "send an MP4, MOV, WebM, MKV, AVI, MPEG, FLV, WMV, JPEG, PNG, GIF or WebP file",
                self._limits.sentence(),
                415,
            )
        return kind

    def too_large(self, size: str) -> RequestError:
        """Return the error for a body that is too large."""
        return RequestError(
            self.name or "file", f"has {size}", "send a shorter part", self._limits.sentence(), 413
        )

    def _begin(self) -> None:
        self._field = self._value = self._disposition = b""

    def _more_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _more_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_inside = field == FIELD and b"filename" in options
        if b"filename" in options and not self._is_inside:
            self._other_field = display_name(field.encode())
        if not self._is_inside:
            return
        self._num_files += 1
        if self._num_files > 1:
            raise _malformed("has several files")
        self.name = display_name(options[b"filename"])

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_inside:
            return
        self.num_bytes += end - start
        if self.num_bytes > self._limits.max_upload_bytes:
            raise self.too_large(f"more than {self._limits.max_upload_bytes:,} bytes")
        if len(self.head) < HEAD_BYTES:
            self.head += data[start:end]
        self._file.write(data[start:end])

    def _end(self) -> None:
        self._is_complete = True


def display_name(raw: bytes) -> str:
    r"""Return a client's file name fit to be shown: without folders and control characters.

    Example:
        >>> display_name(b"C:\\clips\\..\\a\tb.mp4"), display_name(b"/")
        ('a b.mp4', 'upload')
    """
    last = raw.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter if letter.isprintable() else " " for letter in last).strip(" .")
    return shown[-_MAX_NAME_LENGTH:] or "upload"


async def receive_upload(body: Body, headers: Mapping[str, str], folder: Path, limits: Limits) -> Upload:
    """Write the file of a form into a folder.

    Args:
        body: Of the request.
        headers: Of the request, by lower-case name.
        folder: Where to write it, under a random name.
        limits: Limits to enforce.

    Returns:
        The file; the caller deletes it.

    Raises:
        RequestError: The body is rejected; nothing stays in the folder.
        ClientDisconnect: The client disconnected before the end.
    """
    path = folder / secrets.token_hex(16)
    try:
        with open(path, "xb", buffering=HEAD_BYTES) as file:
            part = _FilePart(file, headers.get("content-type", ""), limits)
            declared = headers.get("content-length", "")
            if declared.isdigit() and int(declared) > limits.max_upload_bytes + _MAX_FORM_BYTES:
                raise part.too_large(f"{int(declared):,} bytes")
            async for piece in body.pieces():
                await asyncio.to_thread(part.feed, piece)  # a slow disk must not block other requests
        kind = part.finish()
        stored = path.rename(path.with_suffix(kind.suffix))
        return Upload(stored, part.name, kind, part.num_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _cannot_store(error) from error
    except BaseException:  # also when the task is cancelled
        path.unlink(missing_ok=True)
        raise


def _malformed(cause: str) -> RequestError:
    return RequestError("body", cause, "send the form again", _FORM, 400)


def _slow(cause: str, allowed: str) -> RequestError:
    return RequestError("body", cause, "send the file again", allowed, 408)


def _cannot_store(error: OSError) -> RequestError:
    cause = "the disk is full" if error.errno == errno.ENOSPC else os.strerror(error.errno or errno.EIO)
    return RequestError(
        "upload", f"cannot be stored ({cause})", "try again later", "uploads that fit on the disk", 507
    )
