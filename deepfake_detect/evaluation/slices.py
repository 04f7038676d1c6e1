"""Videos by the value of a column: whether a detector is as good on small faces as on large ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.score_table import ScoreTable, VideoSamples
from deepfake_detect.metrics import Interval

# Shown whenever the scores have them. Small faces and poor detections are where detectors fail first.
DEFAULT_SLICES = ("dataset", "compression", "codec", "native_size", "detection_score")
# Upper ends of the bins, excluded; the last bin has none.
_BIN_EDGES = {"native_size": (100.0, 200.0, 300.0), "detection_score": (0.9, 0.99, 0.999)}
# Numbers of more distinct values than this are cut at their quartiles.
_MOST_CATEGORIES = 12
# Of more texts the commonest are kept, and the others are one slice together.
_MOST_TEXTS = 50
UNKNOWN = "unknown"
OTHERS = "(others)"


@dataclass(frozen=True, eq=False)
class SliceResult:
    """The videos of one value of a column.

    Attributes:
        value: In words, such as ``"below 100"``.
        num_videos_real, num_videos_fake: Videos behind the numbers.
        metrics: An interval per name of ``METRIC_NAMES``, at video level.
    """

    value: str
    num_videos_real: int
    num_videos_fake: int
    metrics: dict[str, Interval]


def slice_columns(table: ScoreTable, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns to slice by: those asked for, and the default ones that tell videos apart.

    Raises:
        OptionError: A column asked for is not there.
    """
    check_slices(asked, table.columns())
    usual = [name for name in DEFAULT_SLICES if name in table.details and name not in asked]
    return (*dict.fromkeys(asked), *(name for name in usual if not _is_constant(table.details[name])))


def check_slices(asked: Collection[str], columns: Collection[str]) -> None:
    """Refuse to slice by what is not there.

    Raises:
        OptionError: A column asked for is none of the columns.
    """
    for name in asked:
        if name not in columns:
            raise OptionError(
                "slice", f"the scores have no column {name!r}", f"choose of: {', '.join(sorted(columns))}"
            )


def slice_of_videos(table: ScoreTable, videos: VideoSamples, column: str) -> tuple[np.ndarray, list[str]]:
    """Return the slice of each video, text (V,), and the slices in their order.

    Numbers are averaged over a video (median) and put into bins: fixed ones for ``native_size``
    (side of the crop in pixels of the frame: 100, 200, 300) and ``detection_score`` (0.9, 0.99,
    0.999), the quartiles of the videos for other columns of more than 12 values. Of text the video's
    first row counts; of more than 50 texts the commonest 49 are slices of their own.
    """
    values = table.columns()[column]
    if not _is_number(values):
        _, first_row = np.unique(videos.of_row, return_index=True)
        names = np.array([UNKNOWN if _is_missing(value) else str(value) for value in values[first_row]])
        return _commonest(names)
    medians = _medians(values.astype(np.float64), videos.of_row, len(videos.video_id))
    known = medians[~np.isnan(medians)]
    if column not in _BIN_EDGES and len(np.unique(known)) <= _MOST_CATEGORIES:
        names = np.array([UNKNOWN if np.isnan(value) else f"{value:g}" for value in medians])
        return names, [f"{value:g}" for value in np.unique(known)] + [UNKNOWN] * (len(known) < len(medians))
    edges = _BIN_EDGES.get(column) or tuple(np.unique(np.quantile(known, [0.25, 0.5, 0.75])).tolist())
    words = _words(edges)
    numbers = np.searchsorted(edges, np.nan_to_num(medians), side="right")
    names = np.where(np.isnan(medians), UNKNOWN, np.array(words)[numbers])
    present = set(names.tolist())
    return names, [name for name in (*words, UNKNOWN) if name in present]


def _commonest(names: np.ndarray) -> tuple[np.ndarray, list[str]]:
    found, times = np.unique(names, return_counts=True)
    if len(found) <= _MOST_TEXTS:
        return names, found.tolist()
    kept = sorted(found[np.argsort(-times, kind="stable")[: _MOST_TEXTS - 1]].tolist())
    return np.where(np.isin(names, kept), names, OTHERS), [*kept, OTHERS]


def _words(edges: tuple[float, ...]) -> list[str]:
    between = [f"{low:.4g} to {high:.4g}" for low, high in zip(edges, edges[1:], strict=False)]
    return [f"below {edges[0]:.4g}", *between, f"from {edges[-1]:.4g}"]


def _medians(values: np.ndarray, of_row: np.ndarray, num_videos: int) -> np.ndarray:
    order = np.argsort(of_row, kind="stable")
    parts = np.split(values[order], np.searchsorted(of_row[order], np.arange(1, num_videos)))
    known = [part[~np.isnan(part)] for part in parts]
    return np.array([np.median(part) if len(part) else np.nan for part in known])


def _is_number(values: np.ndarray) -> bool:
    return bool(np.issubdtype(values.dtype, np.number))


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value


def _is_constant(values: np.ndarray) -> bool:
    if _is_number(values):
        return len(np.unique(values[~np.isnan(values.astype(np.float64))])) < 2
    return len({None if _is_missing(value) else value for value in values}) < 2
