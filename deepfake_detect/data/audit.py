"""Find leaks: what the splits of a manifest share but should not.

A detector must be measured on data that it was not trained on. Two splits must not share:

    videos                  frames of one video in both
    identities              a person in both: as target, as source (the face put in), or as target in
                            one and source in the other
    identical-crops         the same file in both
    near-duplicate-crops    the same image in both, encoded again, resized or shifted a little

:mod:`data.identities` defines which identities of several datasets are the same person. Rows whose
split is null or empty are counted but not compared. :mod:`data.leaks` defines which overlaps end
training and evaluation with an error.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from deepfake_detect.data.audit_report import (
    ID_KINDS,
    LEAK_KINDS,
    NAME_KINDS,
    AuditReport,
    Balance,
    SizeBalance,
)
from deepfake_detect.data.compare_crops import compare_crops
from deepfake_detect.data.compare_names import SPLIT_SQL, compare_names, split_pairs, splits_of
from deepfake_detect.data.index import VideoIndex
from deepfake_detect.data.rows import Rows
from deepfake_detect.errors import ManifestError
from deepfake_detect.metrics import roc_auc
from deepfake_detect.records import FAKE, REAL


def audit_rows(
    rows: Rows, *, compare_images: bool = True, num_workers: int | None = None, show_progress: bool = True
) -> AuditReport:
    """Compare every pair of splits, and the classes of each.

    Of a manifest the crops are compared too, unless ``compare_images`` is false; an index has none. Their
    fingerprints are stored next to the manifest, so a second audit is fast.

    Raises:
        ManifestError: There is no row.
        OptionError: ``num_workers`` is below 1.
    """
    counts = rows.query(
        "select count(*) as num_rows, count(distinct video_id) as num_videos, "
        f"count(*) filter ({SPLIT_SQL} is null) as num_rows_without_split from rows"
    ).to_pylist()[0]
    if counts["num_rows"] == 0:
        raise ManifestError(rows.path, "has no rows to audit", "choose other rows")
    pairs = split_pairs(rows)
    notes = [] if pairs else ["there are no two splits to compare"]
    is_index = isinstance(rows, VideoIndex)
    if is_index:
        notes.append("this is an index of videos: there are no crops to compare")
    elif not compare_images:
        notes.append("crops were not compared, only names (identical-crops: by path only)")
    overlaps = compare_names(rows, pairs, ID_KINDS if compare_images or is_index else NAME_KINDS)
    crops = None
    if compare_images and not is_index:
        of_crops, crops = compare_crops(rows, pairs, num_workers, show_progress)
        overlaps += of_crops
    overlaps.sort(key=lambda one: (pairs.index((one.first, one.second)), LEAK_KINDS.index(one.kind)))
    balance = rows.query(
        f"select {SPLIT_SQL} as split, method, label, count(distinct video_id) as num_videos, "
        "count(*) as num_rows from rows group by all order by split, label, method"
    )
    return AuditReport(
        path=str(rows.path),
        filters=rows.filters,
        splits=splits_of(rows),
        overlaps=tuple(overlaps),
        balance=tuple(Balance(**row) for row in balance.to_pylist()),
        sizes=_size_balance(rows) if "native_size" in rows.column_names else (),
        crops=crops,
        notes=tuple(notes),
        **counts,
    )


def _size_balance(rows: Rows) -> tuple[SizeBalance, ...]:
    counts = rows.query(
        f"select {SPLIT_SQL} as split, label, native_size, count(*) as num_rows from rows "
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
    """Return the 10th, 50th and 90th percentile of ascending sizes that occur ``counts`` times each."""
    if len(sizes) == 0:
        return None
    cumulative = np.cumsum(counts) / counts.sum()
    low, middle, high = sizes[np.searchsorted(cumulative, (0.1, 0.5, 0.9))].tolist()
    return low, middle, high
