"""Crops inside tar shards: a path that continues after a ``.tar`` names a member of it.

``crops/shard-000003.tar/a/b/000000_00.png`` is the member ``a/b/000000_00.png``. Members are found by
an index of each tar, made once per process, and read at their offset, so rows can be read in any
order. This is not possible for compressed tars, which raise an error.

Shards written here also hold, for each crop, a JSON file of the same name with the crop's label, video
and frame, so that WebDataset reads them as samples without the manifest.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.errors import ManifestError
from deepfake_detect.io.files import atomic_path

SHARD_SUFFIX = ".tar"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Each index holds a name and two numbers per member: 64 shards of 10,000 crops take about 100 MB.
_MAX_INDEXES = 64
_END_OF_TAR = bytes(2 * tarfile.BLOCKSIZE)


def read_stored_bytes(path: Path) -> bytes:
    """Return the bytes of a file, or of a member of a tar shard, ``<shard>.tar/<member>``.

    Raises:
        ManifestError: The file, shard or member does not exist, or the shard is compressed.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        shard = _shard_of(path)
        if shard is None:
            raise ManifestError(
                path, f"cannot be read ({error.strerror})", "extract its video again"
            ) from error
    name, status = path.relative_to(shard).as_posix(), shard.stat()
    index = _member_index(shard, status.st_mtime_ns)
    if name not in index:
        raise ManifestError(shard, f"contains no member {name}", "extract its video again")
    offset, size = index[name]
    if size < 0 or offset + size > status.st_size:
        raise ManifestError(shard, f"ends within {name}", "download or extract it again")
    with open(shard, "rb") as file:
        return os.pread(file.fileno(), size, offset)


def decode_image(data: bytes, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """Return an encoded image, BGR uint8 (H, W, 3) by default, or ``None`` if it is not one."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # an empty file, or more pixels than OpenCV allows
        return None


def is_stored(path: Path) -> bool:
    """Return whether a file exists, or a complete member of a tar shard; an unreadable shard has none."""
    if path.is_file():
        return True
    try:
        shard = _shard_of(path)
        if shard is None:
            return False
        status = shard.stat()
        index = _member_index(shard, status.st_mtime_ns)
    except ManifestError:
        return False
    offset, size = index.get(path.relative_to(shard).as_posix(), (0, status.st_size + 1))
    return offset + size <= status.st_size


def shard_members(shard: Path) -> list[str]:
    """Return the names of a shard's files in their order.

    Raises:
        ManifestError: It is not a readable tar, or its end is missing.
    """
    members = list(_member_index(shard, shard.stat().st_mtime_ns))
    with open(shard, "rb") as file:
        file.seek(-len(_END_OF_TAR), os.SEEK_END)
        if file.read() != _END_OF_TAR:
            raise ManifestError(shard, "is incomplete", "delete it and run again")
    return members


def sample_members(
    key: str, suffix: str, data: bytes, *, label: int, video_id: str, frame_index: int
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of a crop and of its JSON.

    The ``key``, a name without suffix, has no dot, since WebDataset ends it at the first one.
    """
    yield f"{key}{suffix}", data
    fields = {"label": label, "video_id": video_id, "frame_index": frame_index}
    yield f"{key}.json", json.dumps(fields).encode()


def write_shard(path: str | os.PathLike[str], members: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar atomically; the same members give the same bytes at any time, for any user."""
    with atomic_path(path) as temporary, tarfile.open(temporary, "w") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)  # its time, owner and permissions are constants
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def _shard_of(path: Path) -> Path | None:
    """Return the tar that contains a path, if there is one."""
    for parent in path.parents:
        if parent.name.endswith(_COMPRESSED) and parent.is_file():
            raise ManifestError(
                parent, "is compressed, so its members cannot be read in any order", "unpack it to a .tar"
            )
        if parent.suffix == SHARD_SUFFIX and parent.is_file():
            return parent
    return None


@lru_cache(maxsize=_MAX_INDEXES)
def _member_index(shard: Path, _modified_ns: int) -> dict[str, tuple[int, int]]:
    """Return name -> (offset, size in bytes) of a shard's files; read again when the file changes."""
    members: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if member.isfile():
                    members[member.name.removeprefix("./")] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        # An incomplete shard still has complete members; a missing one is an error when it is read.
        if not members:
            raise ManifestError(
                shard, f"is not a readable tar ({error})", "download or extract it again"
            ) from error
    return members
