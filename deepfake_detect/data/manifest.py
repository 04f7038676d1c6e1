"""The manifest: one Parquet row per face crop, and the only way crops reach training or evaluation.

Beside the rows, the file's metadata tells how the crops were cut (:class:`records.CropGeometry`),
so that a detector trained on one geometry is not fed another in silence.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.rows import Rows
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.files import atomic_path
from deepfake_detect.records import CropGeometry

MANIFEST_NAME = "manifest.parquet"
ALL_SPLITS = "all"
_GEOMETRY_KEY = b"deepfake_detect.crop_geometry"

MANIFEST_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),  # such as "FaceForensics++"
        ("video_id", pa.string()),  # dataset/method/compression/name: unique over all datasets
        ("method", pa.string()),  # forgery method, or the name of the pristine source
        ("label", pa.int8()),  # 1 = fake, 0 = real
        ("split", pa.string()),  # train, val, test, or null where no official split has the video
        ("compression", pa.string()),  # such as "c23"; null where unknown
        ("target_id", pa.string()),  # identity whose body and scene are seen
        ("source_id", pa.string()),  # identity whose face was put in; null for a real
        ("frame_index", pa.int32()),  # presentation order, from 0
        ("time_seconds", pa.float64()),
        ("track_id", pa.int32()),  # the person's track within the video, from 0
        # Lists of free length: older pyarrow (20, say) cannot read back nulls among lists of fixed length.
        ("box_xyxy", pa.list_(pa.float32())),  # 4 values, pixels of the frame; null when unknown
        ("landmarks_xy", pa.list_(pa.float32())),  # x0, y0, ... x4, y4; null when unknown
        ("detection_score", pa.float32()),  # 0 to 1; null when unknown
        ("path", pa.string()),  # of the crop, relative to the manifest's folder
        ("native_size", pa.int32()),  # side of the crop in pixels of the frame
    ]
)


class Manifest(Rows):
    """Rows of a manifest, with how their crops were cut; the ``path`` column is relative to ``root``.

    Args:
        path: The Parquet file.
        geometry: How the crops were cut.
        filters, sample: As for :class:`Rows`.
    """

    def __init__(
        self,
        path: Path,
        geometry: CropGeometry,
        *,
        filters: tuple[str, ...] = (),
        sample: np.ndarray | None = None,
    ) -> None:
        super().__init__(path, filters=filters, sample=sample)
        self.geometry = geometry

    def _with(self, *, filters: tuple[str, ...], sample: np.ndarray | None) -> Manifest:
        return Manifest(self.path, self.geometry, filters=filters, sample=sample)

    def split(self, name: str) -> Manifest:
        """Return the rows of one split, or of every one for ``"all"``, rows without a split included.

        Raises:
            OptionError: The split has no row.
        """
        if name == ALL_SPLITS and self.num_rows:
            return self
        quoted = name.replace("'", "''")
        chosen = self.where(f"split = '{quoted}'")
        if chosen.num_rows == 0:
            found = self.query("select distinct split from rows where split is not null order by split")
            raise OptionError(
                "split",
                f"the manifest in {self.root} has no row of split {name!r}",
                f"choose one of: {', '.join([*found['split'].to_pylist(), ALL_SPLITS])}",
            )
        return chosen

    def video_ids_sha256(self) -> str:
        """Return a hash of the set of videos, to tell later which videos a detector has seen."""
        videos = self.query("select distinct video_id from rows order by video_id")["video_id"]
        return hashlib.sha256("\n".join(videos.to_pylist()).encode()).hexdigest()


def rows_to_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return manifest rows (mappings of column name to value) as a table of the schema."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=MANIFEST_SCHEMA)


def write_manifest(path: str | os.PathLike[str], table: pa.Table, *, geometry: CropGeometry) -> None:
    """Write a manifest atomically.

    Args:
        path: The Parquet file to write.
        table: Rows with the columns of ``MANIFEST_SCHEMA``.
        geometry: How the crops were cut; kept in the file's metadata.
    """
    with atomic_path(path) as temporary:
        complete = table.cast(MANIFEST_SCHEMA).replace_schema_metadata(manifest_metadata(geometry))
        pq.write_table(complete, temporary)


def manifest_metadata(geometry: CropGeometry) -> dict[bytes, bytes]:
    """Return what the file of a manifest says beside its rows."""
    return {_GEOMETRY_KEY: json.dumps(asdict(geometry)).encode()}


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Args:
        path: The Parquet file, or the folder that holds ``manifest.parquet``.

    Returns:
        The rows, none of them read yet, and the crop geometry.

    Raises:
        ManifestError: The file is missing, damaged, or lacks columns.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_manifest(folder / "manifest.parquet", rows_to_table([]), geometry=CropGeometry())
        >>> read_manifest(folder).table.num_rows
        0
    """
    file = Path(path)
    if file.is_dir():
        file = file / MANIFEST_NAME
    if not file.is_file():
        raise ManifestError(file, "there is no such manifest", "pass the manifest.parquet of an extraction")
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise ManifestError(file, f"is not a readable Parquet file ({error})", "extract again") from error
    missing = [name for name in MANIFEST_SCHEMA.names if name not in schema.names]
    if missing:
        raise ManifestError(file, f"lacks the columns {', '.join(missing)}", "extract again")
    return Manifest(file, _read_geometry(file, schema))


def _read_geometry(file: Path, schema: pa.Schema) -> CropGeometry:
    stored = (schema.metadata or {}).get(_GEOMETRY_KEY)
    if stored is None:
        raise ManifestError(
            file, "does not say how its crops were cut", "write it with deepfake_detect.data.write_manifest"
        )
    try:
        return CropGeometry(**json.loads(stored))
    except (TypeError, ValueError) as error:
        raise ManifestError(file, f"its crop geometry cannot be read ({error})", "extract again") from error
