"""Files of scores, CSV or Parquet: those of any tool, and those that an evaluation writes.

A row is one face of one frame. Columns: ``video_id``, ``dataset``, ``method``, ``label`` (1 = fake),
``frame_index`` and ``fake_probability`` (0 to 1); optional are ``track_id`` (number of the person within
the video; without it there is no track level), ``identity`` (the person, over all videos),
``compression`` and ``reason`` (why a row has no probability, such as ``no_face``). Results can be sliced
by every further column. A row without a probability is a video, or a face, that could not be scored; it
counts in the coverage.

**A video is dataset + method + video_id**, and its compression if the file has that column: its
identity is ``dataset/method/compression/video_id``, without the parts that are unknown. If every
``video_id`` of a file starts with ``dataset/method/``, they are identities already.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from deepfake_detect.errors import ManifestError
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.evaluation.score_table import Coverage, ScoreTable, UnscoredFace
from deepfake_detect.io.files import atomic_path
from deepfake_detect.io.plain import from_plain
from deepfake_detect.io.tables import decode_text, text_encoding, unescape_cell

SCORES_NAME = "scores.parquet"
_TEXT = ("video_id", "dataset", "method")
_NUMBERS = ("label", "frame_index", "fake_probability")
_REQUIRED = (*_TEXT, *_NUMBERS)
_FURTHER_TEXT = ("identity", "compression", "reason", "path")
_KEY = b"deepfake_detect.scores"
_NO_PROBABILITY = "no fake_probability"
_NULLS = ["", "nan", "NaN", "NA", "N/A", "null", "NULL", "None"]
# Above it not every integer is a float.
_MAX_INTEGER = 2**53
_FLOAT32_ROUNDING = 1e-6
_REMEDIES = {"label": "write 1 for fake and 0 for real"}


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """Content of a file of scores.

    Attributes:
        table: The scored faces.
        coverage: Which videos the file names, and which of them have no score.
        decision: How the scores become verdicts; the defaults for files of other tools.
    """

    table: ScoreTable
    coverage: Coverage
    decision: DecisionFacts


def read_scores(path: str | os.PathLike[str]) -> ScoreFile:
    r"""Read scores of any tool.

    Args:
        path: ``.csv`` or ``.parquet``, or the folder of an evaluation (its ``scores.parquet``).

    Returns:
        The scores. ``video_id`` of the table is the identity described above. The coverage of a
        filtered copy of an evaluation's file is that of its rows.

    Raises:
        ManifestError: The file is missing or unreadable, lacks a column or has one twice, has no row
            or none with a probability, has labels other than 0 and 1, probabilities outside 0 to 1,
            duplicate rows, or rows of one video that differ in the label.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> _ = path.write_text(
        ...     "video_id,dataset,method,label,frame_index,fake_probability\n"
        ...     "000,FF,youtube,0,0,0.1\n000_003,FF,Deepfakes,1,0,0.9\n001_870,FF,Deepfakes,1,0,\n")
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
    of_row = _codes(columns["video_id"])
    _, first_row = np.unique(of_row, return_index=True)
    disagreeing = columns["label"] != columns["label"][first_row][of_row]
    if disagreeing.any():
        cause = f"video {columns['video_id'][disagreeing.argmax()]} is labeled real and fake"
        raise ManifestError(file, cause, "a video is dataset + method + video_id")
    is_scored = ~np.isnan(columns["fake_probability"])
    if not is_scored.any():
        raise ManifestError(file, "no row has a fake_probability", "score at least one face")
    table = _table(file, {name: column[is_scored] for name, column in columns.items()})
    coverage = _coverage(columns, is_scored)
    if metadata is None:
        return ScoreFile(table, coverage, DecisionFacts(name=Path(path).stem))
    recorded, num_rows, decision = _read_metadata(file, metadata, coverage.rows)
    # The recorded coverage holds for the complete file only, not for a filtered copy.
    is_complete = num_rows in (None, len(rows)) and recorded.videos_scored == coverage.videos_scored
    return ScoreFile(table, recorded if is_complete else coverage, decision)


def _read_metadata(
    file: Path, metadata: bytes, rows: Sequence[UnscoredFace]
) -> tuple[Coverage, int | None, DecisionFacts]:
    """Return the coverage, number of rows and decision that an evaluation recorded."""
    try:
        facts = json.loads(metadata)
        recorded = Coverage.from_json(facts.pop("coverage"), rows=rows)
        return recorded, facts.pop("num_rows", None), from_plain(DecisionFacts, facts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ManifestError(file, f"its description cannot be read ({error})", "evaluate again") from error


def write_scores(
    path: str | os.PathLike[str], table: ScoreTable, coverage: Coverage, *, decision: DecisionFacts
) -> None:
    """Write scores as Parquet, atomically; :func:`read_scores` reads them.

    Details of the table are columns too; ``rows`` of the coverage follow the scored ones, with a
    ``reason`` instead of a probability. Coverage and decision are in the file's metadata.
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
    facts = {**asdict(decision), "coverage": coverage.to_json(), "num_rows": num_rows}
    metadata = {_KEY: json.dumps(facts).encode()}
    rows = pa.table({name: pa.array(column) for name, column in values.items()})
    with atomic_path(path) as temporary:
        pq.write_table(rows.replace_schema_metadata(metadata), temporary)


def as_array(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as numbers, nulls as NaN, or as text, nulls as ``None``."""
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not is_number:
        return np.array([None if value is None else str(value) for value in column.to_pylist()], object)
    # Integers with nulls become floats with NaN.
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values


def plain_columns(schema: pa.Schema) -> list[str]:
    """Return the columns with one value per row, not lists or structures."""
    return [one.name for one in schema if not pa.types.is_nested(one.type)]


def _with_unscored(columns: dict[str, list[Any]], unscored: Sequence[UnscoredFace]) -> dict[str, list[Any]]:
    """Return columns with the rows without a probability appended."""
    if not unscored:
        return columns
    columns.setdefault("reason", [None] * len(columns["label"]))
    appended = {name: [getattr(one, name) for one in unscored] for name in asdict(unscored[0])}
    nulls: list[Any] = [None] * len(unscored)
    return {name: [*column, *appended.get(name, nulls)] for name, column in columns.items()}


def _read_rows(file: Path) -> pa.Table:
    if not file.is_file():
        raise ManifestError(file, "there is no such file of scores", "pass a CSV or Parquet file")
    is_parquet = file.suffix.lower() == ".parquet"
    try:
        # From a stream: of a path, pyarrow makes folder names such as a=b a column.
        with open(file, "rb") as stream:
            rows = pq.read_table(stream) if is_parquet else _read_csv(_as_utf8(stream))
        _ = rows.column_names  # raises if the header is not text
        return rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = "Parquet" if is_parquet else "CSV"
        if not is_parquet:
            _explain_csv_error(file, str(error))
        raise ManifestError(
            file, f"cannot be read as {kind} ({error})", f"the columns are {', '.join(_REQUIRED)}"
        ) from error


def _as_utf8(stream: IO[bytes]) -> IO[bytes]:
    """Return a stream of text as UTF-8, which pyarrow reads; spreadsheets also write UTF-16."""
    encoding = text_encoding(stream.read(4))
    stream.seek(0)
    is_utf8 = encoding in ("utf-8", "utf-8-sig")
    return stream if is_utf8 else io.BytesIO(decode_text(stream.read()).encode())


def _read_csv(stream: IO[bytes]) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(
        # Names such as 003 are text, although they look like numbers.
        column_types={
            **dict.fromkeys((*_TEXT, *_FURTHER_TEXT), pa.string()),
            **dict.fromkeys((*_NUMBERS, "track_id"), pa.float64()),
        },
        null_values=_NULLS,
        strings_can_be_null=False,  # a method may be called None or NA
    )
    return pyarrow.csv.read_csv(stream, convert_options=options)


def _explain_csv_error(file: Path, message: str) -> None:
    """Raise a clearer error for the two common faults: other separators, and text among numbers."""
    with open(file, "rb") as stream:
        lines = decode_text(stream.read(2**16), errors="replace").splitlines()
    header = next(csv.reader(lines), [])
    _check_separators(file, header)
    found = re.search(r"column #(\d+): .*invalid value '(.*?)'", message)
    if found is None:
        return
    name = header[int(found[1])]
    cause = f"column {name} has {found[2]!r}, which is not a number"
    raise ManifestError(file, cause, _REMEDIES.get(name, "write numbers"))


def _check_columns(file: Path, rows: pa.Table) -> dict[str, np.ndarray]:
    """Return every named column as an array; nulls are None in text and NaN in numbers."""
    names = [name for name in rows.column_names if name]
    _check_names(file, names)
    if rows.num_rows == 0:
        raise ManifestError(file, "has no rows", "write a row per face")
    columns = {name: as_array(rows[name]) for name in plain_columns(rows.schema) if name}
    if pa.types.is_boolean(rows.schema.field("label").type):
        columns["label"] = as_array(rows["label"].cast(pa.int8()))
    for name in _TEXT:
        if name not in columns:
            raise ManifestError(file, f"column {name} has lists", "write text")
        columns[name] = _as_text(columns[name])
        if not all(columns[name]):
            raise ManifestError(file, f"column {name} has empty or missing text", "fill every row")
    for name in ("identity", "compression"):
        if name in columns:
            columns[name] = _as_text(columns[name])
    for name in _NUMBERS:
        if name not in columns or columns[name].dtype == object:
            raise ManifestError(file, f"column {name} has text", _REMEDIES.get(name, "write numbers"))
        columns[name] = columns[name].astype(np.float64)
    if not np.isin(columns["label"], (0.0, 1.0)).all():
        raise ManifestError(
            file, "column label has values other than 0 and 1", "write 0 for real and 1 for fake"
        )
    columns["fake_probability"] = _probabilities(file, columns["fake_probability"])
    return columns


def _check_names(file: Path, names: list[str]) -> None:
    _check_separators(file, names)
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise ManifestError(
            file, f"lacks the columns {', '.join(missing)}", f"it must have {', '.join(_REQUIRED)}"
        )
    for name in names:
        if names.count(name) > 1:
            raise ManifestError(file, f"has column {name} {names.count(name)} times", "drop one of them")


def _check_separators(file: Path, names: list[str]) -> None:
    for sign, words in {";": "semicolons", "\t": "tabs"}.items():
        if len(names) == 1 and sign in names[0]:
            raise ManifestError(file, f"has columns separated by {words}", "separate them by commas")


def _as_text(values: np.ndarray) -> np.ndarray:
    """Return text, ``None`` for empty text; numbers without trailing zeros."""
    if values.dtype == object:
        return np.array([unescape_cell(value) if value else None for value in values], dtype=object)
    return np.array([None if value != value else f"{value:.15g}" for value in values.tolist()], object)


def _probabilities(file: Path, values: np.ndarray) -> np.ndarray:
    """Return probabilities, those that float32 has rounded past 0 or 1 clipped with a warning."""
    outside = np.flatnonzero((values < 0.0) | (values > 1.0))
    if len(outside) == 0:
        return values
    worst = outside[np.abs(values[outside] - 0.5).argmax()]
    cause = (
        f"{len(outside):,} values of fake_probability are outside 0 to 1, such as "
        f"{float(values[worst])!r} in row {worst + 1:,} below the header"
    )
    if not -_FLOAT32_ROUNDING <= values[worst] <= 1.0 + _FLOAT32_ROUNDING:
        raise ManifestError(
            file, cause, "write probabilities (the sigmoid of logits), and leave missing ones empty"
        )
    warnings.warn(f"{file}: {cause}: rounded to float32, and clipped", stacklevel=4)
    clipped: np.ndarray = np.clip(values, 0.0, 1.0)
    return clipped


def _video_ids(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the identity of each row's video."""
    compressions = columns.get("compression", np.full(len(columns["label"]), None))
    keys = list(zip(columns["dataset"], columns["method"], compressions, columns["video_id"], strict=True))
    if all(name.startswith(f"{dataset}/{method}/") for dataset, method, _, name in keys):
        full = [name for *_, name in keys]
    else:
        full = ["/".join(_parts(*key)) for key in keys]
    # A slash within a name may give two videos one identity: escape it there.
    videos = set(zip(full, keys, strict=True))
    count = Counter(identity for identity, _ in videos)
    names = {
        (identity, key): identity
        if count[identity] == 1
        else "/".join(part.replace("%", "%25").replace("/", "%2F") for part in _parts(*key))
        for identity, key in videos
    }
    return np.array([names[one] for one in zip(full, keys, strict=True)], dtype=object)


def _parts(dataset: str, method: str, compression: str | None, name: str) -> tuple[str, ...]:
    if compression is None or name.startswith(f"{compression}/"):
        return dataset, method, name
    return dataset, method, compression, name


def _codes(names: np.ndarray) -> np.ndarray:
    """Return the index of each name in the order of first occurrence."""
    codes: np.ndarray = pa.array(names, pa.string()).dictionary_encode().indices.to_numpy()
    return codes


def _table(file: Path, columns: dict[str, np.ndarray]) -> ScoreTable:
    """Return the scored rows as a table."""
    own = {*_REQUIRED, "track_id"} - {"dataset"}
    frames = _integers(file, "frame_index", columns["frame_index"])
    has_tracks = "track_id" in columns
    if has_tracks:
        tracks = _integers(file, "track_id", columns["track_id"])
    else:
        tracks = _numbered_faces(file, columns, frames)
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


def _numbered_faces(file: Path, columns: dict[str, np.ndarray], frames: np.ndarray) -> np.ndarray:
    """Return the index of each face within its frame, in the order of the file, after a search for twins."""
    of_video = _codes(columns["video_id"])
    order = np.lexsort((np.arange(len(frames)), frames, of_video))
    keys = np.stack([of_video, frames], axis=1)[order]
    is_first = np.append(True, (keys[1:] != keys[:-1]).any(axis=1))
    starts, of_frame = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    numbers = np.empty(len(frames), np.int64)
    numbers[order] = np.arange(len(frames)) - starts[of_frame]
    num_faces = np.bincount(of_frame)
    seen: set[tuple[str, ...]] = set()
    for row in order[num_faces[of_frame] > 1]:
        values = tuple(str(column[row]) for column in columns.values())
        if values in seen:
            frame = f"{columns['frame_index'][row]:g}"
            raise ManifestError(
                file,
                f"has duplicate rows, such as those of video {columns['video_id'][row]}, frame {frame}",
                "write each face once; a column track_id distinguishes two faces of a frame",
            )
        seen.add(values)
    return numbers


def _integers(file: Path, name: str, values: np.ndarray) -> np.ndarray:
    numbers = values.astype(np.float64) if values.dtype != object else np.full(len(values), np.nan)
    # Written so that NaN fails too.
    if not ((numbers == np.round(numbers)) & (numbers >= 0.0) & (numbers < _MAX_INTEGER)).all():
        raise ManifestError(file, f"column {name} has values that are not integers from 0", "count from 0")
    return numbers.astype(np.int64)


def _coverage(columns: dict[str, np.ndarray], is_scored: np.ndarray) -> Coverage:
    scored = set(columns["video_id"][is_scored].tolist())
    missing = np.flatnonzero(~is_scored)
    reasons = columns.get("reason", np.full(len(is_scored), None))
    rows = tuple(
        UnscoredFace(
            **{name: columns[name][row] for name in _TEXT},
            label=int(columns["label"][row]),
            frame_index=int(frame) if 0.0 <= (frame := columns["frame_index"][row]) < _MAX_INTEGER else None,
            reason=reasons[row] if isinstance(reasons[row], str) else "",
        )
        for row in missing
    )
    unscored: dict[str, str] = {}
    for one in rows:
        if one.video_id not in scored:
            unscored.setdefault(one.video_id, one.reason or _NO_PROBABILITY)
    return Coverage.of(len(scored), unscored, faces_unscored=len(rows), rows=rows)
