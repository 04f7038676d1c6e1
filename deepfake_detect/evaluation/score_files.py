"""Scores as files: of any tool, CSV or Parquet, and ours, so that anyone can recompute a result.

A row is one face of one frame. Columns: ``video_id``, ``dataset``, ``method``, ``label`` (1 = fake),
``frame_index``, ``fake_probability`` (0 to 1); if there, ``track_id`` (0 where absent),
``identity`` (the person seen), ``reason`` (why a row has no probability, such as ``no_face``).
Every further column can slice the results. **A video is dataset + method + video_id.** A row
without a probability is a video, or a face, that could not be scored: it counts in the coverage.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation.score_table import Coverage, ScoreTable
from deepfake_detect.files import atomic_path

SCORES_NAME = "scores.parquet"
_TEXT = ("video_id", "dataset", "method")
_NUMBERS = ("label", "frame_index", "fake_probability")
_REQUIRED = (*_TEXT, *_NUMBERS)
_KEY = b"deepfake_detect.scores"
_NO_PROBABILITY = "no fake_probability"
_NULLS = ["", "nan", "NaN", "NA", "N/A", "null", "NULL", "None"]


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """What a file of scores holds.

    Attributes:
        table: The scored faces.
        coverage: Which videos the file names, and which of them have no score.
        facts: What a file of ours says besides: ``name`` of the detector, ``threshold``,
            ``aggregation_rule``, ``aggregation_weights``; empty for other tools' files.
    """

    table: ScoreTable
    coverage: Coverage
    facts: dict[str, Any] = field(default_factory=dict)


def read_scores(path: str | os.PathLike[str]) -> ScoreFile:
    """Read scores of any tool.

    Args:
        path: ``.csv`` or ``.parquet``, or an evaluation's folder (its ``scores.parquet``).

    Returns:
        The scores. ``video_id`` of the table is ``dataset/method/video_id``, or the file's own where
        it begins like that already.

    Raises:
        ManifestError: The file is missing or unreadable, lacks a column, has no row or none with a
            probability, holds labels other than 0 and 1, probabilities outside 0 to 1, or labels
            that contradict one another within a video.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> _ = path.write_text(
        ...     "video_id,dataset,method,label,frame_index,fake_probability\\n"
        ...     "000,FF,youtube,0,0,0.1\\n000_003,FF,Deepfakes,1,0,0.9\\n001_870,FF,Deepfakes,1,0,\\n")
        >>> file = read_scores(path)
        >>> file.table.video_id.tolist(), file.coverage.unscored
        (['FF/youtube/000', 'FF/Deepfakes/000_003'], (('FF/Deepfakes/001_870', 'no fake_probability'),))
    """
    file = Path(path) / SCORES_NAME if Path(path).is_dir() else Path(path)
    rows = _read_rows(file)
    metadata = (rows.schema.metadata or {}).get(_KEY)
    columns = _check_columns(file, rows)
    if metadata is None:
        columns["video_id"] = _video_ids(columns)
    _check_labels_agree(file, columns)
    is_scored = ~np.isnan(columns["fake_probability"])
    if not is_scored.any():
        raise ManifestError(file, "not one row has a fake_probability", "score at least one face")
    table = _table(file, {name: column[is_scored] for name, column in columns.items()})
    if metadata is None:
        return ScoreFile(table, _coverage(columns, is_scored))
    facts = json.loads(metadata)
    return ScoreFile(table, Coverage.from_json(facts.pop("coverage")), facts)


def write_scores(
    path: str | os.PathLike[str], table: ScoreTable, coverage: Coverage, *, facts: dict[str, Any]
) -> None:
    """Write scores as Parquet, atomically; :func:`read_scores` gives them back.

    Args:
        path: File to write.
        table: A row per scored face; its details are columns too.
        coverage: Kept in the file's metadata.
        facts: As in :class:`ScoreFile`.
    """
    columns = table.columns()
    columns.setdefault("dataset", np.full(len(table.label), "unknown"))
    first = (*_REQUIRED, "track_id")
    ordered = {name: columns[name] for name in first}
    ordered |= {name: column for name, column in columns.items() if name not in first}
    metadata = {_KEY: json.dumps({**facts, "coverage": coverage.to_json()}).encode()}
    rows = pa.table({name: pa.array(column.tolist()) for name, column in ordered.items()})
    with atomic_path(path) as temporary:
        pq.write_table(rows.replace_schema_metadata(metadata), temporary)


def _read_rows(file: Path) -> pa.Table:
    if not file.is_file():
        raise ManifestError(file, "there is no such file of scores", "pass a CSV or Parquet file")
    try:
        if file.suffix.lower() == ".parquet":
            return pq.read_table(file)
        options = pyarrow.csv.ConvertOptions(
            # Names such as 003 are text, whatever they look like.
            column_types={
                **dict.fromkeys((*_TEXT, "identity", "reason", "path"), pa.string()),
                **dict.fromkeys((*_NUMBERS, "track_id"), pa.float64()),
            },
            null_values=_NULLS,
            strings_can_be_null=True,
        )
        rows = pyarrow.csv.read_csv(file, convert_options=options)
        _ = rows.column_names  # a header that is no text is noticed only now
        return rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = "Parquet" if file.suffix.lower() == ".parquet" else "CSV"
        raise ManifestError(
            file, f"cannot be read as {kind} ({error})", f"the columns are {', '.join(_REQUIRED)}"
        ) from error


def _check_columns(file: Path, rows: pa.Table) -> dict[str, np.ndarray]:
    """Return every column as an array; nulls are None in text and NaN in numbers."""
    missing = [name for name in _REQUIRED if name not in rows.column_names]
    if missing:
        raise ManifestError(
            file, f"lacks the columns {', '.join(missing)}", f"it must have {', '.join(_REQUIRED)}"
        )
    if rows.num_rows == 0:
        raise ManifestError(file, "has no rows", "write a row per face")
    columns = {name: _array(rows[name]) for name in rows.column_names if not _is_nested(rows[name].type)}
    for name in _TEXT:
        if not all(isinstance(value, str) and value for value in columns[name]):
            raise ManifestError(file, f"column {name} holds empty or missing text", "name every row")
    for name in _NUMBERS:
        if columns[name].dtype == object:
            raise ManifestError(file, f"column {name} holds text", "write numbers")
        columns[name] = columns[name].astype(np.float64)
    if not np.isin(columns["label"], (0.0, 1.0)).all():
        raise ManifestError(
            file, "column label holds values other than 0 and 1", "write 0 for real and 1 for fake"
        )
    known = columns["fake_probability"][~np.isnan(columns["fake_probability"])]
    outside = known[(known < 0.0) | (known > 1.0)]
    if len(outside):
        raise ManifestError(
            file,
            f"{len(outside):,} values of fake_probability are outside 0 to 1, such as {outside[0]:.4g}",
            "write probabilities (the sigmoid of logits), and leave those empty that there are not",
        )
    return columns


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind))


def _array(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not is_number:
        return np.array([None if value is None else str(value) for value in column.to_pylist()], object)
    # Whole numbers with gaps become floats, whose gaps are NaN.
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values


def _video_ids(columns: dict[str, np.ndarray]) -> np.ndarray:
    keys = zip(columns["dataset"], columns["method"], columns["video_id"], strict=True)
    full = [
        name if name.startswith(f"{dataset}/{method}/") else f"{dataset}/{method}/{name}"
        for dataset, method, name in keys
    ]
    return np.array(full, dtype=object)


def _check_labels_agree(file: Path, columns: dict[str, np.ndarray]) -> None:
    ids, first_row, of_row = np.unique(
        columns["video_id"].astype(str), return_index=True, return_inverse=True
    )
    disagreeing = columns["label"] != columns["label"][first_row][of_row]
    if disagreeing.any():
        video = ids[of_row[disagreeing.argmax()]]
        raise ManifestError(
            file, f"video {video} is labelled real and fake", "a video is dataset + method + video_id"
        )


def _table(file: Path, columns: dict[str, np.ndarray]) -> ScoreTable:
    """Return the scored rows as a table."""
    track_id = columns.get("track_id", np.zeros(len(columns["label"])))
    own = {*_REQUIRED, "track_id"} - {"dataset"}
    return ScoreTable(
        video_id=columns["video_id"],
        method=columns["method"],
        label=columns["label"].astype(np.int64),
        track_id=_whole(file, "track_id", track_id),
        frame_index=_whole(file, "frame_index", columns["frame_index"]),
        fake_probability=columns["fake_probability"],
        details={name: column for name, column in columns.items() if name not in own},
    )


def _whole(file: Path, name: str, values: np.ndarray) -> np.ndarray:
    numbers = values.astype(np.float64) if values.dtype != object else np.full(len(values), np.nan)
    if not (numbers == np.round(numbers)).all():  # NaN fails too
        raise ManifestError(file, f"column {name} holds values that are no whole numbers", "count from 0")
    return numbers.astype(np.int64)


def _coverage(columns: dict[str, np.ndarray], is_scored: np.ndarray) -> Coverage:
    scored = set(columns["video_id"][is_scored].tolist())
    reasons = columns.get("reason", np.full(len(is_scored), None, dtype=object))
    unscored: dict[str, str] = {}
    for video, reason in zip(columns["video_id"][~is_scored], reasons[~is_scored], strict=True):
        if video not in scored:
            unscored.setdefault(video, reason if isinstance(reason, str) else _NO_PROBABILITY)
    return Coverage.of(len(scored), unscored, faces_unscored=int((~is_scored).sum()))
