"""The index: one Parquet row per video of a dataset.

The file's metadata holds the layout that was read and how the splits were made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.manifest import (
    LATER_COLUMNS,
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    SEGMENTS,
    Manifest,
    read_manifest,
)
from deepfake_detect.data.rows import Rows, check_labels, read_schema
from deepfake_detect.errors import ManifestError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.io.plain import from_plain
from deepfake_detect.records import DatasetVideo

_ORIGIN_KEY = b"deepfake_detect.index"

INDEX_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),  # such as "FaceForensics++"
        ("method", pa.string()),  # forgery method, or the name of the pristine source
        ("video_id", pa.string()),  # dataset/method/compression/name: unique over all datasets
        ("label", pa.int8()),  # 1 = fake, 0 = real
        ("split", pa.string()),  # train, val, test, or null
        ("compression", pa.string()),  # such as "c23"; null where unknown
        ("target_id", pa.string()),  # identity whose body and scene are seen; null where unknown
        ("source_id", pa.string()),  # identity whose face was put in; null for a real
        ("path", pa.string()),  # absolute: a video, an image, or a folder of frames
        ("mask_path", pa.string()),  # absolute: video of the manipulated region; null where none
        ("fake_segments", SEGMENTS),  # forged stretches, [start, end] in seconds; null where not known
    ]
)
# Columns that older files lack: they are read as null.
_LATER_COLUMNS = ("fake_segments",)


@dataclass(frozen=True)
class IndexOrigin:
    """The dataset and the splits that an index was made from."""

    kinds: tuple[str, ...]  # names of the layouts read
    roots: tuple[str, ...]  # folders read
    split_policy: str  # see data.options.SplitOptions
    split_seed: int
    # Hash of every video's split, which identifies the division; of a merged index joined by "+".
    splits_sha256: str


class VideoIndex(Rows):
    """Rows of an index, with their origin."""

    schema = INDEX_SCHEMA
    later_columns = _LATER_COLUMNS

    def __init__(
        self,
        path: Path,
        origin: IndexOrigin,
        *,
        filters: tuple[str, ...] = (),
        numbers: np.ndarray | None = None,
    ) -> None:
        super().__init__(path, filters=filters, numbers=numbers)
        self.origin = origin

    def _with(self, filters: tuple[str, ...], numbers: np.ndarray) -> VideoIndex:
        return VideoIndex(self.path, self.origin, filters=filters, numbers=numbers)

    def videos(self) -> list[DatasetVideo]:
        """Return the rows as records."""
        rows = self.columns(INDEX_SCHEMA.names).to_pylist()
        for row in rows:
            row["path"] = Path(row["path"])
            row["mask_path"] = Path(row["mask_path"]) if row["mask_path"] else None
            segments = row["fake_segments"]
            row["fake_segments"] = None if segments is None else tuple((a, b) for a, b in segments)
        return [DatasetVideo(**row) for row in rows]


def write_index(
    path: str | os.PathLike[str], videos: Iterable[DatasetVideo], *, origin: IndexOrigin
) -> VideoIndex:
    """Write an index atomically, with absolute paths, and open it.

    Raises:
        OutputError: The file cannot be written.
    """
    table = pa.Table.from_pylist([_row(video) for video in videos], schema=INDEX_SCHEMA)
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(index_metadata(origin)), temporary)
    return read_index(path)


def index_metadata(origin: IndexOrigin) -> dict[bytes, bytes]:
    """Return the metadata of an index's file."""
    return {_ORIGIN_KEY: json.dumps(asdict(origin)).encode()}


def _row(video: DatasetVideo) -> dict[str, Any]:
    row = {name: getattr(video, name) for name in INDEX_SCHEMA.names}
    for name in ("path", "mask_path"):
        row[name] = None if row[name] is None else str(row[name].absolute())
    return row


def read_index(path: str | os.PathLike[str]) -> VideoIndex:
    """Open an index.

    Args:
        path: The Parquet file.

    Returns:
        Its rows, which are read on first use.

    Raises:
        ManifestError: The file is missing, damaged or not an index, or has labels other than 0 and 1.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "videos.parquet"
        >>> origin = IndexOrigin(("folder",), ("/data",), "auto", 0, "")
        >>> video = DatasetVideo("D", "D/real/a", "real", 0, None, None, None, None, Path("a.mp4"))
        >>> write_index(path, [video], origin=origin) is not None
        True
        >>> [video.video_id for video in read_index(path).videos()]
        ['D/real/a']
    """
    file = Path(path)
    schema = read_schema(file)
    stored = (schema.metadata or {}).get(_ORIGIN_KEY)
    required = [name for name in INDEX_SCHEMA.names if name not in _LATER_COLUMNS]
    missing = [name for name in required if name not in schema.names]
    if stored is None or missing:
        raise ManifestError(file, "is not an index of videos", "write one with index_dataset")
    try:
        index = VideoIndex(file, from_plain(IndexOrigin, json.loads(stored)))
    except (ValueError, RecursionError) as error:
        raise ManifestError(file, f"its origin cannot be read ({error})", "index again") from error
    check_labels(index)
    return index


def read_rows(path: str | os.PathLike[str]) -> Manifest | VideoIndex:
    """Open a manifest of crops or an index of videos.

    Args:
        path: The Parquet file, or a folder with ``manifest.parquet``.

    Raises:
        ManifestError: The file is missing, damaged, or neither of them.
    """
    file = Path(path)
    if file.is_dir() and (file / MANIFEST_NAME).is_file():
        return read_manifest(file)
    schema = read_schema(file)
    if _ORIGIN_KEY in (schema.metadata or {}):
        return read_index(file)
    if set(MANIFEST_SCHEMA.names) - {*schema.names, *LATER_COLUMNS}:
        raise ManifestError(
            file, "is neither a manifest of crops nor an index of videos", "pass a file this library wrote"
        )
    return read_manifest(file)
