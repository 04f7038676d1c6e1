"""Videos by the value of a column, such as the size of their faces."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.score_table import ScoreTable, VideoSamples
from deepfake_detect.metrics import Interval

# Shown whenever the scores have them. Detectors fail first on small faces and poor detections.
DEFAULT_SLICES = ("dataset", "compression", "codec", "native_size", "detection_score")
# Upper bounds of the bins, exclusive; the last bin has none.
_BIN_EDGES = {"native_size": (100.0, 200.0, 300.0), "detection_score": (0.9, 0.99, 0.999)}
# Columns with more distinct numbers than this are divided at their quartiles.
_MOST_CATEGORIES = 12
# Of more texts than this the most frequent are kept; the others form one slice.
_MOST_TEXTS = 50
UNKNOWN = "unknown"
OTHERS = "(others)"


@dataclass(frozen=True, eq=False)
class SliceResult:
    """The videos of one value of a column.

    Attributes:
        value: In words, such as ``"below 100"``.
        num_videos_real, num_videos_fake: Number of videos.
        metrics: An interval per metric, at video level.
    """

    value: str
    num_videos_real: int
    num_videos_fake: int
    metrics: dict[str, Interval]


def slice_columns(table: ScoreTable, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns to slice by: the requested ones, and the default ones with several values.

    Raises:
        OptionError: A requested column does not exist.
    """
    check_slices(requested, table.columns())
    default = [name for name in DEFAULT_SLICES if name in table.details and name not in requested]
    return (*dict.fromkeys(requested), *(name for name in default if not _is_constant(table.details[name])))


def check_slices(requested: Collection[str], columns: Collection[str]) -> None:
    """Check that the columns to slice by exist.

    Raises:
        OptionError: A requested column does not exist.
    """
    for name in requested:
        if name not in columns:
            raise OptionError("slice_by", f"is {name!r}", f"must be one of {', '.join(sorted(columns))}")


def slice_of_videos(table: ScoreTable, videos: VideoSamples, column: str) -> tuple[np.ndarray, list[str]]:
    """Return the slice of each video, text (V,), and the slices in their order.

    The median of the numbers of a video is binned: with fixed bounds for ``native_size`` (side of the
    crop in pixels of the frame: 100, 200, 300) and ``detection_score`` (0.9, 0.99, 0.999), at the
    quartiles of the videos for other columns of more than 12 values. For text the video's first row
    counts; of more than 50 texts the most frequent 49 have slices of their own.
    """
    values = table.columns()[column]
    if not _is_number(values):
        _, first_row = np.unique(videos.of_row, return_index=True)
        names = np.array([UNKNOWN if _is_missing(value) else str(value) for value in values[first_row]])
        found, times = np.unique(names, return_counts=True)
        if len(found) <= _MOST_TEXTS:
            return names, found.tolist()
        kept = sorted(found[np.argsort(-times, kind="stable")[: _MOST_TEXTS - 1]].tolist())
        return np.where(np.isin(names, kept), names, OTHERS), [*kept, OTHERS]
    order = np.argsort(videos.of_row, kind="stable")
    starts = np.searchsorted(videos.of_row[order], np.arange(1, len(videos.video_id)))
    parts = [part[~np.isnan(part)] for part in np.split(values[order].astype(np.float64), starts)]
    medians = np.array([np.median(part) if len(part) else np.nan for part in parts])
    known = medians[~np.isnan(medians)]
    if column not in _BIN_EDGES and len(np.unique(known)) <= _MOST_CATEGORIES:
        names = np.array([UNKNOWN if np.isnan(value) else f"{value:g}" for value in medians])
        return names, [f"{value:g}" for value in np.unique(known)] + [UNKNOWN] * (len(known) < len(medians))
    edges = _BIN_EDGES.get(column) or tuple(np.unique(np.quantile(known, [0.25, 0.5, 0.75])).tolist())
    between = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    words = [f"below {edges[0]:.4g}", *between, f"from {edges[-1]:.4g}"]
    numbers = np.searchsorted(edges, np.nan_to_num(medians), side="right")
    names = np.where(np.isnan(medians), UNKNOWN, np.array(words)[numbers])
    present = set(names.tolist())
    return names, [name for name in (*words, UNKNOWN) if name in present]


def _is_number(values: np.ndarray) -> bool:
    return bool(np.issubdtype(values.dtype, np.number))


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value


def _is_constant(values: np.ndarray) -> bool:
    if _is_number(values):
        return len(np.unique(values[~np.isnan(values.astype(np.float64))])) < 2
    return len({None if _is_missing(value) else value for value in values}) < 2
