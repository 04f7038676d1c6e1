"""Videos that gave no crops: a CSV beside their manifest, so that coverage can tell of them.

``manifest.parquet`` has ``failures.csv``; any other ``NAME.parquet`` has ``NAME.failures.csv``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepfake_detect.data.manifest import MANIFEST_NAME, MANIFEST_SCHEMA, Manifest
from deepfake_detect.data.rows import filter_table
from deepfake_detect.errors import ManifestError
from deepfake_detect.files import atomic_path

NO_FACE = "no_face"
_FIRST_COLUMNS = ("dataset", "video_id", "method", "label", "split", "path", "reason", "message")
# Files of earlier versions lack the last three.
FAILURE_COLUMNS = (*_FIRST_COLUMNS, "compression", "target_id", "source_id")


def failures_path(manifest_path: Path) -> Path:
    """Return where the failures of a manifest are written."""
    if manifest_path.name == MANIFEST_NAME:
        return manifest_path.with_name("failures.csv")
    return manifest_path.with_suffix(".failures.csv")


def write_failures(path: str | os.PathLike[str], failures: Iterable[Mapping[str, Any]]) -> None:
    """Write failures (mappings with the keys ``FAILURE_COLUMNS``) atomically."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=FAILURE_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(failures)


def read_failures(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the failures that the manifest's own filters keep.

    A column that failures do not have (such as ``native_size``) counts as absent: a filter on it
    keeps none of them.

    Args:
        manifest: Filtered as wanted.

    Returns:
        Mappings with the keys ``FAILURE_COLUMNS``; empty when there is no such file.

    Raises:
        ManifestError: The file lacks a column.
    """
    path = failures_path(manifest.path)
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _FIRST_COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise ManifestError(path, f"lacks the columns {', '.join(missing)}", "extract again")
        rows = [{key: value or None for key, value in row.items()} for row in reader]
    schema = pa.schema([*MANIFEST_SCHEMA, ("reason", pa.string()), ("message", pa.string())])
    columns = {
        name: pa.array([row.get(name) for row in rows], pa.string()).cast(schema.field(name).type)
        if name in FAILURE_COLUMNS
        else pa.nulls(len(rows), schema.field(name).type)
        for name in schema.names
    }
    kept = filter_table(pa.table(columns, schema=schema), manifest.filters)
    failures: list[dict[str, Any]] = kept.select(list(FAILURE_COLUMNS)).to_pylist()
    return failures
