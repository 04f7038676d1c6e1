"""Fingerprints of crops, to find the same picture twice: byte by byte, or as the eye sees it.

    sha256      of the stored bytes: equal for identical files
    phash       64 signs of the picture's coarsest frequencies: pictures that look alike differ in few
    thumbnail   16 x 16 gray levels: what is looked at to confirm that two pictures look alike

Near duplicates are pictures whose phash differs in at most ``MAX_DISTANCE`` bits and whose
thumbnails are alike by at least ``MIN_LIKENESS`` (see :func:`likeness`). Faces fill their crops in
much the same way, so the phash alone raises false alarms. Both numbers were chosen on 4,000 DFDC
face crops of 224 px (arXiv:2006.07397): found again were all of them after JPEG at quality 50, after
resizing to 0.8 and after brightening or darkening by 10 %, 99.9 % after a shift by 2 px along both
axes, 66 % after one by 4 px. Across three splits of 19,400 such crops (62 million pairs) 44 were
found, each of them the same person in the same scene as its pair; among 1.6 million pairs of Labeled
Faces in the Wild none: no two people at most 10 bits apart were more alike than .945.

Fingerprints are kept in a Parquet file by path, size and time of change, so that a crop is read
once. Memory: 0.5 KB a crop.

Source of the phash: the widely used scheme of Zauner, "Implementation and Benchmarking of
Perceptual Image Hash Functions" (2010), section 3.2.1.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.shards import read_stored_bytes
from deepfake_detect.errors import ManifestError, OptionError, OutputError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.progress import progress_bar

CACHE_NAME = "crop_hashes.parquet"
MAX_DISTANCE = 10
MIN_LIKENESS = 0.975
# In gray levels. Below it the rounding of the gray levels is a good part of what there is to compare.
MIN_DEVIATION = 3.0
_GRAY_SIDE, _LOW_SIDE, _THUMBNAIL_SIDE = 32, 8, 16
_NUM_BITS = _LOW_SIDE**2
# Another number whenever a fingerprint would come out different: older files are then made anew.
_VERSION_KEY, _VERSION = b"deepfake_detect.crop_hashes", b"1"
_BLOCK = 1024
_SAVE_AFTER = 4096
_PAIRS_AT_ONCE = 4_000_000
_CONFIRMED_AT_ONCE = 4096
_ABSENT = (-1, -1)

# One crop. Kept as plain bytes, so the order of the fields and their widths are those of the file.
FINGERPRINT = np.dtype(
    [
        ("sha256", np.uint8, 32),
        ("phash", np.uint8, _NUM_BITS // 8),
        ("thumbnail", np.uint8, (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)),
    ]
)


@dataclass(frozen=True, eq=False)
class HashedCrops:
    """Fingerprints of N crops.

    Attributes:
        fingerprints: ``FINGERPRINT`` (N,), zeros where the crop cannot be read.
        is_readable: bool (N,).
        notes: One line each on what went on beside that.
    """

    fingerprints: np.ndarray
    is_readable: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Which of N crops look like one of M others.

    Attributes:
        first_hit: bool (N,), crops of the first set that have a near duplicate in the second.
        second_hit: bool (M,), the other way round.
        pairs: int64 (P, 2), such pairs, the most alike first; not all of them, but one at least
            for each crop that is hit, up to ``max_pairs``.
        distances: int64 (P,), bits in which their phash differs.
        likenesses: float32 (P,), 0 to 1.
    """

    first_hit: np.ndarray
    second_hit: np.ndarray
    pairs: np.ndarray
    distances: np.ndarray
    likenesses: np.ndarray


def fingerprint(data: bytes) -> np.ndarray | None:
    """Return the fingerprint of a stored image, ``FINGERPRINT`` (), or ``None`` where it is no image."""
    # An empty file would be an error of OpenCV's own.
    gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if gray is None:
        return None
    small = cv2.resize(gray, (_GRAY_SIDE, _GRAY_SIDE), interpolation=cv2.INTER_AREA)
    found = np.zeros((), FINGERPRINT)
    found["sha256"] = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
    found["phash"] = perceptual_hash(small)
    found["thumbnail"] = cv2.resize(small, (_THUMBNAIL_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    return found


def perceptual_hash(gray: np.ndarray) -> np.ndarray:
    """Return which low frequencies of a picture are above their median.

    Args:
        gray: uint8 (32, 32).

    Returns:
        64 bits as uint8 (8,). The first is 0: the mean brightness says nothing of what is shown.

    Example:
        >>> ramp = np.tile(np.arange(32, dtype=np.uint8), (32, 1))
        >>> bool((perceptual_hash(ramp) == perceptual_hash(ramp * 3 + 20)).all())
        True
    """
    frequencies = cv2.dct(gray.astype(np.float32))[:_LOW_SIDE, :_LOW_SIDE].reshape(-1)
    is_high = frequencies > np.median(frequencies[1:])
    is_high[0] = False
    return np.packbits(is_high)


def likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how well pictures explain each other, but for brightness, contrast and a small shift.

    The second picture is fitted by the first and its two gradients, which stand for a shift by a
    part of a pixel; the multiple correlation of that fit is taken in both directions, and the
    lower one counts.

    Args:
        first, second: uint8 (N, H, W), pictures to compare one by one, none of them flat.

    Returns:
        float32 (N,), 0 to 1.
    """
    lower: np.ndarray = np.minimum(_explained(first, second), _explained(second, first))
    return lower


def _explained(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the multiple correlation (N,) of ``second`` with ``first`` and its gradients."""
    picture, target = first.astype(np.float32), second[:, 1:-1, 1:-1].astype(np.float32)
    gradient_x = (picture[:, 1:-1, 2:] - picture[:, 1:-1, :-2]) / 2
    gradient_y = (picture[:, 2:, 1:-1] - picture[:, :-2, 1:-1]) / 2
    terms = np.stack([picture[:, 1:-1, 1:-1], gradient_x, gradient_y], axis=1)  # (N, 3, H - 2, W - 2)
    area = target.shape[1] * target.shape[2]  # and not -1: there may be no picture
    terms = terms.reshape(len(first), 3, area)
    terms -= terms.mean(axis=2, keepdims=True)
    target = target.reshape(len(first), 1, area)
    target -= target.mean(axis=2, keepdims=True)
    products = terms @ terms.transpose(0, 2, 1)  # (N, 3, 3)
    # A slight ridge: the gradients of an even ramp say nothing, and would make this singular.
    scale = np.trace(products, axis1=1, axis2=2) + 1
    products += 1e-6 * scale[:, None, None] * np.eye(3, dtype=np.float32)
    weights = np.linalg.solve(products, terms @ target.transpose(0, 2, 1))  # (N, 3, 1)
    residual = target - weights.transpose(0, 2, 1) @ terms
    unexplained = (residual**2).sum(axis=(1, 2)) / np.maximum((target**2).sum(axis=(1, 2)), 1)
    correlations: np.ndarray = np.sqrt(np.clip(1 - unexplained, 0, 1))
    return correlations


def is_flat(fingerprints: np.ndarray) -> np.ndarray:
    """Return which crops show too little to be compared by looks, bool (N,)."""
    flat: np.ndarray = fingerprints["thumbnail"].std(axis=(1, 2)) < MIN_DEVIATION
    return flat


def near_duplicates(first: np.ndarray, second: np.ndarray, *, max_pairs: int = 1000) -> NearDuplicates:
    """Find the crops of one set that look like one of another, without being the same file.

    Every pair is compared: a second for each 300 million pairs. Memory does not grow with their
    number.

    Args:
        first, second: ``FINGERPRINT`` (N,) and (M,).
        max_pairs: How many pairs to return.

    Returns:
        The crops that are hit, and pairs of them.
    """
    search = _Search(first, second)
    rows, columns = np.flatnonzero(~is_flat(first)), np.flatnonzero(~is_flat(second))
    for some_rows, some_columns, distances in _candidates(first[rows], second[columns]):
        pairs = np.stack([rows[some_rows], columns[some_columns]], axis=1)
        for start in range(0, len(pairs), _CONFIRMED_AT_ONCE):
            block = slice(start, start + _CONFIRMED_AT_ONCE)
            search.confirm(pairs[block], distances[block])
    return search.result(max_pairs)


@dataclass(eq=False)
class _Search:
    """What :func:`near_duplicates` has found so far."""

    first: np.ndarray
    second: np.ndarray
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first_hit = np.zeros(len(self.first), bool)
        self.second_hit = np.zeros(len(self.second), bool)

    def confirm(self, pairs: np.ndarray, distances: np.ndarray) -> None:
        """Look at candidates, int64 (P, 2), and keep those that look alike."""
        # A pair of crops that are both known to be hit would change nothing; of a manifest full of
        # duplicates these are nearly all.
        is_news = ~(self.first_hit[pairs[:, 0]] & self.second_hit[pairs[:, 1]])
        pairs, distances = pairs[is_news], distances[is_news]
        one, other = self.first[pairs[:, 0]], self.second[pairs[:, 1]]
        likenesses = likeness(one["thumbnail"], other["thumbnail"])
        is_duplicate = (likenesses >= MIN_LIKENESS) & (one["sha256"] != other["sha256"]).any(axis=1)
        pairs = pairs[is_duplicate]
        self.first_hit[pairs[:, 0]] = True
        self.second_hit[pairs[:, 1]] = True
        if len(pairs):
            self.found.append((pairs, distances[is_duplicate], likenesses[is_duplicate]))

    def result(self, max_pairs: int) -> NearDuplicates:
        empty = (np.zeros((0, 2), np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        pairs, distances, likenesses = map(np.concatenate, zip(empty, *self.found, strict=True))
        best = np.argsort(-likenesses, kind="stable")[:max_pairs]
        return NearDuplicates(self.first_hit, self.second_hit, pairs[best], distances[best], likenesses[best])


def _candidates(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows of both sets, and distances (P,), of pairs whose phash is near."""
    signs = _signs(second).T
    rows_at_once = max(1, _PAIRS_AT_ONCE // max(1, len(second)))
    for start in range(0, len(first), rows_at_once):
        # Of two rows of 64 signs that differ in d places the product is 64 - 2 d, exact in float32.
        products = _signs(first[start : start + rows_at_once]) @ signs
        rows, columns = np.nonzero(products >= _NUM_BITS - 2 * MAX_DISTANCE)
        distances = (_NUM_BITS - products[rows, columns].astype(np.int64)) // 2
        yield rows + start, columns, distances


def _signs(fingerprints: np.ndarray) -> np.ndarray:
    """Return the bits of each phash as -1 and 1, float32 (N, 64)."""
    return np.unpackbits(fingerprints["phash"], axis=1).astype(np.float32) * 2 - 1


def hash_crops(
    root: Path,
    paths: Sequence[str],
    *,
    cache: Path | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> HashedCrops:
    """Return the fingerprints of crops, reading those that are new or have changed.

    Args:
        root: Folder that the paths are relative to.
        paths: N different crops, files or members of tar shards.
        cache: Parquet file of fingerprints made before; it is read, and written every few thousand
            crops, so that a stopped run goes on where it was. ``None`` keeps nothing.
        num_workers: Threads; the number of cores when ``None``.
        show_progress: Whether to draw a progress bar.

    Returns:
        The fingerprints in the order of ``paths``. A crop that cannot be read is marked, a cache
        that cannot be used or written is noted; neither is an error.

    Raises:
        OptionError: ``num_workers`` below 1.
    """
    if num_workers is not None and num_workers < 1:
        raise OptionError("num_workers", f"is {num_workers}", "pass 1 or more")
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
            work.save_now_and_then()
    work.save()
    return HashedCrops(work.fingerprints, work.is_readable, tuple(work.notes))


class _Hashing:
    """One call of :func:`hash_crops`: what is known of each crop, and what the cache holds."""

    def __init__(self, root: Path, paths: list[str], cache: Path | None) -> None:
        self.root, self.paths, self.cache = root, paths, cache
        self.fingerprints = np.zeros(len(paths), FINGERPRINT)
        self.is_readable = np.zeros(len(paths), bool)
        self.notes: list[str] = []
        self.stamps = np.array([_stamp(root / path) for path in paths], np.int64).reshape(-1, 2)
        self.others = _empty_table()  # of the cache, about crops not asked for
        self.num_saved = self.num_new = 0

    def take_from_cache(self) -> list[int]:
        """Fill in what is known already; return the rows that are there and must be read."""
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
        is_there = self.stamps[:, 0] != _ABSENT[0]
        return np.flatnonzero(is_there & ~self.is_readable).tolist()

    def _read_cache(self) -> pa.Table:
        if self.cache is None or not self.cache.exists():
            return _empty_table()
        try:
            table = pq.read_table(self.cache, partitioning=None)
        except (pa.ArrowInvalid, OSError) as error:
            self.notes.append(f"{self.cache} cannot be read and is made anew ({error})")
            return _empty_table()
        is_current = (table.schema.metadata or {}).get(_VERSION_KEY) == _VERSION
        return table if is_current else _empty_table()

    def read(self, row: int) -> np.ndarray | None:
        """Read one crop; ``None`` where it cannot be, which the caller counts and names."""
        try:
            return fingerprint(read_stored_bytes(self.root / self.paths[row]))
        except ManifestError:
            return None

    def keep(self, row: int, found: np.ndarray | None) -> None:
        if found is not None:
            self.fingerprints[row] = found
            self.is_readable[row] = True
            self.num_new += 1

    def save_now_and_then(self) -> None:
        # The whole file is written each time: waiting in proportion keeps the sum of it small.
        if self.num_new >= max(_SAVE_AFTER, self.num_saved // 4):
            self.save()

    def save(self) -> None:
        """Write the cache, or note that it cannot be written and try no more."""
        if self.cache is None or self.num_new == 0:
            return
        rows = np.flatnonzero(self.is_readable)
        paths = pa.array([self.paths[row] for row in rows], pa.string())
        table = _to_table(paths, self.stamps[rows], self.fingerprints[rows])
        try:
            with atomic_path(self.cache) as temporary:
                pq.write_table(pa.concat_tables([self.others, table]), temporary)
        except OutputError as error:
            self.notes.append(f"the fingerprints of the crops are not kept ({error.cause})")
            self.cache = None
        self.num_saved, self.num_new = len(rows) + self.others.num_rows, 0


def _stamp(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of change in ns, of the tar shard for a member of one."""
    for place in (path, *path.parents):
        try:
            status = place.stat()
        except OSError:  # not there: what is, if anything, stands further up
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
