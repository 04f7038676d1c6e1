"""Manifests (or indexes) of several datasets into one, with only the rows asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_detect.data.failures import failures_path, read_failures, write_failures
from deepfake_detect.data.index import INDEX_SCHEMA, IndexOrigin, VideoIndex, index_metadata, read_rows
from deepfake_detect.data.manifest import MANIFEST_SCHEMA, Manifest, manifest_metadata
from deepfake_detect.data.rows import Rows
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.files import atomic_path


def merge_rows(
    inputs: Sequence[Rows],
    out: str | os.PathLike[str],
    *,
    sample: int | None = None,
    per: Sequence[str] = (),
    seed: int = 0,
) -> Manifest | VideoIndex:
    """Write the rows of several manifests, or of several indexes, into one file.

    Rows are copied a million at a time, so the inputs may be larger than memory. The crops of
    manifests stay where they are: their paths are rewritten relative to the new file.

    Args:
        inputs: From ``read_manifest``, ``read_index`` or ``read_rows``, filtered as wanted.
        out: The Parquet file to write; none of the inputs.
        sample: Videos drawn by lot, see :meth:`Rows.sample_videos`; all when ``None``.
        per: Columns whose values form the groups to draw from.
        seed: Of the lots.

    Returns:
        The new file, opened.

    Raises:
        OptionError: ``out`` is an input, or the options of the sample are not allowed.
        ManifestError: Manifests and indexes are mixed, crops were cut differently, or two inputs
            hold the same row.
    """
    target = Path(out)
    if any(one.path.resolve() == target.resolve() for one in inputs):
        raise OptionError("out", f"{target} is one of the inputs", "choose another file")
    schema = _common_schema(inputs)
    failures = [] if sample is not None else _failures(inputs)
    with atomic_path(target) as temporary:
        _write(temporary, inputs, temporary.parent, schema)
        rows = read_rows(temporary)
        _refuse_repeated(rows)
        if sample is not None:
            drawn = temporary.with_suffix(".drawn.parquet")
            try:
                # Paths are relative to the target's folder already, where the temporary file lies.
                _write(drawn, [rows.sample_videos(sample, per=per, seed=seed)], temporary.parent, schema)
                os.replace(drawn, temporary)
            finally:
                drawn.unlink(missing_ok=True)
    if isinstance(inputs[0], Manifest):
        write_failures(failures_path(target), failures)  # also an empty one, in place of an earlier file's
    return read_rows(target)


def _common_schema(inputs: Sequence[Rows]) -> pa.Schema:
    """Return the schema of the output, metadata included, or refuse inputs that do not go together."""
    manifests = [one for one in inputs if isinstance(one, Manifest)]
    indexes = [one for one in inputs if isinstance(one, VideoIndex)]
    if manifests and indexes:
        raise ManifestError(
            indexes[0].path, "is an index of videos among manifests of crops", "merge like with like"
        )
    if indexes:
        origins = [one.origin for one in indexes]
        seeds = {origin.split_seed for origin in origins}
        merged = IndexOrigin(
            kinds=tuple(kind for origin in origins for kind in origin.kinds),
            roots=tuple(root for origin in origins for root in origin.roots),
            split_policy="+".join(dict.fromkeys(origin.split_policy for origin in origins)),
            split_seed=min(seeds),
            splits_sha256="+".join(origin.splits_sha256 for origin in origins),
        )
        return INDEX_SCHEMA.with_metadata(index_metadata(merged))
    geometry = manifests[0].geometry
    for one in manifests[1:]:
        if one.geometry != geometry:
            raise ManifestError(
                one.path,
                f"its crops were cut with {one.geometry}, those of {manifests[0].path} with {geometry}",
                "extract one of them again with the options of the other",
            )
    codecs = {one.codec for one in manifests}
    return MANIFEST_SCHEMA.with_metadata(
        manifest_metadata(geometry, codecs.pop() if len(codecs) == 1 else None)
    )


def _write(path: Path, inputs: Sequence[Rows], folder: Path, schema: pa.Schema) -> None:
    """Write the inputs' rows one after the other; crops' paths become relative to ``folder``."""
    with pq.ParquetWriter(path, schema) as writer:
        for one in inputs:
            # Resolved, because ".." behind a link leads elsewhere than it reads.
            prefix = os.path.relpath(one.root.resolve(), folder.resolve())
            for table in one.chunks():
                if isinstance(one, Manifest) and prefix != ".":
                    table = _moved(table, prefix)
                writer.write_table(table.select(schema.names).cast(schema))


def _moved(table: pa.Table, prefix: str) -> pa.Table:
    """Put a folder before relative paths; absolute ones stay."""
    paths = table["path"]
    moved = pc.binary_join_element_wise(prefix, paths, os.sep)
    is_absolute = pc.starts_with(paths, os.sep)
    return table.set_column(table.column_names.index("path"), "path", pc.if_else(is_absolute, paths, moved))


def _refuse_repeated(rows: Rows) -> None:
    key = "video_id, frame_index, track_id" if isinstance(rows, Manifest) else "video_id"
    repeated = rows.query(
        f"select {key}, count(*) as n from rows group by {key} having count(*) > 1 order by {key} limit 1"
    )
    if repeated.num_rows:
        first = repeated.to_pylist()[0]
        raise ManifestError(
            first["video_id"], f"is in the inputs {first['n']} times", "leave one of the inputs out"
        )


def _failures(inputs: Sequence[Rows]) -> list[dict[str, Any]]:
    """Return which videos gave no crops; a sample has none, being drawn from those that did."""
    return [failure for one in inputs if isinstance(one, Manifest) for failure in read_failures(one)]
