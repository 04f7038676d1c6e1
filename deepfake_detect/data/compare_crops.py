"""Compare the splits of a manifest by their crops: the same file, or images that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_detect.data.audit_report import MAX_EXAMPLES, CropFindings, DuplicatePair, LeakExample, Overlap
from deepfake_detect.data.compare_names import SPLIT_SQL
from deepfake_detect.data.crop_hashes import CACHE_NAME, hash_crops
from deepfake_detect.data.fingerprints import is_flat, near_duplicates
from deepfake_detect.data.rows import Rows
from deepfake_detect.records import FAKE, REAL

_MAX_PAIRS = 100


class _Crops:
    """The N rows that have a split, with the C different contents of their crops."""

    def __init__(self, rows: Rows, num_workers: int | None, show_progress: bool) -> None:
        table = rows.query(
            f"select path, split, label, video_id from rows where {SPLIT_SQL} is not null "
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
        self.fingerprints = hashed.fingerprints[first]  # (C,)
        # (N,): a crop that cannot be read has its own number, which all rows with its path have in common.
        own_numbers = len(first) + np.arange(len(self.path_names))
        self.contents = np.where(hashed.is_readable, of_path.reshape(-1), own_numbers)[self.path_codes]
        self.is_readable = hashed.is_readable[self.path_codes]  # (N,)

    def rows_of(self, split: str) -> np.ndarray:
        code = self.splits.dictionary.to_pylist().index(split)
        return np.flatnonzero(self.splits.indices.to_numpy() == code)

    def path_of(self, content: int, rows: np.ndarray) -> str:
        row = rows[np.flatnonzero(self.contents[rows] == content)[0]]
        return str(self.path_names[self.path_codes[row]])

    def count(self, rows: np.ndarray) -> tuple[int, int]:
        return len(rows), len(np.unique(self.videos[rows]))


def compare_crops(
    rows: Rows, pairs: Sequence[tuple[str, str]], num_workers: int | None, show_progress: bool
) -> tuple[list[Overlap], CropFindings]:
    """Read the crops that have a split; return the overlaps of pairs of splits, and what else was found."""
    crops = _Crops(rows, num_workers, show_progress)
    readable = crops.contents[crops.is_readable]
    overlaps: list[Overlap] = []
    duplicates: list[DuplicatePair] = []
    for pair in pairs:
        for compare in (_identical, _near):
            overlap, found = compare(crops, *pair)
            overlaps.append(overlap)
            duplicates += found
    reals, fakes = (np.flatnonzero(crops.labels == label) for label in (REAL, FAKE))
    both = np.intersect1d(crops.contents[reals], crops.contents[fakes])
    examples = [(crops.path_of(one, reals), crops.path_of(one, fakes)) for one in both[:MAX_EXAMPLES]]
    return overlaps, CropFindings(
        num_crops=len(crops.path_names),
        num_flat=int(is_flat(crops.fingerprints[np.unique(readable)]).sum()),
        unreadable=crops.unreadable,
        pairs=tuple(duplicates),
        num_label_conflicts=len(both),
        label_conflicts=tuple(examples),
        notes=crops.notes,
    )


def _identical(crops: _Crops, first: str, second: str) -> tuple[Overlap, list[DuplicatePair]]:
    first_rows, second_rows = crops.rows_of(first), crops.rows_of(second)
    common = np.intersect1d(crops.contents[first_rows], crops.contents[second_rows])
    pairs = []
    for content in common[:_MAX_PAIRS]:
        paths = crops.path_of(content, first_rows), crops.path_of(content, second_rows)
        pairs.append(DuplicatePair("identical-crops", first, second, *paths))
    examples = tuple(
        LeakExample("one image", pair.first_path, pair.second_path) for pair in pairs[:MAX_EXAMPLES]
    )
    both = np.concatenate([first_rows, second_rows])
    counts = crops.count(both[np.isin(crops.contents[both], common)])
    num_readable = int((common < len(crops.fingerprints)).sum())  # they come first
    overlap = Overlap("identical-crops", first, second, len(common), *counts, examples)
    return overlap, pairs[:num_readable]


def _near(crops: _Crops, first: str, second: str) -> tuple[Overlap, list[DuplicatePair]]:
    rows = [rows[crops.is_readable[rows]] for rows in map(crops.rows_of, (first, second))]
    contents = [np.unique(crops.contents[one]) for one in rows]
    found = near_duplicates(*(crops.fingerprints[one] for one in contents), max_pairs=_MAX_PAIRS)
    pairs = [
        DuplicatePair(
            "near-duplicate-crops",
            first,
            second,
            crops.path_of(contents[0][one], rows[0]),
            crops.path_of(contents[1][other], rows[1]),
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
    hits = [one[is_hit] for one, is_hit in zip(contents, (found.first_hit, found.second_hit), strict=True)]
    affected = [one[np.isin(crops.contents[one], hit)] for one, hit in zip(rows, hits, strict=True)]
    counts = crops.count(np.concatenate(affected))
    num_hits = int(found.second_hit.sum())
    return Overlap("near-duplicate-crops", first, second, num_hits, *counts, examples), pairs
