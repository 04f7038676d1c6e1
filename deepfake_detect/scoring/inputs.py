"""What a caller passes as a clip -> a file: a path, bytes, or a binary file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from deepfake_detect.io.scratch import scratch_folder

VideoInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
_PIECE_BYTES = 1 << 20


@contextmanager
def local_file(video: VideoInput) -> Iterator[tuple[str | os.PathLike[str], str | None]]:
    """Give the path of a clip's file; bytes are in a temporary one until the context ends.

    Args:
        video: Path, bytes, or binary file, which is read from its position to its end.

    Yields:
        The path, and what the result calls the clip where that is not the path: the file's name, or
        ``"bytes"``.
    """
    is_bytes = isinstance(video, (bytes, bytearray, memoryview))
    if not is_bytes and not hasattr(video, "read"):
        yield video, None  # type: ignore[misc]
        return
    with scratch_folder() as folder:
        path = folder / "clip"
        with path.open("wb") as file:
            if is_bytes:
                file.write(video)  # type: ignore[arg-type]
            else:
                shutil.copyfileobj(video, file, _PIECE_BYTES)  # type: ignore[arg-type]
        name = "bytes" if is_bytes else getattr(video, "name", "file")
        yield path, name if isinstance(name, str) else "file"
