"""The manifest: one Parquet row per face crop, and the only way crops reach training or evaluation.

Beside the rows, the file's metadata tells how the crops were cut (:class:`records.CropGeometry`),
so that a detector trained on one geometry is not fed another in silence.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

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


@dataclass(frozen=True, eq=False)
class Manifest:
    """Rows of a manifest and where their crops lie.

    Attributes:
        table: pyarrow table with the columns of ``MANIFEST_SCHEMA``.
        root: Folder that the ``path`` column is relative to.
        geometry: How the crops were cut.
    """

    table: pa.Table
    root: Path
    geometry: CropGeometry

    def split(self, name: str) -> Manifest:
        """Return the rows of one split, or of every one for ``"all"``, rows without a split included.

        Raises:
            OptionError: The split has no row.
        """
        if name == ALL_SPLITS and self.table.num_rows:
            return self
        table = self.table.filter(pc.equal(self.table["split"], name))
        if table.num_rows == 0:
            known = sorted(value for value in pc.unique(self.table["split"]).to_pylist() if value is not None)
            raise OptionError(
                "split",
                f"the manifest in {self.root} has no row of split {name!r}",
                f"choose one of: {', '.join([*known, ALL_SPLITS])}",
            )
        return Manifest(table, self.root, self.geometry)

    def column(self, name: str) -> np.ndarray:
        """Return one column as a numpy array (object dtype for text)."""
        values: np.ndarray = self.table[name].to_numpy(zero_copy_only=False)
        return values

    def video_ids_sha256(self) -> str:
        """Return a hash of the set of videos, to tell later which videos a detector has seen."""
        videos = sorted(set(self.table["video_id"].to_pylist()))
        return hashlib.sha256("\n".join(videos).encode()).hexdigest()


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
    metadata = {_GEOMETRY_KEY: json.dumps(asdict(geometry)).encode()}
    with atomic_path(path) as temporary:
        pq.write_table(table.cast(MANIFEST_SCHEMA).replace_schema_metadata(metadata), temporary)


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Args:
        path: The Parquet file, or the folder that holds ``manifest.parquet``.

    Returns:
        The rows, their folder and the crop geometry.

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
        table = pq.read_table(file, partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise ManifestError(file, f"is not a readable Parquet file ({error})", "extract again") from error
    missing = [name for name in MANIFEST_SCHEMA.names if name not in table.column_names]
    if missing:
        raise ManifestError(file, f"lacks the columns {', '.join(missing)}", "extract again")
    return Manifest(table, file.parent, _read_geometry(file, table.schema))


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
