"""Scores as files: of any tool, CSV or Parquet, and ours, so that anyone can recompute a result.

A row is one face of one frame. Columns: ``video_id``, ``dataset``, ``method``, ``label`` (1 = fake),
``frame_index``, ``fake_probability`` (0 to 1); if there, ``track_id`` (the person's number within the
video; without it there is no track level), ``identity`` (the person seen, over all videos),
``compression``, ``reason`` (why a row has no probability, such as ``no_face``). Every further column
can slice the results. A row without a probability is a video, or a face, that could not be scored: it
counts in the coverage.

**A video is dataset + method + video_id**, and its compression where the file has that column: its
identity is ``dataset/method/compression/video_id``, as in our own files, less what is not known. A
file in which every ``video_id`` begins with ``dataset/method/`` gives whole identities already.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation.score_table import Coverage, ScoreTable, UnscoredFace
from deepfake_detect.io.files import atomic_path

SCORES_NAME = "scores.parquet"
_TEXT = ("video_id", "dataset", "method")
_NUMBERS = ("label", "frame_index", "fake_probability")
_REQUIRED = (*_TEXT, *_NUMBERS)
_FURTHER_TEXT = ("identity", "compression", "reason", "path")
_KEY = b"deepfake_detect.scores"
_NO_PROBABILITY = "no fake_probability"
_NULLS = ["", "nan", "NaN", "NA", "N/A", "null", "NULL", "None"]
# Above it not every whole number is a float.
_MOST = 2**53


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """What a file of scores holds.

    Attributes:
        table: The scored faces.
        coverage: Which videos the file names, and which of them have no score.
        facts: What a file of ours says besides: ``name`` of the detector, ``threshold``,
            ``aggregation_rule``, ``aggregation_weights``, ``uncertain_band``, ``seen`` (which measured
            videos the detector knew), ``has_logits`` (whether the column ``logit`` is that of the
            probabilities before calibration); empty for other tools' files.
    """

    table: ScoreTable
    coverage: Coverage
    facts: dict[str, Any] = field(default_factory=dict)


def read_scores(path: str | os.PathLike[str]) -> ScoreFile:
    """Read scores of any tool.

    Args:
        path: ``.csv`` or ``.parquet``, or an evaluation's folder (its ``scores.parquet``).

    Returns:
        The scores. ``video_id`` of the table is the identity described above. The coverage of a
        filtered copy of our own file is that of its rows.

    Raises:
        ManifestError: The file is missing or unreadable, lacks a column or has one twice, has no row
            or none with a probability, holds labels other than 0 and 1, probabilities outside 0 to 1,
            rows that are equal throughout, or labels that contradict one another within a video.

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
    coverage = _coverage(columns, is_scored)
    if metadata is None:
        return ScoreFile(table, coverage)
    facts = json.loads(metadata)
    whole = Coverage.from_json(facts.pop("coverage"), rows=coverage.rows)
    # Rows that were filtered out since tell of nothing; a file of ours is trusted as a whole alone.
    is_whole = facts.pop("num_rows", rows.num_rows) == rows.num_rows
    is_whole = is_whole and whole.videos_scored == coverage.videos_scored
    return ScoreFile(table, whole if is_whole else coverage, facts)


def write_scores(
    path: str | os.PathLike[str], table: ScoreTable, coverage: Coverage, *, facts: dict[str, Any]
) -> None:
    """Write scores as Parquet, atomically; :func:`read_scores` gives them back.

    Args:
        path: File to write.
        table: A row per scored face; its details are columns too.
        coverage: Kept in the file's metadata; its ``rows`` follow the scored ones, with a ``reason``
            in place of a probability.
        facts: As in :class:`ScoreFile`.
    """
    columns = table.columns()
    columns.setdefault("dataset", np.full(len(table.label), "unknown"))
    first = (*_REQUIRED, "track_id")
    ordered = {name: columns[name] for name in first}
    ordered |= {name: column for name, column in columns.items() if name not in first}
    if not table.has_tracks:
        ordered.pop("track_id")
    values = _with_unscored({name: column.tolist() for name, column in ordered.items()}, coverage.rows)
    num_rows = len(table.label) + len(coverage.rows)
    metadata = {_KEY: json.dumps({**facts, "coverage": coverage.to_json(), "num_rows": num_rows}).encode()}
    rows = pa.table({name: pa.array(column) for name, column in values.items()})
    with atomic_path(path) as temporary:
        pq.write_table(rows.replace_schema_metadata(metadata), temporary)


def as_array(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as numbers, absent ones NaN, or as text, absent ones ``None``."""
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not is_number:
        return np.array([None if value is None else str(value) for value in column.to_pylist()], object)
    # Whole numbers with gaps become floats, whose gaps are NaN.
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values


def plain_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of one value a row: all but lists and the like."""
    return [one.name for one in schema if not pa.types.is_nested(one.type)]


def _with_unscored(columns: dict[str, list[Any]], unscored: Sequence[UnscoredFace]) -> dict[str, list[Any]]:
    """Return columns with the rows that have no probability after the others."""
    if not unscored:
        return columns
    columns.setdefault("reason", [None] * len(columns["label"]))
    after = {name: [getattr(one, name) for one in unscored] for name in asdict(unscored[0])}
    nothing: list[Any] = [None] * len(unscored)
    return {name: [*column, *after.get(name, nothing)] for name, column in columns.items()}


def _read_rows(file: Path) -> pa.Table:
    if not file.is_file():
        raise ManifestError(file, "there is no such file of scores", "pass a CSV or Parquet file")
    is_parquet = file.suffix.lower() == ".parquet"
    try:
        # Read from a stream, so that a folder's name (a=b) is no column.
        with open(file, "rb") as stream:
            rows = pq.read_table(stream) if is_parquet else _read_csv(stream)
        _ = rows.column_names  # a header that is no text is noticed only now
        return rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = "Parquet" if is_parquet else "CSV"
        if not is_parquet:
            _explain(file, str(error))
        raise ManifestError(
            file, f"cannot be read as {kind} ({error})", f"the columns are {', '.join(_REQUIRED)}"
        ) from error


def _read_csv(stream: Any) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(
        # Names such as 003 are text, whatever they look like.
        column_types={
            **dict.fromkeys((*_TEXT, *_FURTHER_TEXT), pa.string()),
            **dict.fromkeys((*_NUMBERS, "track_id"), pa.float64()),
        },
        null_values=_NULLS,
        strings_can_be_null=False,  # None and NA are names that a method may have
    )
    return pyarrow.csv.read_csv(stream, convert_options=options)


def _explain(file: Path, words: str) -> None:
    """Refuse a CSV in better words, where what the reader stumbled over is plain."""
    with open(file, newline="", encoding="utf-8-sig", errors="replace") as stream:
        header = next(csv.reader(stream), [])
    _refuse_other_separators(file, header)
    found = re.search(r"column #(\d+): .*invalid value '(.*?)'", words)
    if found is None:
        return
    name = header[int(found[1])]
    raise ManifestError(file, f"column {name} holds {found[2]!r}, which is no number", _remedy(name))


def _remedy(name: str) -> str:
    return "write 1 for fake and 0 for real" if name == "label" else "write numbers"


def _check_columns(file: Path, rows: pa.Table) -> dict[str, np.ndarray]:
    """Return every column that has a name as an array; nulls are None in text and NaN in numbers."""
    names = [name for name in rows.column_names if name]
    _check_names(file, names)
    if rows.num_rows == 0:
        raise ManifestError(file, "has no rows", "write a row per face")
    columns = {name: as_array(rows[name]) for name in plain_columns(rows.schema) if name}
    if pa.types.is_boolean(rows.schema.field("label").type):
        columns["label"] = as_array(rows["label"].cast(pa.int8()))
    for name in _TEXT:
        if name not in columns:
            raise ManifestError(file, f"column {name} holds lists", "write text")
        columns[name] = _as_text(columns[name])
        if not all(columns[name]):
            raise ManifestError(file, f"column {name} holds empty or missing text", "name every row")
    for name in ("identity", "compression"):
        if name in columns:
            columns[name] = _as_text(columns[name])
    for name in _NUMBERS:
        if name not in columns or columns[name].dtype == object:
            raise ManifestError(file, f"column {name} holds text", _remedy(name))
        columns[name] = columns[name].astype(np.float64)
    _check_values(file, columns["label"], columns["fake_probability"])
    return columns


def _check_names(file: Path, names: list[str]) -> None:
    _refuse_other_separators(file, names)
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise ManifestError(
            file, f"lacks the columns {', '.join(missing)}", f"it must have {', '.join(_REQUIRED)}"
        )
    for name in names:
        if names.count(name) > 1:
            raise ManifestError(file, f"has column {name} {names.count(name)} times", "leave one of them out")


def _refuse_other_separators(file: Path, names: list[str]) -> None:
    for sign, words in {";": "semicolons", "\t": "tabs"}.items():
        if len(names) == 1 and sign in names[0]:
            raise ManifestError(file, f"its columns are separated by {words}", "separate them by commas")


def _as_text(values: np.ndarray) -> np.ndarray:
    """Return text, ``None`` where there is none; whole numbers as they are counted."""
    if values.dtype == object:
        return np.array([value or None for value in values], dtype=object)
    return np.array([None if value != value else f"{value:.15g}" for value in values.tolist()], object)


def _check_values(file: Path, labels: np.ndarray, probabilities: np.ndarray) -> None:
    if not np.isin(labels, (0.0, 1.0)).all():
        raise ManifestError(
            file, "column label holds values other than 0 and 1", "write 0 for real and 1 for fake"
        )
    known = probabilities[~np.isnan(probabilities)]
    outside = known[(known < 0.0) | (known > 1.0)]
    if len(outside):
        raise ManifestError(
            file,
            f"{len(outside):,} values of fake_probability are outside 0 to 1, such as {outside[0]:.4g}",
            "write probabilities (the sigmoid of logits), and leave those empty that there are not",
        )


def _video_ids(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the identity of each row's video."""
    compressions = columns.get("compression", np.full(len(columns["label"]), None))
    keys = list(zip(columns["dataset"], columns["method"], compressions, columns["video_id"], strict=True))
    if all(name.startswith(f"{dataset}/{method}/") for dataset, method, _, name in keys):
        full = [name for *_, name in keys]
    else:
        full = ["/".join(_parts(*key)) for key in keys]
    # A slash within a name may make one identity of two videos: there it is written otherwise.
    videos = set(zip(full, keys, strict=True))
    times = Counter(identity for identity, _ in videos)
    names = {
        (identity, key): identity if times[identity] == 1 else "/".join(map(_escaped, _parts(*key)))
        for identity, key in videos
    }
    return np.array([names[one] for one in zip(full, keys, strict=True)], dtype=object)


def _parts(dataset: str, method: str, compression: str | None, name: str) -> tuple[str, ...]:
    if compression is None or name.startswith(f"{compression}/"):
        return dataset, method, name
    return dataset, method, compression, name


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")


def _check_labels_agree(file: Path, columns: dict[str, np.ndarray]) -> None:
    of_row = _numbers_of(columns["video_id"])
    _, first_row = np.unique(of_row, return_index=True)
    disagreeing = columns["label"] != columns["label"][first_row][of_row]
    if disagreeing.any():
        video = columns["video_id"][disagreeing.argmax()]
        raise ManifestError(
            file, f"video {video} is labeled real and fake", "a video is dataset + method + video_id"
        )


def _numbers_of(names: np.ndarray) -> np.ndarray:
    """Return the number of each name, from 0 in the order in which they come."""
    numbers: np.ndarray = pa.array(names, pa.string()).dictionary_encode().indices.to_numpy()
    return numbers


def _table(file: Path, columns: dict[str, np.ndarray]) -> ScoreTable:
    """Return the scored rows as a table."""
    own = {*_REQUIRED, "track_id"} - {"dataset"}
    frames = _whole(file, "frame_index", columns["frame_index"])
    has_tracks = "track_id" in columns
    tracks = _whole(file, "track_id", columns["track_id"]) if has_tracks else _numbered(file, columns, frames)
    return ScoreTable(
        video_id=columns["video_id"],
        method=columns["method"],
        label=columns["label"].astype(np.int64),
        track_id=tracks,
        frame_index=frames,
        fake_probability=columns["fake_probability"],
        details={name: column for name, column in columns.items() if name not in own},
        has_tracks=has_tracks,
    )


def _numbered(file: Path, columns: dict[str, np.ndarray], frames: np.ndarray) -> np.ndarray:
    """Number the faces of each frame, from 0 in the order of the file."""
    of_video = _numbers_of(columns["video_id"])
    order = np.lexsort((np.arange(len(frames)), frames, of_video))
    keys = np.stack([of_video, frames], axis=1)[order]
    is_first = np.append(True, (keys[1:] != keys[:-1]).any(axis=1))
    starts, of_frame = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    numbers = np.empty(len(frames), np.int64)
    numbers[order] = np.arange(len(frames)) - starts[of_frame]
    num_faces = np.bincount(of_frame)
    _refuse_duplicates(file, columns, order[num_faces[of_frame] > 1])
    return numbers


def _refuse_duplicates(file: Path, columns: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """Refuse rows that are equal in every column, among those given."""
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        values = tuple(str(column[row]) for column in columns.values())
        if values in seen:
            frame = f"{columns['frame_index'][row]:g}"
            raise ManifestError(
                file,
                f"holds duplicate rows, such as those of video {columns['video_id'][row]}, frame {frame}",
                "write each face once; a column track_id tells two faces of a frame apart",
            )
        seen.add(values)


def _whole(file: Path, name: str, values: np.ndarray) -> np.ndarray:
    numbers = values.astype(np.float64) if values.dtype != object else np.full(len(values), np.nan)
    # Written so that NaN fails too.
    if not ((numbers == np.round(numbers)) & (numbers >= 0.0) & (numbers < _MOST)).all():
        raise ManifestError(
            file, f"column {name} holds values that are no whole numbers from 0", "count from 0"
        )
    return numbers.astype(np.int64)


def _coverage(columns: dict[str, np.ndarray], is_scored: np.ndarray) -> Coverage:
    scored = set(columns["video_id"][is_scored].tolist())
    missing = np.flatnonzero(~is_scored)
    reasons = columns.get("reason", np.full(len(is_scored), None))
    rows = tuple(
        UnscoredFace(
            **{name: columns[name][row] for name in _TEXT},
            label=int(columns["label"][row]),
            frame_index=_frame(columns["frame_index"][row]),
            reason=reasons[row] if isinstance(reasons[row], str) else "",
        )
        for row in missing
    )
    unscored: dict[str, str] = {}
    for one in rows:
        if one.video_id not in scored:
            unscored.setdefault(one.video_id, one.reason or _NO_PROBABILITY)
    return Coverage.of(len(scored), unscored, faces_unscored=len(rows), rows=rows)


def _frame(number: float) -> int | None:
    return int(number) if 0.0 <= number < _MOST else None
