"""Does a split leak into another? What a manifest's rows, and its pictures, say about it.

A detector is measured on what it has not seen. Between two splits nothing may be shared:

    videos                  frames of one video in both
    identities              a person in both: as target, or as the face put in (source), or one here
                            and the other there
    identical-crops         the same file in both
    near-duplicate-crops    the same picture in both, stored anew, resized or a little shifted

Who is the same person over several datasets is decided in :mod:`data.identities`. Rows without a
split, or with an empty one, belong to none and are only counted.

Videos, identities and paths are compared inside DuckDB, so millions of rows are no burden; crops are
read once (see :mod:`data.crop_hashes`). What training and evaluation refuse is in :mod:`data.leaks`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from deepfake_detect.data.crop_hashes import CACHE_NAME, hash_crops, is_flat, near_duplicates
from deepfake_detect.data.identities import identity_sql
from deepfake_detect.data.index import VideoIndex
from deepfake_detect.data.rows import Rows
from deepfake_detect.errors import ManifestError
from deepfake_detect.metrics import roc_auc
from deepfake_detect.records import FAKE, REAL

LeakKind = Literal["videos", "identities", "identical-crops", "near-duplicate-crops"]
LEAK_KINDS: tuple[LeakKind, ...] = get_args(LeakKind)
ID_KINDS: tuple[LeakKind, ...] = ("videos", "identities")
CROP_KINDS: tuple[LeakKind, ...] = ("identical-crops", "near-duplicate-crops")
# What names tell of: of identical crops those that are one file, by its path.
NAME_KINDS: tuple[LeakKind, ...] = (*ID_KINDS, "identical-crops")
MAX_EXAMPLES = 10
_MAX_PAIRS = 100
_SIZE_TELLS = 0.1
_USUAL_ORDER = ("train", "val", "test")
# An empty split is none, as CSVs and other tools write it.
_SPLIT = "nullif(split, '')"


@dataclass(frozen=True)
class LeakExample:
    """One thing that two splits share.

    Attributes:
        what: The video, the identity, or how alike two crops are.
        first, second: Where it stands in the first and the second split: a crop's path, or for an
            identity a video.
    """

    what: str
    first: str
    second: str


@dataclass(frozen=True)
class Overlap:
    """What two splits share of one kind.

    Attributes:
        kind: Of what is shared.
        first, second: The splits.
        count: Things shared: videos, identities, files, or crops of the second split that look
            like one of the first. 0 is as it should be.
        num_rows, num_videos: Rows and videos of both splits that are concerned.
        examples: Up to ``MAX_EXAMPLES``.
    """

    kind: LeakKind
    first: str
    second: str
    count: int = 0
    num_rows: int = 0
    num_videos: int = 0
    examples: tuple[LeakExample, ...] = ()

    def sentence(self) -> str:
        """Return it in one line, with the first example.

        Example:
            >>> example = LeakExample("DFDC/a", "0.png", "9.png")
            >>> Overlap("videos", "train", "val", 1, 9, 1, (example,)).sentence()
            'videos: train and val share 1 (rows: 9, videos: 1), such as DFDC/a (train: 0.png, val: 9.png)'
        """
        example = self.examples[0]
        return (
            f"{self.kind}: {self.first} and {self.second} share {self.count:,} "
            f"(rows: {self.num_rows:,}, videos: {self.num_videos:,}), such as {example.what} "
            f"({self.first}: {example.first}, {self.second}: {example.second})"
        )


@dataclass(frozen=True)
class Balance:
    """How many videos and rows a split has of a method and label; ``split`` is ``None`` for rows without."""

    split: str | None
    method: str | None
    label: int
    num_videos: int
    num_rows: int


@dataclass(frozen=True)
class SizeBalance:
    """The native sizes of a split's crops, in pixels of the frame.

    Attributes:
        split: ``None`` for the rows without.
        real, fake: 10th, 50th and 90th percentile; ``None`` where the class is absent.
        auc: Area under the ROC curve of the native size as a sign of fake: 0.5 where size says
            nothing, 1 where every fake is larger; ``None`` where a class is absent.
    """

    split: str | None
    real: tuple[int, int, int] | None
    fake: tuple[int, int, int] | None
    auc: float | None

    @property
    def tells_classes_apart(self) -> bool:
        """Whether a detector could live on size alone."""
        return self.auc is not None and abs(self.auc - 0.5) > _SIZE_TELLS


@dataclass(frozen=True)
class DuplicatePair:
    """Two crops of different splits that are the same file, or look alike.

    Attributes:
        kind: ``"identical-crops"`` or ``"near-duplicate-crops"``.
        first_split, second_split: Their splits.
        first_path, second_path: As the manifest has them.
        distance: Bits in which their perceptual hashes differ; ``None`` where features found the pair.
        likeness: 0 to 1, see :func:`data.crop_hashes.likeness`.
    """

    kind: LeakKind
    first_split: str
    second_split: str
    first_path: str
    second_path: str
    distance: int | None = None
    likeness: float = 1.0


@dataclass(frozen=True)
class CropFindings:
    """What comparing the pictures gave beside the overlaps.

    Attributes:
        num_crops: Different crops looked at.
        num_flat: Of them, those too even to be compared by looks.
        unreadable: Paths of those that could not be read.
        pairs: Duplicates across splits that can be read, up to 100 of each kind and pair of splits.
        num_label_conflicts: Pictures that occur, byte by byte, both as real and as fake.
        label_conflicts: Examples: (path of the real, path of the fake).
        notes: One line each on what went on beside that.
    """

    num_crops: int
    num_flat: int
    unreadable: tuple[str, ...]
    pairs: tuple[DuplicatePair, ...]
    num_label_conflicts: int
    label_conflicts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """What :func:`audit_rows` found.

    Attributes:
        path: The file.
        filters: Conditions that its rows were chosen by.
        num_rows, num_videos: Of the chosen rows.
        num_rows_without_split: Rows that belong to no split.
        splits: Splits in usual order.
        overlaps: One for each pair of splits and kind that was compared, in that order.
        balance: By split, method and label.
        sizes: By split; empty where native sizes are not known.
        crops: What comparing the pictures gave; ``None`` where it was not done.
        notes: One line each on what was not done.
    """

    path: str
    filters: tuple[str, ...]
    num_rows: int
    num_videos: int
    num_rows_without_split: int
    splits: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    balance: tuple[Balance, ...]
    sizes: tuple[SizeBalance, ...]
    crops: CropFindings | None
    notes: tuple[str, ...]

    @property
    def leaks(self) -> tuple[Overlap, ...]:
        """The overlaps that share something."""
        return tuple(overlap for overlap in self.overlaps if overlap.count)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as the JSON file holds them; ``leaks`` added."""
        return {**asdict(self), "leaks": [asdict(leak) for leak in self.leaks]}


def audit_rows(
    rows: Rows, *, compare_crops: bool = True, num_workers: int | None = None, show_progress: bool = True
) -> AuditReport:
    """Compare every pair of splits, and the classes within each.

    Args:
        rows: A manifest of crops, or an index of videos (which has no crops to compare).
        compare_crops: Whether to read and compare the crops too.
        num_workers: Threads that read crops; the number of cores when ``None``.
        show_progress: Whether to draw a progress bar.

    Returns:
        The report. Fingerprints of the crops are kept beside the manifest, so a second audit is quick.

    Raises:
        ManifestError: There is no row.
        OptionError: ``num_workers`` below 1.
    """
    counts = rows.query(
        "select count(*) as num_rows, count(distinct video_id) as num_videos, "
        f"count(*) filter ({_SPLIT} is null) as num_rows_without_split from rows"
    ).to_pylist()[0]
    if counts["num_rows"] == 0:
        raise ManifestError(rows.path, "holds no row to audit", "choose other rows")
    pairs = split_pairs(rows)
    notes = [] if pairs else ["there are not two splits to compare"]
    has_crops = not isinstance(rows, VideoIndex)
    if not has_crops:
        notes.append("this is an index of videos: there are no crops to compare")
    elif not compare_crops:
        notes.append("the crops were not compared, only names (identical-crops: by path alone)")
    overlaps = compare_names(rows, pairs, ID_KINDS if compare_crops or not has_crops else NAME_KINDS)
    crops = None
    if has_crops and compare_crops:
        of_crops, crops = compare_pictures(rows, pairs, num_workers, show_progress)
        overlaps += of_crops
    return AuditReport(
        path=str(rows.path),
        filters=rows.filters,
        splits=splits_of(rows),
        overlaps=_in_order(overlaps, pairs),
        balance=_balance(rows),
        sizes=_size_balance(rows) if "native_size" in rows.column_names else (),
        crops=crops,
        notes=tuple(notes),
        **counts,
    )


def split_pairs(rows: Rows) -> list[tuple[str, str]]:
    """Return every pair of the splits that occur, in usual order."""
    return list(combinations(splits_of(rows), 2))


def splits_of(rows: Rows) -> tuple[str, ...]:
    """Return the splits that occur, in usual order: train, val, test, then others by name."""
    sql = f"select distinct {_SPLIT} as split from rows where {_SPLIT} is not null"
    found = rows.query(sql)["split"].to_pylist()
    others = sorted(set(found) - set(_USUAL_ORDER))
    return tuple([split for split in _USUAL_ORDER if split in found] + others)


# What each kind compares, and where a shared one is shown to stand.
_KEYS: dict[str, tuple[str, ...]] = {
    "videos": ("video_id",),
    "identities": (identity_sql("target_id"), identity_sql("source_id")),
    "identical-crops": ("path",),
}
_PLACES = {"videos": "path", "identities": "video_id", "identical-crops": "video_id"}


def compare_names(rows: Rows, pairs: Sequence[tuple[str, str]], kinds: Collection[LeakKind]) -> list[Overlap]:
    """Return what pairs of splits share in names, an overlap for each pair and kind.

    Args:
        rows: Of crops or videos.
        pairs: Splits to compare.
        kinds: Of ``NAME_KINDS``.
    """
    return [overlap for kind in kinds for overlap in _compare_by(kind, rows, pairs)]


def _compare_by(kind: LeakKind, rows: Rows, pairs: Sequence[tuple[str, str]]) -> list[Overlap]:
    shared = rows.query(f"""
        with {_held_sql(kind)}
        select a.split as first, b.split as second, count(*) as count,
            list({{'what': a.key, 'first': a.place, 'second': b.place}} order by a.key)[:{MAX_EXAMPLES}]
                as examples
        from held a join held b on a.key = b.key and a.split <> b.split group by all""")
    found = {(row["first"], row["second"]): row for row in shared.to_pylist()}
    overlaps = []
    for pair in pairs:
        if pair not in found:
            overlaps.append(Overlap(kind, *pair))
            continue
        num_rows, num_videos = _count_concerned(rows, pair, kind)
        examples = tuple(LeakExample(**example) for example in found[pair]["examples"])
        overlaps.append(Overlap(kind, *pair, found[pair]["count"], num_rows, num_videos, examples))
    return overlaps


def _held_sql(kind: LeakKind) -> str:
    """Return the SQL of ``held``: which of the keys of several splits each holds, and a place where."""
    # Millions of keys, such as paths, are a burden as texts; those of one split drop out by hash alone.
    return f"""named as (
            select split, unnest([{", ".join(_KEYS[kind])}]) as key, {_PLACES[kind]} as place
            from rows where {_SPLIT} is not null
        ), several as (
            select hash(key) as hashed from named where key is not null
            group by all having min(split) <> max(split)
        ), held as (
            select split, key, min(place) as place from named
            where key is not null and hash(key) in (select hashed from several) group by all
        )"""


def _count_concerned(rows: Rows, pair: tuple[str, str], kind: LeakKind) -> tuple[int, int]:
    """Return how many rows and videos of two splits hold a key that both have."""
    splits = sql_literals(pair)
    is_shared = " or ".join(f"{key} in (select key from shared)" for key in _KEYS[kind])
    (counts,) = rows.query(f"""
        with {_held_sql(kind)}, shared as (
            select key from held where split in ({splits}) group by key having count(*) = 2
        )
        select count(*) as num_rows, count(distinct video_id) as num_videos
        from rows where split in ({splits}) and ({is_shared})""").to_pylist()
    return counts["num_rows"], counts["num_videos"]


def sql_literals(texts: Iterable[str]) -> str:
    """Return texts as SQL writes them, with commas between.

    Example:
        >>> sql_literals(["train", "Anna's"])
        "'train', 'Anna''s'"
    """
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def _in_order(overlaps: Sequence[Overlap], pairs: Sequence[tuple[str, str]]) -> tuple[Overlap, ...]:
    def position(overlap: Overlap) -> tuple[int, int]:
        return pairs.index((overlap.first, overlap.second)), LEAK_KINDS.index(overlap.kind)

    return tuple(sorted(overlaps, key=position))


def _balance(rows: Rows) -> tuple[Balance, ...]:
    counts = rows.query(
        f"select {_SPLIT} as split, method, label, count(distinct video_id) as num_videos, "
        "count(*) as num_rows from rows group by all order by split, label, method"
    )
    return tuple(Balance(**row) for row in counts.to_pylist())


def _size_balance(rows: Rows) -> tuple[SizeBalance, ...]:
    counts = rows.query(
        f"select {_SPLIT} as split, label, native_size, count(*) as num_rows from rows "
        "where native_size is not null group by all order by native_size"
    )
    of_split = counts["split"].to_pylist()
    found = []
    for split in [one for one in (*splits_of(rows), None) if one in of_split]:
        wanted = pa.array([value == split for value in of_split])
        labels, sizes, weights = (
            counts.filter(wanted)[name].to_numpy() for name in ("label", "native_size", "num_rows")
        )
        auc = roc_auc(labels, sizes, weights=weights)
        real, fake = (
            _percentiles(sizes[labels == label], weights[labels == label]) for label in (REAL, FAKE)
        )
        found.append(SizeBalance(split, real, fake, None if math.isnan(auc) else auc))
    return tuple(found)


def _percentiles(sizes: np.ndarray, counts: np.ndarray) -> tuple[int, int, int] | None:
    """Return the 10th, 50th and 90th percentile of rising sizes that occur ``counts`` times each."""
    if len(sizes) == 0:
        return None
    shares = np.cumsum(counts) / counts.sum()
    low, middle, high = sizes[np.searchsorted(shares, (0.1, 0.5, 0.9))].tolist()
    return low, middle, high


class _Crops:
    """The rows that have a split, with what their pictures hold.

    Attributes:
        contents: int64 (N,), a number for each row's stored bytes. A crop that cannot be read has a
            number of its own, C or above: all that is known of it is that it is the same in every
            row with its path.
        is_readable: bool (N,).
        fingerprints: ``FINGERPRINT`` (C,), by the number.
    """

    def __init__(self, rows: Rows, num_workers: int | None, show_progress: bool) -> None:
        table = rows.query(
            f"select path, split, label, video_id from rows where {_SPLIT} is not null "
            "order by file_row_number"
        )
        encoded = table["path"].combine_chunks().dictionary_encode()
        self.path_names = encoded.dictionary.to_pylist()
        self.path_codes = encoded.indices.to_numpy()
        self.splits = table["split"].combine_chunks().dictionary_encode()
        self.labels = table["label"].to_numpy()
        self.videos = table["video_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        hashed = hash_crops(
            rows.root,
            self.path_names,
            cache=rows.root / CACHE_NAME,
            num_workers=num_workers,
            show_progress=show_progress,
        )
        self.notes = hashed.notes
        self.unreadable = tuple(self.path_names[code] for code in np.flatnonzero(~hashed.is_readable))
        bytes_hashes = np.ascontiguousarray(hashed.fingerprints["sha256"]).view("V32").reshape(-1)
        _, first, of_path = np.unique(bytes_hashes, return_index=True, return_inverse=True)
        self.fingerprints = hashed.fingerprints[first]
        own_numbers = len(first) + np.arange(len(self.path_names))
        self.contents = np.where(hashed.is_readable, of_path.reshape(-1), own_numbers)[self.path_codes]
        self.is_readable = hashed.is_readable[self.path_codes]

    def rows_of(self, split: str) -> np.ndarray:
        """Return the rows of a split, int64."""
        code = self.splits.dictionary.to_pylist().index(split)
        return np.flatnonzero(self.splits.indices.to_numpy() == code)

    def path_in(self, rows: np.ndarray, content: int) -> str:
        """Return a path among the rows that holds a content."""
        row = rows[np.flatnonzero(self.contents[rows] == content)[0]]
        return str(self.path_names[self.path_codes[row]])

    def concerned(self, rows: np.ndarray) -> tuple[int, int]:
        """Return how many rows and videos these are."""
        return len(rows), len(np.unique(self.videos[rows]))


def compare_pictures(
    rows: Rows, pairs: Sequence[tuple[str, str]], num_workers: int | None, show_progress: bool
) -> tuple[list[Overlap], CropFindings]:
    """Read the crops that have a split; return an overlap for each pair and kind of ``CROP_KINDS``.

    Args:
        rows: A manifest of crops.
        pairs: Splits to compare.
        num_workers, show_progress: As for :func:`audit_rows`.
    """
    crops = _Crops(rows, num_workers, show_progress)
    readable = crops.contents[crops.is_readable]
    overlaps: list[Overlap] = []
    duplicates: list[DuplicatePair] = []
    for pair in pairs:
        for compare in (_identical, _near):
            overlap, found = compare(crops, *pair)
            overlaps.append(overlap)
            duplicates += found
    conflicts, examples = _label_conflicts(crops)
    return overlaps, CropFindings(
        num_crops=len(crops.path_names),
        num_flat=int(is_flat(crops.fingerprints[np.unique(readable)]).sum()),
        unreadable=crops.unreadable,
        pairs=tuple(duplicates),
        num_label_conflicts=conflicts,
        label_conflicts=examples,
        notes=crops.notes,
    )


def _identical(crops: _Crops, first: str, second: str) -> tuple[Overlap, list[DuplicatePair]]:
    kind: LeakKind = "identical-crops"
    ours, theirs = crops.rows_of(first), crops.rows_of(second)
    shared = np.intersect1d(crops.contents[ours], crops.contents[theirs])
    pairs = [
        DuplicatePair(kind, first, second, crops.path_in(ours, content), crops.path_in(theirs, content))
        for content in shared[:_MAX_PAIRS]
    ]
    examples = tuple(
        LeakExample("one picture", pair.first_path, pair.second_path) for pair in pairs[:MAX_EXAMPLES]
    )
    both = np.concatenate([ours, theirs])
    concerned = crops.concerned(both[np.isin(crops.contents[both], shared)])
    num_readable = int((shared < len(crops.fingerprints)).sum())  # they come first
    return Overlap(kind, first, second, len(shared), *concerned, examples), pairs[:num_readable]


def _near(crops: _Crops, first: str, second: str) -> tuple[Overlap, list[DuplicatePair]]:
    kind: LeakKind = "near-duplicate-crops"
    ours, theirs = (rows[crops.is_readable[rows]] for rows in map(crops.rows_of, (first, second)))
    contents = [np.unique(crops.contents[rows]) for rows in (ours, theirs)]
    found = near_duplicates(*(crops.fingerprints[these] for these in contents), max_pairs=_MAX_PAIRS)
    pairs = [
        DuplicatePair(
            kind,
            first,
            second,
            crops.path_in(ours, contents[0][one]),
            crops.path_in(theirs, contents[1][other]),
            int(distance),
            round(float(likeness), 4),
        )
        for (one, other), distance, likeness in zip(
            found.pairs, found.distances, found.likenesses, strict=True
        )
    ]
    examples = tuple(
        LeakExample(
            f"two {pair.distance} bits apart, likeness {pair.likeness:.3f}", pair.first_path, pair.second_path
        )
        for pair in pairs[:MAX_EXAMPLES]
    )
    hit = [these[hits] for these, hits in zip(contents, (found.first_hit, found.second_hit), strict=True)]
    concerned = [
        rows[np.isin(crops.contents[rows], these)] for rows, these in zip((ours, theirs), hit, strict=True)
    ]
    counts = crops.concerned(np.concatenate(concerned))
    return Overlap(kind, first, second, int(found.second_hit.sum()), *counts, examples), pairs


def _label_conflicts(crops: _Crops) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Return how many stored pictures are called both real and fake, and examples."""
    reals, fakes = (np.flatnonzero(crops.labels == label) for label in (REAL, FAKE))
    both = np.intersect1d(crops.contents[reals], crops.contents[fakes])
    examples = [
        (crops.path_in(reals, content), crops.path_in(fakes, content)) for content in both[:MAX_EXAMPLES]
    ]
    return len(both), tuple(examples)
