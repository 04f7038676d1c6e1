"""Videos that gave no crops: CSVs beside their manifest, so that coverage can tell of them.

    failures.csv    videos without a face, or that could not be read
    missing.csv     videos that the dataset has and the extracted folder had not

Those are the names beside ``manifest.parquet``; any other ``NAME.parquet`` has
``NAME.failures.csv`` and ``NAME.missing.csv``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.manifest import MANIFEST_NAME, MANIFEST_SCHEMA
from deepfake_detect.data.rows import Rows, filter_table
from deepfake_detect.errors import ManifestError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.records import DatasetVideo

NO_FACE = "no_face"
MISSING = "missing"
_FIRST_COLUMNS = ("dataset", "video_id", "method", "label", "split", "path", "reason", "message")
# Files of earlier versions lack the last three.
FAILURE_COLUMNS = (*_FIRST_COLUMNS, "compression", "target_id", "source_id")
# All that the lists of missing videos of earlier versions hold.
_MISSING_COLUMNS = ("video_id", "split", "path")


def failures_path(manifest_path: Path) -> Path:
    """Return where the failures of a manifest are written."""
    return _beside(manifest_path, "failures.csv")


def missing_path(manifest_path: Path) -> Path:
    """Return where the videos are listed that the extracted folder had not."""
    return _beside(manifest_path, "missing.csv")


def write_failures(path: str | os.PathLike[str], failures: Iterable[Mapping[str, Any]]) -> None:
    """Write failures (mappings with the keys ``FAILURE_COLUMNS``) atomically."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=FAILURE_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(failures)


def write_missing(path: str | os.PathLike[str], videos: Iterable[DatasetVideo]) -> None:
    """Write videos that are not there, as failures of reason ``"missing"``, atomically."""
    rows = [
        {**{name: getattr(video, name, None) for name in FAILURE_COLUMNS}, "reason": MISSING}
        for video in videos
    ]
    write_failures(path, rows)


def read_failures(rows: Rows) -> list[dict[str, Any]]:
    """Return the failures and missing videos that the filters of rows keep.

    A column that failures do not have (such as ``native_size``) counts as absent: a filter on it
    keeps none of them.

    Args:
        rows: A manifest, or an index of videos, filtered as wanted.

    Returns:
        Mappings with the keys ``FAILURE_COLUMNS``, each video once; empty when there is no such file.

    Raises:
        ManifestError: A file lacks a column.
    """
    failed = _read(failures_path(rows.path), _FIRST_COLUMNS)
    tried = {one["video_id"] for one in failed}
    absent = _read(missing_path(rows.path), _MISSING_COLUMNS)
    videos = failed + [{**one, "reason": MISSING} for one in absent if one["video_id"] not in tried]
    if not videos:
        return []
    # Filters may name any column of the file.
    further = [one for one in pq.read_schema(rows.path) if one.name not in MANIFEST_SCHEMA.names]
    own = [("reason", pa.string()), ("message", pa.string())]
    schema = pa.schema([*MANIFEST_SCHEMA, *own, *(one for one in further if one.name not in dict(own))])
    columns = {
        name: pa.array([one.get(name) for one in videos], pa.string()).cast(schema.field(name).type)
        if name in FAILURE_COLUMNS
        else pa.nulls(len(videos), schema.field(name).type)
        for name in schema.names
    }
    kept = filter_table(pa.table(columns, schema=schema), rows.filters)
    failures: list[dict[str, Any]] = kept.select(list(FAILURE_COLUMNS)).to_pylist()
    return failures


def _beside(manifest_path: Path, name: str) -> Path:
    if manifest_path.name == MANIFEST_NAME:
        return manifest_path.with_name(name)
    return manifest_path.with_suffix(f".{name}")


def _read(path: Path, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the rows of a list, which must have some columns; empty text is ``None``."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in columns if name not in (reader.fieldnames or [])]
        if lacking:
            raise ManifestError(path, f"lacks the columns {', '.join(lacking)}", "extract again")
        return [{key: value or None for key, value in row.items()} for row in reader]
