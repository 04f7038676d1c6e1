"""The manifest: one Parquet row per face crop, from which training and evaluation read their crops.

The file's metadata holds how the crops were cut (:class:`records.CropGeometry`), so that a detector is
never applied to another geometry without an error, and how they are stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.rows import Rows, check_labels, read_schema
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.fetch import is_url
from deepfake_detect.io.files import atomic_path
from deepfake_detect.io.plain import from_plain
from deepfake_detect.records import CropGeometry

MANIFEST_NAME = "manifest.parquet"
ALL_SPLITS = "all"
_GEOMETRY_KEY = b"deepfake_detect.crop_geometry"
_CODEC_KEY = b"deepfake_detect.crop_codec"

# Stretches of a video, [start, end] in seconds.
SEGMENTS = pa.list_(pa.list_(pa.float64()))

MANIFEST_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),  # such as "FaceForensics++"
        ("video_id", pa.string()),  # dataset/method/compression/name: unique over all datasets
        ("method", pa.string()),  # forgery method, or the name of the pristine source
        ("label", pa.int8()),  # of the crop: 1 = fake, 0 = real
        ("split", pa.string()),  # train, val, test, or null where no official split has the video
        ("compression", pa.string()),  # such as "c23"; null where unknown
        ("target_id", pa.string()),  # identity whose body and scene are visible
        ("source_id", pa.string()),  # identity whose face was put in; null for a real
        ("frame_index", pa.int32()),  # presentation order, from 0
        ("time_seconds", pa.float64()),
        ("track_id", pa.int32()),  # the person's track within the video, from 0
        # Lists of variable length: older pyarrow (such as 20) cannot read nulls in lists of fixed length.
        ("box_xyxy", pa.list_(pa.float32())),  # 4 values, pixels of the frame; null when unknown
        ("landmarks_xy", pa.list_(pa.float32())),  # x0, y0, ... x4, y4; null when unknown
        ("detection_score", pa.float32()),  # 0 to 1; null when unknown
        ("path", pa.string()),  # of the crop, relative to the manifest's folder
        ("native_size", pa.int32()),  # side of the crop in pixels of the frame
        # How the person was chosen: mask, largest, all, already_cropped; null where unknown.
        ("person_choice", pa.string()),
        ("face_runtime", pa.string()),  # what found the face: torch, onnx; null where unknown
        # Forged stretches of the video; its crops outside of them are real. Null where not known.
        ("fake_segments", SEGMENTS),
    ]
)
# Columns that older files lack: they are read as null.
LATER_COLUMNS = ("person_choice", "face_runtime", "fake_segments")


class Manifest(Rows):
    """Rows of a manifest, with the geometry of their crops; the ``path`` column is relative to ``root``.

    The ``codec`` is how crops are stored: ``"png"``, or ``"jpeg-95"`` for quality 95; ``None`` if unknown.
    """

    schema = MANIFEST_SCHEMA
    later_columns = LATER_COLUMNS

    def __init__(
        self,
        path: Path,
        geometry: CropGeometry,
        *,
        codec: str | None = None,
        filters: tuple[str, ...] = (),
        numbers: np.ndarray | None = None,
    ) -> None:
        super().__init__(path, filters=filters, numbers=numbers)
        self.geometry = geometry
        self.codec = codec

    def _with(self, filters: tuple[str, ...], numbers: np.ndarray) -> Manifest:
        return Manifest(self.path, self.geometry, codec=self.codec, filters=filters, numbers=numbers)

    def split(self, name: str) -> Manifest:
        """Return the rows of one split; for ``"all"`` every row, including rows without a split.

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
                f"must be one of {', '.join([*found['split'].to_pylist(), ALL_SPLITS])}",
            )
        return chosen

    def video_ids_sha256(self) -> str:
        """Return a hash of the set of videos, which identifies the videos a detector was trained on."""
        videos = self.query("select distinct video_id from rows order by video_id")["video_id"]
        return hashlib.sha256("\n".join(videos.to_pylist()).encode()).hexdigest()


def rows_to_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return manifest rows (mappings from column name to value) as a table with the schema."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=MANIFEST_SCHEMA)


def with_later_columns(table: pa.Table) -> pa.Table:
    """Return a table with the ``LATER_COLUMNS`` that it lacks, null in every row."""
    for name in LATER_COLUMNS:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), MANIFEST_SCHEMA.field(name).type))
    return table.select([*(name for name in table.column_names if name not in LATER_COLUMNS), *LATER_COLUMNS])


def write_manifest(
    path: str | os.PathLike[str], table: pa.Table, *, geometry: CropGeometry, codec: str | None = None
) -> None:
    """Write a manifest atomically.

    Args:
        path: The Parquet file to write.
        table: Rows with the columns of ``MANIFEST_SCHEMA``; ``LATER_COLUMNS`` may be absent.
        geometry: How the crops were cut.
        codec: How they are stored, see :class:`Manifest`.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(path) as temporary:
        complete = with_later_columns(table).cast(MANIFEST_SCHEMA)
        pq.write_table(complete.replace_schema_metadata(manifest_metadata(geometry, codec)), temporary)


def manifest_metadata(geometry: CropGeometry, codec: str | None = None) -> dict[bytes, bytes]:
    """Return the metadata of a manifest's file."""
    metadata = {_GEOMETRY_KEY: json.dumps(geometry.to_dict()).encode()}
    return metadata if codec is None else {**metadata, _CODEC_KEY: codec.encode()}


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Open a manifest.

    Args:
        path: The Parquet file, or the folder that holds ``manifest.parquet``, or the URL of the file: it
            is then downloaded with its crops, see :func:`data.fetched.local_manifest`.

    Returns:
        The rows, which are read on first use, and the crop geometry.

    Raises:
        ManifestError: The file is missing, damaged, lacks columns, or has labels other than 0 and 1.
        FetchError: A URL cannot be downloaded.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_manifest(folder / "manifest.parquet", rows_to_table([]), geometry=CropGeometry())
        >>> read_manifest(folder).table.num_rows
        0
    """
    if is_url(path):
        from deepfake_detect.data.fetched import local_manifest  # which imports this module

        path = local_manifest(path)
    file = Path(path)
    if file.is_dir():
        file = file / MANIFEST_NAME
    schema = read_schema(file)
    required = [name for name in MANIFEST_SCHEMA.names if name not in LATER_COLUMNS]
    missing = [name for name in required if name not in schema.names]
    if missing:
        raise ManifestError(file, f"lacks the columns {', '.join(missing)}", "extract again")
    metadata = schema.metadata or {}
    if _GEOMETRY_KEY not in metadata:
        raise ManifestError(
            file, "does not state how its crops were cut", "write it with deepfake_detect.data.write_manifest"
        )
    try:
        geometry = from_plain(CropGeometry, json.loads(metadata[_GEOMETRY_KEY]))
        codec = metadata[_CODEC_KEY].decode() if _CODEC_KEY in metadata else None
    except (ValueError, RecursionError) as error:
        raise ManifestError(file, f"its crop geometry cannot be read ({error})", "extract again") from error
    manifest = Manifest(file, geometry, codec=codec)
    check_labels(manifest)
    return manifest
