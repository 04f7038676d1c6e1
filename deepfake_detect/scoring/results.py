"""A table with one row per clip, written as clips end; an interrupted run resumes from it.

A CSV file is appended to; each row is on disk before the next clip is waited for. A Parquet file
cannot be appended to: its rows go to a journal next to it (``.NAME.parquet.csv``) in the same way,
and the table is rewritten atomically after every 50 clips and at the end, when the journal is
removed. So the rows of finished clips survive whatever ends a run.

A clip that is scored again, because its file changed or because it failed, keeps its old row until
the new one is there; among rows with the same path the last one counts, and at the end of a run
there is one row per path.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from deepfake_detect.errors import DeepfakeDetectError, OptionError, OutputError
from deepfake_detect.io.files import atomic_path, make_folder, sha256_of_file
from deepfake_detect.io.tables import decode_text, escape_cell, unescape_cell
from deepfake_detect.records import ClipResult, Segment, modified_time
from deepfake_detect.scoring.clip_scorer import BatchItem
from deepfake_detect.scoring.options import ScoringOptions
from deepfake_detect.scoring.pipeline import Detector
from deepfake_detect.scoring.sources import STANDARD_INPUT, ClipSource

Row = dict[str, Any]
COLUMNS: dict[str, type] = {
    "path": str,
    "verdict": str,
    "fake_probability": float,
    "num_frames": int,
    "num_frames_scored": int,
    "num_people": int,
    "deciding_track": int,
    "peak_probability": float,
    "peak_time_seconds": float,
    "segments": str,
    "seconds": float,
    "error": str,
    "content_credentials": str,
    "sha256": str,
    "size_bytes": int,
    "modified_time": str,
    "detector": str,
    "detector_sha256": str,
    "settings": str,
}
"""Columns of the table. ``path`` is absolute, or the URL; times are seconds of the clip, ``seconds`` the
duration of scoring; ``error`` is empty for a scored clip, and most other columns are for a failed one."""
_SETTINGS = ("detector", "detector_sha256", "settings")
_PARQUET_EVERY = 50
_CONTROLS = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\U0010ffff]")


def run_settings(options: ScoringOptions, detector: Detector) -> dict[str, str]:
    """Return the columns that are the same in all rows of a table: the detector, and how it was used.

    Args:
        options: Of the run.
        detector: Loaded with them.
    """
    config = detector.config
    min_face = "a tenth of the frame" if options.min_face is None else f"{options.min_face:g} px"
    return {
        "detector": detector.name,
        "detector_sha256": detector.sha256 or "",
        "settings": f"frames={options.num_frames}, "
        f"aggregation={options.aggregation_rule or config.aggregation_rule}, min_face={min_face}, "
        f"allow_truncated={'yes' if options.allow_truncated else 'no'}"
        # Only where it differs: older tables, of before there was a choice, can be continued.
        f"{'' if options.segments == 'on' else ', segments=off'}"
        f"{'' if options.precision == 'fp32' else f', precision={options.precision}'}"
        f"{'' if options.fusion is None else f', fusion={options.fusion}'}",
    }


class ResultsTable:
    """A table of results on disk, locked by this process while it is open.

    Args:
        path: ``.csv`` or ``.parquet``, new or of an earlier run.
        settings: Of this run, see :func:`run_settings`.

    Raises:
        OptionError: Another suffix; or the rows there were made with another detector or settings.
        OutputError: The path cannot be written to, another process has locked it, or the file there is
            not a table of results.
    """

    def __init__(self, path: Path, settings: Mapping[str, str]) -> None:
        self._store = _store_of(path)
        self._settings = settings
        make_folder(path.parent)
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                path, "is being written by another run", "wait for it, or choose another file"
            ) from error
        try:
            self._rows = {row["path"]: row for row in self._store.read()}
            self._check_settings(path)
            self._store.write_all(self._rows.values())
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> ResultsTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._store.write_all(self._rows.values())
        finally:
            self._lock.release()

    def __len__(self) -> int:
        return len(self._rows)

    def needs(self, source: ClipSource, *, retry_failed: bool = False, files: Iterable[Path] = ()) -> bool:
        """Return whether a clip still has to be scored.

        That is if it has no row, if its file has changed since it was scored, if it failed and
        ``retry_failed`` is true, or if one of the ``files`` about it is missing. URLs are not
        checked for changes, and a file that is gone keeps its row.
        """
        try:
            return self._needs(source, retry_failed, files)
        except OSError:
            return True  # scoring it says what is wrong with its file

    def _needs(self, source: ClipSource, retry_failed: bool, files: Iterable[Path]) -> bool:
        row = self._rows.get(_key(source))
        if row is None or source.name == STANDARD_INPUT or (retry_failed and row["error"]):
            return True
        if source.path is not None and not os.path.isfile(source.path):
            return False
        if not row["error"] and not all(path.exists() for path in files):
            return True
        if source.path is None:
            return False
        if os.path.getsize(source.path) != row["size_bytes"]:
            return True
        if modified_time(source.path) == row["modified_time"]:
            return False
        return bool(sha256_of_file(source.path) != row["sha256"])

    def failure(self, source: ClipSource) -> DeepfakeDetectError | None:
        """Return why a clip that is not scored again has no result; ``None`` if it has one."""
        message = self._rows[_key(source)]["error"]
        if not message:
            return None
        return DeepfakeDetectError(
            source.name, f"failed before ({message})", "set `retry_failed` to try again"
        )

    def add(self, source: ClipSource, item: BatchItem) -> None:
        """Write the row of a clip; it is on disk when this returns."""
        row = {**_row(source, item), **self._settings}
        self._rows[row["path"]] = row
        self._store.append(row, self._rows)

    def _check_settings(self, path: Path) -> None:
        for row in self._rows.values():
            for name in _SETTINGS:
                if row[name] != self._settings[name]:
                    raise OptionError(
                        path,
                        f"was written with {name} {row[name]!r}; this run has {self._settings[name]!r}",
                        "write to another file, or use the same detector and options",
                    )


def _key(source: ClipSource) -> str:
    is_file = not source.is_url and source.name != STANDARD_INPUT
    return _printable(os.path.abspath(source.name) if is_file else source.name)


def _printable(text: str) -> str:
    """Return text that every table can hold and every terminal can show, as file names may not be."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _row(source: ClipSource, item: BatchItem) -> Row:
    row: Row = dict.fromkeys(COLUMNS)
    row |= {"path": _key(source), "seconds": round(item.seconds, 3)}
    row["error"] = None if item.error is None else _printable(str(item.error))
    row["content_credentials"] = item.credentials or None
    if item.file is not None:
        row |= vars(item.file)
    if item.result is not None:
        row |= _result_columns(item.result)
    return row


def _result_columns(result: ClipResult) -> Row:
    faces = [(face.fake_probability, frame.time_seconds) for frame in result.frames for face in frame.faces]
    probability, time_seconds = max(faces, default=(None, None))
    return {
        "verdict": result.verdict,
        "fake_probability": result.fake_probability,
        "num_frames": len(result.frames),
        "num_frames_scored": result.num_frames_scored,
        "num_people": len(result.tracks),
        "deciding_track": next((track.track_id for track in result.tracks if track.decides), None),
        "peak_probability": probability,
        "peak_time_seconds": time_seconds,
        "segments": "; ".join(map(_segment_cell, result.segments)) or None,
    }


def _segment_cell(segment: Segment) -> str:
    return f"track {segment.track_id}: {segment.start_seconds:.2f}-{segment.end_seconds:.2f}"


@dataclass
class _CsvStore:
    """Rows in a CSV file."""

    path: Path

    def read(self) -> list[Row]:
        """Return the rows; an incomplete last one is left out."""
        if not self.path.exists() or self.path.stat().st_size == 0:
            return []
        try:
            content = self.path.read_bytes()
            text = decode_text(content, errors="replace")
            if text.endswith("\n"):
                text = decode_text(content)  # an incomplete row may end within a letter, others may not
            header, *lines = list(csv.reader(io.StringIO(text, newline=""), strict=text.endswith("\n")))
            if header != list(COLUMNS):
                raise ValueError("its columns differ")
            complete = lines if text.endswith("\n") else lines[:-1]
            return [_parsed(line) for line in complete]
        except (ValueError, OSError, csv.Error) as error:
            raise _no_table(self.path, error) from error

    def write_all(self, rows: Iterable[Row]) -> None:
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(_lines([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]))

    def append(self, row: Row, rows: Mapping[str, Row]) -> None:
        try:
            with open(self.path, "ab") as file:
                file.write(_lines([[row[name] for name in COLUMNS]]))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                self.path, f"cannot be written ({error.strerror})", "free some space, and run again to resume"
            ) from error


@dataclass
class _ParquetStore:
    """Rows in a Parquet file, the latest of them in a journal next to it."""

    path: Path
    journal: _CsvStore
    num_waiting: int = 0

    def read(self) -> list[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = _schema()
        try:
            table = pq.read_table(self.path) if self.path.exists() else schema.empty_table()
            if not table.schema.equals(schema):
                raise ValueError("its columns differ")
        except (ValueError, OSError, pa.ArrowException) as error:
            raise _no_table(self.path, error) from error
        return [*table.to_pylist(), *self.journal.read()]

    def write_all(self, rows: Iterable[Row]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with atomic_path(self.path) as temporary:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema()), temporary)
        self.journal.path.unlink(missing_ok=True)
        self.num_waiting = 0

    def append(self, row: Row, rows: Mapping[str, Row]) -> None:
        self.num_waiting += 1
        if self.num_waiting >= _PARQUET_EVERY:
            self.write_all(rows.values())
            return
        if not self.journal.path.exists():
            self.journal.write_all([])
        self.journal.append(row, rows)


def _schema() -> Any:
    import pyarrow as pa  # here, since a CSV needs none

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])


def _store_of(path: Path) -> _CsvStore | _ParquetStore:
    if path.suffix == ".csv":
        return _CsvStore(path)
    if path.suffix == ".parquet":
        return _ParquetStore(path, _CsvStore(path.with_name(f".{path.name}.csv")))
    raise OptionError("results", f"is {str(path)!r}", "must end in .csv or .parquet")


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    return b"".join(map(_line, rows))


def _line(row: Iterable[Any]) -> bytes:
    text = io.StringIO(newline="")
    # The writer quotes only the characters of its own line end, and a name may hold either of both.
    csv.writer(text, lineterminator="\r\n").writerow(map(escape_cell, row))
    return text.getvalue().removesuffix("\r\n").encode("utf-8") + b"\n"


def _parsed(line: list[str]) -> Row:
    if len(line) != len(COLUMNS):
        raise ValueError(f"a row has {len(line)} values")
    parsers: dict[type, Callable[[str], Any]] = {str: unescape_cell, int: int, float: float}
    return {
        name: None if value == "" else parsers[kind](value)
        for (name, kind), value in zip(COLUMNS.items(), line, strict=True)
    }


def _no_table(path: Path, error: Exception) -> OutputError:
    return OutputError(path, f"is not a table of results ({error})", "write to another file")
