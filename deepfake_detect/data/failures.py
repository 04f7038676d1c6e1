"""Videos without crops: CSVs next to their manifest, from which coverage is computed.

    failures.csv    videos without a face, or that could not be read
    missing.csv     videos of the dataset that were not in the extracted folder

Those are the names next to ``manifest.parquet``; any other ``NAME.parquet`` has ``NAME.failures.csv``
and ``NAME.missing.csv``.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.manifest import MANIFEST_NAME, MANIFEST_SCHEMA
from deepfake_detect.data.rows import Rows, filter_table
from deepfake_detect.errors import ManifestError
from deepfake_detect.io.tables import decode_text, unescape_cell, write_csv
from deepfake_detect.records import DatasetVideo

NO_FACE = "no_face"
MISSING = "missing"
_FIRST_COLUMNS = ("dataset", "video_id", "method", "label", "split", "path", "reason", "message")
# Files of earlier versions lack the last three.
FAILURE_COLUMNS = (*_FIRST_COLUMNS, "compression", "target_id", "source_id")
# Lists of missing videos by earlier versions have only these.
_MISSING_COLUMNS = ("video_id", "split", "path")


def failures_path(manifest_path: Path) -> Path:
    """Return the path of a manifest's list of failures."""
    return _sibling(manifest_path, "failures.csv")


def missing_path(manifest_path: Path) -> Path:
    """Return the path of a manifest's list of videos that were not in the extracted folder."""
    return _sibling(manifest_path, "missing.csv")


def write_failures(path: str | os.PathLike[str], failures: Iterable[Mapping[str, Any]]) -> None:
    """Write failures (mappings with the keys ``FAILURE_COLUMNS``) atomically."""
    rows = ([failure.get(name) for name in FAILURE_COLUMNS] for failure in failures)
    write_csv(path, FAILURE_COLUMNS, rows)


def write_missing(path: str | os.PathLike[str], videos: Collection[DatasetVideo]) -> None:
    """Write absent videos, as failures of reason ``"missing"``, atomically; without any, delete the file."""
    if not videos:
        Path(path).unlink(missing_ok=True)  # the list of an earlier, less complete copy
        return
    rows = [
        {**{name: getattr(video, name, None) for name in FAILURE_COLUMNS}, "reason": MISSING}
        for video in videos
    ]
    write_failures(path, rows)


def read_failures(rows: Rows) -> list[dict[str, Any]]:
    """Return the failures and missing videos that pass the filters of rows.

    A column that failures lack (such as ``native_size``) is null: a filter on it keeps none of them.

    Args:
        rows: A manifest, or an index of videos, with any filters.

    Returns:
        Mappings with the keys ``FAILURE_COLUMNS``, each video once; empty if neither file exists.

    Raises:
        ManifestError: A file is damaged, or lacks a column.
    """
    failed = _read(failures_path(rows.path), _FIRST_COLUMNS)
    tried = {one["video_id"] for one in failed}
    absent = _read(missing_path(rows.path), _MISSING_COLUMNS)
    videos = failed + [{**one, "reason": MISSING} for one in absent if one["video_id"] not in tried]
    if not videos:
        return []
    # Filters may use any column of the file.
    further = [one for one in pq.read_schema(rows.path) if one.name not in MANIFEST_SCHEMA.names]
    own = [("reason", pa.string()), ("message", pa.string())]
    schema = pa.schema([*MANIFEST_SCHEMA, *own, *(one for one in further if one.name not in dict(own))])
    columns = {name: pa.nulls(len(videos), schema.field(name).type) for name in schema.names}
    for name in FAILURE_COLUMNS:
        values = pa.array([one.get(name) for one in videos], pa.string())
        try:
            columns[name] = values.cast(schema.field(name).type)
        except pa.ArrowInvalid as error:
            raise ManifestError(
                failures_path(rows.path), f"its {name} is damaged ({error})", "extract again"
            ) from error
    kept = filter_table(pa.table(columns, schema=schema), rows.filters)
    failures: list[dict[str, Any]] = kept.select(list(FAILURE_COLUMNS)).to_pylist()
    return failures


def _sibling(manifest_path: Path, name: str) -> Path:
    if manifest_path.name == MANIFEST_NAME:
        return manifest_path.with_name(name)
    return manifest_path.with_suffix(f".{name}")


def _read(path: Path, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the rows of a list with the required columns; empty text is ``None``."""
    if not path.exists():
        return []
    try:
        reader = csv.reader(io.StringIO(decode_text(path.read_bytes()), newline=""))
        lines = [cells for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(path, f"cannot be read ({error})", "extract again") from error
    header = lines[0] if lines else []
    if lacking := [name for name in columns if name not in header]:
        raise ManifestError(path, f"lacks the columns {', '.join(lacking)}", "extract again")
    if any(len(cells) != len(header) for cells in lines):
        raise ManifestError(path, f"has rows that do not have {len(header)} cells", "extract again")
    return [
        {name: unescape_cell(cell) or None for name, cell in zip(header, cells, strict=True)}
        for cells in lines[1:]
    ]
