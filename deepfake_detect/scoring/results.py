"""A row a clip, written as clips end; a run that was ended goes on where it was.

A CSV file is appended to, each row on disk before the next clip is waited for. A Parquet file
cannot be appended to: its rows go to a journal beside it (``.NAME.parquet.csv``) in the same way,
and it is written anew, atomically, after every 50 clips and at the end, when the journal is
removed. So whatever ends a run, the rows of the clips that had ended are kept.

A clip that is judged again, because its file changed or because it failed, has its old row until
the new one is there; among rows of one path the last one counts, and at the end of a run there is
one row a path.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from deepfake_detect.errors import OptionError, OutputError
from deepfake_detect.io.files import atomic_path, make_folder, sha256_of_file
from deepfake_detect.models.bundled import BUNDLED_ONNX, bundled_detector
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.records import ClipResult
from deepfake_detect.scoring.clip_scorer import BatchItem, ScoringOptions, modified_time
from deepfake_detect.scoring.sources import STANDARD_INPUT, ClipSource

Row = dict[str, Any]
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("verdict", pa.string()),
        ("fake_probability", pa.float64()),
        ("num_frames", pa.int64()),
        ("num_frames_scored", pa.int64()),
        ("num_people", pa.int64()),
        ("deciding_track", pa.int64()),
        ("peak_probability", pa.float64()),
        ("peak_time_seconds", pa.float64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
        ("content_credentials", pa.string()),
        ("sha256", pa.string()),
        ("size_bytes", pa.int64()),
        ("modified_time", pa.string()),
        ("detector", pa.string()),
        ("detector_sha256", pa.string()),
        ("settings", pa.string()),
    ]
)
"""Columns of a table. ``path`` is absolute (an address as it is), times are seconds of the clip,
``seconds`` what judging took; ``error`` is empty for a clip that was judged, and nearly all else is
for one that was not."""
_SETTINGS = ("detector", "detector_sha256", "settings")
_PARQUET_EVERY = 50


def settings_of(options: ScoringOptions, config: DetectorConfig) -> dict[str, str]:
    """Return what all rows of a table have in common: a detector, and how it was used.

    Args:
        options: Of the run.
        config: Of its detector.
    """
    bundled = bundled_detector() if options.runtime == "torch" else bundled_detector(BUNDLED_ONNX)
    with nullcontext(Path(options.detector)) if options.detector else bundled as path:
        detector_sha256 = sha256_of_file(path)
    min_face = "a tenth of the frame" if options.min_face is None else f"{options.min_face:g} px"
    return {
        "detector": f"{config.name} {config.version}",
        "detector_sha256": detector_sha256,
        "settings": f"frames={options.num_frames}, "
        f"aggregation={options.aggregation_rule or config.aggregation_rule}, min_face={min_face}, "
        f"allow_truncated={'yes' if options.allow_truncated else 'no'}"
        # Tables of before there was a choice go on.
        f"{'' if options.precision == 'fp32' else f', precision={options.precision}'}",
    }


class ResultsTable:
    """A table of results on disk, held by this process while it is open.

    Args:
        path: ``.csv`` or ``.parquet``, new or of an earlier run.
        settings: Of this run, see :func:`settings_of`.

    Raises:
        OptionError: Another suffix; or the rows there were made with another detector or settings.
        OutputError: The place cannot be written to, another process holds it, or what is there is no
            table of results.
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
                path, "another run is writing to it", "wait for it, or choose another file"
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

    def needs(self, source: ClipSource, *, retry_failed: bool = False, leaves: Iterable[Path] = ()) -> bool:
        """Tell whether a clip is still to be judged.

        It is when it has no row, or its file has other bytes than those that were judged, or it
        failed and ``retry_failed``, or one of the files it ``leaves`` when it is judged is not
        there. What is behind an address is not looked at again for change, and a file that is gone
        keeps its row.
        """
        row = self._rows.get(_key(source))
        if row is None or source.name == STANDARD_INPUT or (retry_failed and row["error"]):
            return True
        if source.path is not None and not os.path.isfile(source.path):
            return False
        if not row["error"] and not all(path.exists() for path in leaves):
            return True
        if source.path is None:
            return False
        if os.path.getsize(source.path) != row["size_bytes"]:
            return True
        if modified_time(source.path) == row["modified_time"]:
            return False
        return bool(sha256_of_file(source.path) != row["sha256"])

    def add(self, result: BatchItem) -> None:
        """Write the row of a clip; it is on disk when this returns."""
        row = {**_row(result), **self._settings}
        self._rows[row["path"]] = row
        self._store.append(row, self._rows)

    def _check_settings(self, path: Path) -> None:
        for row in self._rows.values():
            for name in _SETTINGS:
                if row[name] != self._settings[name]:
                    raise OptionError(
                        path,
                        f"was made with {name} {row[name]!r}, and this run has {self._settings[name]!r}",
                        "write to another file, or use the same detector and options",
                    )


def _key(source: ClipSource) -> str:
    is_file = not source.is_address and source.name != STANDARD_INPUT
    return _printable(os.path.abspath(source.name) if is_file else source.name)


def _printable(text: str) -> str:
    """Return text that any encoding of tables can hold; a file name may have bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _row(result: BatchItem) -> Row:
    row: Row = dict.fromkeys(SCHEMA.names)
    row |= {"path": _key(result.source), "seconds": round(result.seconds, 3)}
    row["error"] = None if result.error is None else _printable(str(result.error))
    row["content_credentials"] = result.credentials or None
    if result.file is not None:
        row |= vars(result.file)
    if result.score is not None:
        row |= _judged(result.score)
    return row


def _judged(score: ClipResult) -> Row:
    faces = [(face.fake_probability, frame.time_seconds) for frame in score.frames for face in frame.faces]
    probability, time_seconds = max(faces, default=(None, None))
    return {
        "verdict": score.verdict,
        "fake_probability": score.fake_probability,
        "num_frames": len(score.frames),
        "num_frames_scored": score.num_frames_scored,
        "num_people": len(score.tracks),
        "deciding_track": next((track.track_id for track in score.tracks if track.decides), None),
        "peak_probability": probability,
        "peak_time_seconds": time_seconds,
    }


@dataclass
class _CsvStore:
    """Rows in a CSV file."""

    path: Path

    def read(self) -> list[Row]:
        """Return the rows; a last one that was not written to its end is left out."""
        if not self.path.exists() or self.path.stat().st_size == 0:
            return []
        try:
            content = self.path.read_bytes()
            text = content.decode("utf-8", "strict" if content.endswith(b"\n") else "replace")
            header, *lines = list(csv.reader(io.StringIO(text, newline=""), strict=text.endswith("\n")))
            if header != SCHEMA.names:
                raise ValueError("its columns are others")
            whole = lines if text.endswith("\n") else lines[:-1]
            return [_parsed(line) for line in whole]
        except (ValueError, OSError, csv.Error) as error:
            raise _no_table(self.path, error) from error

    def write_all(self, rows: Iterable[Row]) -> None:
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(_lines([SCHEMA.names, *([row[n] for n in SCHEMA.names] for row in rows)]))

    def append(self, row: Row, rows: Mapping[str, Row]) -> None:
        try:
            with open(self.path, "ab") as file:
                file.write(_lines([[row[name] for name in SCHEMA.names]]))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                self.path, f"cannot be written ({error.strerror})", "make room, and run again to go on"
            ) from error


@dataclass
class _ParquetStore:
    """Rows in a Parquet file, the latest of them in a journal beside it."""

    path: Path
    journal: _CsvStore
    num_waiting: int = 0

    def read(self) -> list[Row]:
        try:
            table = pq.read_table(self.path) if self.path.exists() else SCHEMA.empty_table()
            if not table.schema.equals(SCHEMA):
                raise ValueError("its columns are others")
        except (ValueError, OSError, pa.ArrowException) as error:
            raise _no_table(self.path, error) from error
        return [*table.to_pylist(), *self.journal.read()]

    def write_all(self, rows: Iterable[Row]) -> None:
        with atomic_path(self.path) as temporary:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), temporary)
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


def _store_of(path: Path) -> _CsvStore | _ParquetStore:
    if path.suffix == ".csv":
        return _CsvStore(path)
    if path.suffix == ".parquet":
        return _ParquetStore(path, _CsvStore(path.with_name(f".{path.name}.csv")))
    raise OptionError(
        "--results", f"{str(path)!r} is neither .csv nor .parquet", "give it one of these endings"
    )


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    return b"".join(map(_line, rows))


def _line(row: Iterable[Any]) -> bytes:
    text = io.StringIO(newline="")
    # The writer quotes the marks of its own line's end alone, and a name may hold either of both.
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n").encode("utf-8") + b"\n"


def _parsed(line: list[str]) -> Row:
    if len(line) != len(SCHEMA):
        raise ValueError(f"a row has {len(line)} values")
    kinds = {pa.string(): str, pa.int64(): int, pa.float64(): float}
    return {
        field.name: None if value == "" else kinds[field.type](value)
        for field, value in zip(SCHEMA, line, strict=True)
    }


def _no_table(path: Path, error: Exception) -> OutputError:
    return OutputError(path, f"is no table of results ({error})", "write to another file")
