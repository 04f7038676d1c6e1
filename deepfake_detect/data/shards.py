"""Crops inside tar shards: a path that goes on behind a ``.tar`` names a member of it.

``crops/shard-000003.tar/a/b/000000_00.png`` is the member ``a/b/000000_00.png``. Members are found
by an index of each tar, made once a process, and read at their offset, so shards serve rows in
any order. Compressed tars cannot be read that way and are refused.
"""

from __future__ import annotations

import os
import tarfile
from functools import lru_cache
from pathlib import Path

from deepfake_detect.errors import ManifestError

SHARD_SUFFIX = ".tar"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Each index holds a name and two numbers a member: 64 shards of 10,000 crops are about 100 MB.
_MAX_INDEXES = 64


def read_stored_bytes(path: Path) -> bytes:
    """Return the bytes of a file, or of a member of a tar shard.

    Args:
        path: A file, or ``<shard>.tar/<member>``.

    Raises:
        ManifestError: There is no such file, shard or member, or the shard is compressed.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        shard = _shard_of(path)
        if shard is None:
            raise ManifestError(
                path, f"cannot be read ({error.strerror})", "extract its video again"
            ) from error
    return _read_member(shard, path.relative_to(shard).as_posix())


def _shard_of(path: Path) -> Path | None:
    """Return the tar that a path goes through, if there is one."""
    for parent in path.parents:
        if parent.name.endswith(_COMPRESSED) and parent.is_file():
            raise ManifestError(
                parent, "is compressed, so its members cannot be read in any order", "unpack it to a .tar"
            )
        if parent.suffix == SHARD_SUFFIX and parent.is_file():
            return parent
    return None


def _read_member(shard: Path, name: str) -> bytes:
    index = _member_index(shard, shard.stat().st_mtime_ns)
    if name not in index:
        raise ManifestError(shard, f"holds no member {name}", "extract its video again")
    offset, size = index[name]
    with open(shard, "rb") as file:
        data = os.pread(file.fileno(), size, offset)
    if len(data) != size:
        raise ManifestError(shard, f"is cut within {name}", "fetch or extract it again")
    return data


@lru_cache(maxsize=_MAX_INDEXES)
def _member_index(shard: Path, _modified_ns: int) -> dict[str, tuple[int, int]]:
    """Return name -> (offset, size in bytes) of a shard's files; read anew when the file changes."""
    try:
        with tarfile.open(shard, "r:") as archive:
            return {
                member.name.removeprefix("./"): (member.offset_data, member.size)
                for member in archive
                if member.isfile()
            }
    except tarfile.TarError as error:
        raise ManifestError(shard, f"is not a readable tar ({error})", "fetch or extract it again") from error
