"""Pack the crops of a manifest, byte for byte, into numbered tar shards with a new manifest.

    crops-000000.tar ...               <row>.png and <row>.json of each crop, in the manifest's order
    manifest.parquet, failures.csv     the same rows, with paths into the shards
    unreadable.csv                     crops that could not be read and are left out
    packing.json                       what is packed, so that an interrupted run can be resumed

Millions of small files are slow to copy and to read from a network disk; a few hundred tars are not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.failures import failures_path, read_failures, write_failures
from deepfake_detect.data.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    Manifest,
    manifest_metadata,
    read_manifest,
)
from deepfake_detect.data.options import PackOptions
from deepfake_detect.data.shards import (
    decode_image,
    read_stored_bytes,
    sample_members,
    shard_members,
    write_shard,
)
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.files import atomic_path, file_lock, make_folder, read_json, write_json
from deepfake_detect.io.tables import write_csv
from deepfake_detect.progress import progress_bar

_NO_SHARD = -1
_COLUMNS = ("path", "label", "video_id", "frame_index")


@dataclass(frozen=True)
class PackReport:
    """Result of :func:`pack_manifest`."""

    manifest: Manifest
    num_shards: int
    unreadable: tuple[str, ...]  # paths of crops that are left out, relative to the old manifest


def pack_manifest(
    manifest: str | os.PathLike[str] | Manifest,
    out: str | os.PathLike[str],
    *,
    shard_mb: float = PackOptions.shard_mb,
    show_progress: bool = True,
) -> PackReport:
    """Copy a manifest's crops into tar shards; an interrupted run resumes.

    Training and evaluation take the new manifest like any other, and WebDataset reads the shards. The
    shards depend only on the manifest and ``shard_mb``. A shard ends with the crop that reaches this size.

    Args:
        manifest: File, or rows with any filters; their crops may be files or in shards.
        out: Folder to write.
        shard_mb: Size of a shard in units of 2**20 bytes of crops, above 0.
        show_progress: Whether to show a progress bar.

    Returns:
        The new manifest, and the crops that are not in it.

    Raises:
        OptionError: ``shard_mb`` is not allowed, or ``out`` holds other shards.
        OutputError: ``out`` cannot be written.
        ManifestError: No crop can be read.

    Example:
        >>> pack_manifest("crops/manifest.parquet", "packed").num_shards  # doctest: +SKIP
        12
    """
    size = PackOptions(shard_mb).shard_mb
    rows = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    folder = make_folder(out)
    with file_lock(folder, what="packing"):
        _prepare_folder(folder, rows, size)
        crops = rows.columns(_COLUMNS)
        shard_of = np.full(len(crops), _NO_SHARD, np.int32)
        with progress_bar(enabled=show_progress) as progress:
            task = progress.add_task("crops", total=len(crops), note="")
            for number in _write_shards(rows, crops, folder, size, shard_of):
                progress.update(task, completed=int(np.flatnonzero(shard_of == number)[-1]) + 1)
        if not (shard_of >= 0).any():
            raise ManifestError(rows.path, "none of its crops can be read", "extract its videos again")
        unreadable = tuple(crops["path"].filter(pa.array(shard_of == _NO_SHARD)).to_pylist())
        _write_manifest(rows, folder, shard_of)
        write_csv(folder / "unreadable.csv", ["path"], ([name] for name in unreadable))
        write_failures(failures_path(folder / MANIFEST_NAME), read_failures(rows))
    return PackReport(read_manifest(folder), int(shard_of.max()) + 1, unreadable)


def _prepare_folder(out: Path, manifest: Manifest, shard_mb: float) -> None:
    """Record what is packed; raise if the folder holds other shards."""
    digest = hashlib.sha256()
    for chunk in manifest.chunks():
        for row in zip(*(chunk[name].to_pylist() for name in _COLUMNS), strict=True):
            digest.update(repr(row).encode())
    wanted = {"rows_sha256": digest.hexdigest(), "shard_mb": float(shard_mb)}
    path = out / "packing.json"
    if path.exists():
        if read_json(path) != wanted:
            raise OptionError(
                out, "contains shards of other rows or of another size", "choose another folder"
            )
    else:
        write_json(path, wanted)
    for leftover in [one for pattern in (".*.tar", ".*.parquet") for one in out.glob(pattern)]:
        leftover.unlink()  # a temporary file of an interrupted run


def _write_shards(
    manifest: Manifest, crops: pa.Table, out: Path, shard_mb: float, shard_of: np.ndarray
) -> Iterator[int]:
    """Write the absent shards; fill in ``shard_of``, and yield each shard's number."""
    row = 0
    for number in count():
        path = out / shard_name(number)
        if path.exists():
            rows = [int(Path(name).stem) for name in shard_members(path) if name.endswith(".json")]
        else:
            rows = []
            write_shard(path, _members(manifest, crops, row, int(shard_mb * 2**20), rows))
        if not rows:
            path.unlink()  # nothing was left to pack
            return
        shard_of[rows] = number
        row = rows[-1] + 1
        yield number


def shard_name(number: int) -> str:
    """Return the file name of a shard, such as ``crops-000007.tar``."""
    return f"crops-{number:06d}.tar"


def _members(
    manifest: Manifest, crops: pa.Table, first_row: int, limit: int, rows: list[int]
) -> Iterator[tuple[str, bytes]]:
    """Yield the members of the shard that starts with a row; append its rows to ``rows``."""
    size = 0
    for row in range(first_row, len(crops)):
        if size >= limit:
            return
        path = Path(crops["path"][row].as_py())
        data = _read_image(manifest.root / path)
        if data is None:
            continue
        fields: dict[str, Any] = {name: crops[name][row].as_py() for name in _COLUMNS if name != "path"}
        yield from sample_members(f"{row:09d}", path.suffix, data, **fields)
        rows.append(row)
        size += len(data)


def _read_image(path: Path) -> bytes | None:
    """Return the bytes of a crop; ``None`` if it cannot be read or is not an image."""
    try:
        data = read_stored_bytes(path)
    except ManifestError:
        return None  # listed in the report
    return None if decode_image(data) is None else data


def _write_manifest(manifest: Manifest, out: Path, shard_of: np.ndarray) -> None:
    schema = MANIFEST_SCHEMA.with_metadata(manifest_metadata(manifest.geometry, manifest.codec))
    start = 0
    with atomic_path(out / MANIFEST_NAME) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for chunk in manifest.chunks():
            shards = shard_of[start : start + len(chunk)]
            paths = [
                f"{shard_name(shard)}/{row:09d}{Path(path).suffix}"
                for row, (shard, path) in enumerate(
                    zip(shards, chunk["path"].to_pylist(), strict=True), start
                )
            ]
            moved = chunk.set_column(chunk.column_names.index("path"), "path", pa.array(paths, pa.string()))
            kept = moved.filter(pa.array(shards != _NO_SHARD))
            writer.write_table(kept.select(schema.names).cast(schema))
            start += len(chunk)
