"""Merge manifests (or indexes) of several datasets into one file, with selected rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_detect.data.failures import failures_path, read_failures, write_failures
from deepfake_detect.data.index import INDEX_SCHEMA, IndexOrigin, VideoIndex, index_metadata, read_rows
from deepfake_detect.data.manifest import MANIFEST_SCHEMA, Manifest, manifest_metadata
from deepfake_detect.data.options import MergeOptions
from deepfake_detect.data.rows import Rows
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.files import atomic_path


def merge_manifests(
    inputs: Sequence[str | os.PathLike[str] | Rows],
    out: str | os.PathLike[str],
    *,
    where: str | None = MergeOptions.where,
    sample: int | None = MergeOptions.sample,
    per: Sequence[str] = MergeOptions.per,
    seed: int = MergeOptions.seed,
) -> Manifest | VideoIndex:
    """Write the rows of several manifests, or of several indexes, to one file.

    Rows are copied a million at a time, so the inputs can be larger than memory. The crops of
    manifests are not moved: their paths are rewritten relative to the new file.

    Args:
        inputs: Files, or rows of ``read_manifest`` and ``read_index`` with any filters.
        out: The Parquet file to write; not one of the inputs.
        where: SQL condition on the rows to keep, such as ``"method == 'Deepfakes'"``; ``None`` keeps all.
        sample: Number of videos to select at random, see :meth:`Rows.sample_videos`; ``None`` keeps all.
        per: Columns whose values form the groups that ``sample`` counts for.
        seed: Seed of the random selection.

    Returns:
        The new file, opened.

    Raises:
        OptionError: ``out`` is an input, or an option is not allowed.
        ManifestError: Manifests and indexes are mixed, crops were cut differently, or two inputs
            contain the same row.

    Example:
        >>> merge_manifests(["ffpp.parquet", "dfdc.parquet"], "both.parquet")  # doctest: +SKIP
    """
    options = MergeOptions(where, sample, tuple(per), seed)
    tables: list[Rows] = [one if isinstance(one, Rows) else read_rows(one) for one in inputs]
    if options.where is not None:
        tables = [one.where(options.where) for one in tables]
    target = Path(out)
    if any(one.path.resolve() == target.resolve() for one in tables):
        raise OptionError("out", f"{target} is one of the inputs", "choose another file")
    schema = _common_schema(tables)
    # A sample has no failures: it is taken of videos with crops.
    manifests = [one for one in tables if isinstance(one, Manifest) and options.sample is None]
    failures = [failure for one in manifests for failure in read_failures(one)]
    with atomic_path(target) as temporary:
        _write(temporary, tables, temporary.parent, schema)
        rows = read_rows(temporary)
        _check_distinct(rows)
        if options.sample is not None:
            _keep_sample(temporary, rows, schema, options)
    if isinstance(tables[0], Manifest):
        write_failures(failures_path(target), failures)  # also an empty one, to replace an earlier file
    return read_rows(target)


def _keep_sample(path: Path, rows: Rows, schema: pa.Schema, options: MergeOptions) -> None:
    assert options.sample is not None
    sampled = path.with_suffix(".sampled.parquet")
    try:
        # Paths are relative to this folder already.
        sample = rows.sample_videos(options.sample, per=options.per, seed=options.seed)
        _write(sampled, [sample], path.parent, schema)
        os.replace(sampled, path)
    finally:
        sampled.unlink(missing_ok=True)


def _common_schema(inputs: Sequence[Rows]) -> pa.Schema:
    """Return the schema of the output, with its metadata; raise if the inputs cannot be merged."""
    manifests = [one for one in inputs if isinstance(one, Manifest)]
    indexes = [one for one in inputs if isinstance(one, VideoIndex)]
    if manifests and indexes:
        raise ManifestError(
            indexes[0].path,
            "is an index of videos, other inputs are manifests of crops",
            "merge either manifests or indexes",
        )
    if indexes:
        origins = [one.origin for one in indexes]
        merged = IndexOrigin(
            kinds=tuple(kind for origin in origins for kind in origin.kinds),
            roots=tuple(root for origin in origins for root in origin.roots),
            split_policy="+".join(dict.fromkeys(origin.split_policy for origin in origins)),
            split_seed=min(origin.split_seed for origin in origins),
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
    codec = codecs.pop() if len(codecs) == 1 else None
    return MANIFEST_SCHEMA.with_metadata(manifest_metadata(geometry, codec))


def _write(path: Path, inputs: Sequence[Rows], folder: Path, schema: pa.Schema) -> None:
    """Write the inputs' rows one after the other; crops' paths become relative to ``folder``."""
    with pq.ParquetWriter(path, schema) as writer:
        for one in inputs:
            # Resolved, because ".." after a link leads elsewhere.
            prefix = os.path.relpath(one.root.resolve(), folder.resolve())
            for table in one.chunks():
                if isinstance(one, Manifest) and prefix != ".":
                    paths = table["path"]
                    moved = pc.binary_join_element_wise(prefix, paths, os.sep)
                    moved = pc.if_else(pc.starts_with(paths, os.sep), paths, moved)
                    table = table.set_column(table.column_names.index("path"), "path", moved)
                writer.write_table(table.select(schema.names).cast(schema))


def _check_distinct(rows: Rows) -> None:
    key = "video_id, frame_index, track_id" if isinstance(rows, Manifest) else "video_id"
    repeated = rows.query(
        f"select {key}, count(*) as n from rows group by {key} having count(*) > 1 order by {key} limit 1"
    )
    if repeated.num_rows:
        first = repeated.to_pylist()[0]
        raise ManifestError(
            first["video_id"], f"is in the inputs {first['n']} times", "omit one of the inputs"
        )
