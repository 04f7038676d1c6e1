"""Fingerprints of a manifest's crops, stored in a Parquet file so that each crop is read once.

The file holds a fingerprint by path, size and modification time. Memory: 0.5 KB per crop.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.fingerprints import FINGERPRINT, fingerprint
from deepfake_detect.data.shards import read_stored_bytes
from deepfake_detect.errors import ManifestError, OptionError, OutputError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.progress import progress_bar

CACHE_NAME = "crop_hashes.parquet"
# Increased whenever fingerprints change: files of other versions are written again.
_VERSION_KEY, _VERSION = b"deepfake_detect.crop_hashes", b"1"
_BLOCK = 1024
_SAVE_AFTER = 4096
_ABSENT = (-1, -1)


@dataclass(frozen=True, eq=False)
class HashedCrops:
    """Fingerprints of N crops."""

    fingerprints: np.ndarray  # FINGERPRINT (N,), zeros where the crop cannot be read
    is_readable: np.ndarray  # bool (N,)
    notes: tuple[str, ...] = ()  # remarks, one line each


def hash_crops(
    root: Path,
    paths: Sequence[str],
    *,
    cache: Path | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> HashedCrops:
    """Return the fingerprints of different crops, reading those that are new or have changed.

    The ``cache``, a Parquet file of earlier fingerprints, is written every few thousand crops, so that an
    interrupted run can be resumed. An unreadable crop is marked, and an unusable or unwritable cache is
    noted; neither is an error.

    Raises:
        OptionError: ``num_workers`` is below 1.
    """
    if num_workers is not None and num_workers < 1:
        raise OptionError("num_workers", f"is {num_workers}", "must be 1 or more")
    work = _Hashing(root, list(paths), cache)
    todo = work.take_from_cache()
    with (
        ThreadPoolExecutor(num_workers or os.cpu_count()) as pool,
        progress_bar(enabled=show_progress and len(todo) > 0) as progress,
    ):
        task = progress.add_task("reading crops", total=len(todo), note="")
        for start in range(0, len(todo), _BLOCK):
            rows = todo[start : start + _BLOCK]
            for row, found in zip(rows, pool.map(work.read, rows), strict=True):
                work.keep(row, found)
                progress.advance(task)
            work.save_if_due()
    work.save()
    return HashedCrops(work.fingerprints, work.is_readable, tuple(work.notes))


class _Hashing:
    """State of one call of :func:`hash_crops`: the crops, and the content of the cache."""

    def __init__(self, root: Path, paths: list[str], cache: Path | None) -> None:
        self.root, self.paths, self.cache = root, paths, cache
        self.fingerprints = np.zeros(len(paths), FINGERPRINT)
        self.is_readable = np.zeros(len(paths), bool)
        self.notes: list[str] = []
        self.stamps = np.array([_stamp(root / path) for path in paths], np.int64).reshape(-1, 2)
        self.others = _empty_table()  # rows of the cache for other crops
        self.num_saved = self.num_new = 0

    def take_from_cache(self) -> list[int]:
        """Use fingerprints of the cache; return the rows of existing crops that must be read."""
        stored = self._read_cache()
        row_of = {path: row for row, path in enumerate(self.paths)}
        rows = np.array([row_of.get(path, -1) for path in stored["path"].to_pylist()], np.int64)
        self.others = stored.filter(pa.array(rows < 0))
        wanted = stored.filter(pa.array(rows >= 0))
        rows = rows[rows >= 0]
        stamps = np.stack([wanted["size"].to_numpy(), wanted["modified_ns"].to_numpy()], axis=1)
        is_same = (stamps == self.stamps[rows]).all(axis=1)
        self.fingerprints[rows[is_same]] = _to_fingerprints(wanted)[is_same]
        self.is_readable[rows[is_same]] = True
        self.num_saved = stored.num_rows
        exists = self.stamps[:, 0] != _ABSENT[0]
        return np.flatnonzero(exists & ~self.is_readable).tolist()

    def _read_cache(self) -> pa.Table:
        if self.cache is None or not self.cache.exists():
            return _empty_table()
        try:
            table = pq.read_table(self.cache, partitioning=None)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            self.notes.append(f"{self.cache} cannot be read and is written again ({error})")
            return _empty_table()
        is_current = (table.schema.metadata or {}).get(_VERSION_KEY) == _VERSION
        is_current = is_current and table.schema.equals(_empty_table().schema)
        return table if is_current else _empty_table()

    def read(self, row: int) -> np.ndarray | None:
        """Read one crop; return ``None`` if it cannot be read, which the caller reports."""
        try:
            return fingerprint(read_stored_bytes(self.root / self.paths[row]))
        except ManifestError:
            return None

    def keep(self, row: int, found: np.ndarray | None) -> None:
        if found is not None:
            self.fingerprints[row] = found
            self.is_readable[row] = True
            self.num_new += 1

    def save_if_due(self) -> None:
        """Write the cache if enough is new: each time all of it is written."""
        if self.num_new >= max(_SAVE_AFTER, self.num_saved // 4):
            self.save()

    def save(self) -> None:
        """Write the cache; if this fails, add a note and do not try again."""
        if self.cache is None or self.num_new == 0:
            return
        rows = np.flatnonzero(self.is_readable)
        paths = pa.array([self.paths[row] for row in rows], pa.string())
        table = _to_table(paths, self.stamps[rows], self.fingerprints[rows])
        try:
            with atomic_path(self.cache) as temporary:
                pq.write_table(pa.concat_tables([self.others, table]), temporary)
        except OutputError as error:
            self.notes.append(f"the fingerprints of the crops are not stored ({error.cause})")
            self.cache = None
        self.num_saved, self.num_new = len(rows) + self.others.num_rows, 0


def _stamp(path: Path) -> tuple[int, int]:
    """Return size in bytes and modification time in ns of a file, or of the tar shard that contains it."""
    for file in (path, *path.parents):
        try:
            status = file.stat()
        except OSError:  # a member of a shard: the shard is one of the parents
            continue
        return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else _ABSENT
    return _ABSENT


def _to_table(paths: pa.Array, stamps: np.ndarray, fingerprints: np.ndarray) -> pa.Table:
    columns = {"path": paths, "size": pa.array(stamps[:, 0]), "modified_ns": pa.array(stamps[:, 1])}
    for name in FINGERPRINT.names or ():
        values = np.ascontiguousarray(fingerprints[name])
        kind = pa.binary(FINGERPRINT[name].itemsize)
        columns[name] = pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    return pa.table(columns).replace_schema_metadata({_VERSION_KEY: _VERSION})


def _empty_table() -> pa.Table:
    return _to_table(pa.array([], pa.string()), np.zeros((0, 2), np.int64), np.zeros(0, FINGERPRINT))


def _to_fingerprints(table: pa.Table) -> np.ndarray:
    found = np.zeros(table.num_rows, FINGERPRINT)
    for name in FINGERPRINT.names or ():
        values = np.frombuffer(b"".join(table[name].to_pylist()), np.uint8)
        found[name] = values.reshape(found[name].shape)
    return found
