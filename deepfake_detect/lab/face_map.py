"""A map of faces as a self-contained HTML page: zoom, pan, hover, color by a column."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.transforms import resize_square
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.features.feature_file import FeatureFile, FeatureTable, concatenate
from deepfake_detect.io.files import make_folder
from deepfake_detect.lab.clusters import NO_CLUSTER, cluster_faces, project_faces
from deepfake_detect.lab.options import MAX_FACES, FaceMapOptions
from deepfake_detect.plurals import counted
from deepfake_detect.report.page import jpeg_url, render, write_text

_SIDE = 56  # of a thumbnail in pixels
_JPEG_QUALITY = 78
_GRAY = 200
_MAX_CLUSTERS_LOGGED = 12


def map_faces(
    features: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    options: FaceMapOptions | None = None,
    *,
    log: Callable[[str], None] | None = None,
) -> np.ndarray:
    """Cluster similar faces, and show all of them on a map that one can zoom into.

    The page contains the thumbnails, and can be colored by cluster, label, split, method or person.

    Args:
        features: Files of :func:`extract_features`, pooled, of the same network and layer.
        out: HTML page to write.
        options: Options; the defaults when ``None``.
        log: Called with one line per cluster, such as ``print``.

    Returns:
        The cluster of each face, int64 (N,), from 0 by decreasing size; -1 for none.

    Raises:
        ManifestError: A file cannot be read.
        OptionError: The files do not match, there are no such rows, or too few for the clusters.
    """
    options, page = options or FaceMapOptions(), Path(out)
    make_folder(page.parent)
    table = _sample_rows([FeatureFile(path) for path in features], options)
    clusters = cluster_faces(
        table.features,
        method=options.cluster,
        num_clusters=options.num_clusters,
        min_size=options.min_size,
        seed=options.seed,
    )
    positions = project_faces(table.features, method=options.projection, seed=options.seed)
    columns = {
        "cluster": ["none" if number == NO_CLUSTER else str(number) for number in clusters],
        "label": ["fake" if label else "real" for label in table.labels],
        "split": table.splits.tolist(),
        "method": table.methods.tolist(),
        "person": table.identities.tolist(),
        "video": table.video_ids.tolist(),
    }
    note = f"{options.projection} of features, clusters by {options.cluster}; seed {options.seed}"
    thumbnails = read_thumbnails(Path("."), table.paths.tolist())
    write_face_map(page, positions, thumbnails, columns, title=f"{counted(len(table), 'face')}", note=note)
    if log is not None:
        for line in _cluster_lines(table, clusters):
            log(line)
        log(f"wrote {page}")
    return clusters


def read_thumbnails(root: Path, paths: Sequence[str]) -> np.ndarray:
    """Return crops as RGB uint8 (N, 56, 56, 3); one that cannot be read is gray.

    Args:
        root: Folder that the paths are relative to.
        paths: Of the crops.
    """
    thumbnails = np.full((len(paths), _SIDE, _SIDE, 3), _GRAY, np.uint8)
    for number, path in enumerate(paths):
        try:
            thumbnails[number] = resize_square(read_crop(root / path), _SIDE)
        except ManifestError:
            continue  # a map without this face is still useful
    return thumbnails


def write_face_map(
    path: Path,
    positions: np.ndarray,
    thumbnails: np.ndarray,
    columns: Mapping[str, Sequence[str]],
    *,
    title: str,
    note: str = "",
) -> None:
    """Write the page, atomically.

    Args:
        path: HTML file.
        positions: float (N, 2), finite.
        thumbnails: RGB uint8 (N, S, S, 3).
        columns: Texts (N,) by name, shown next to a face. The map can be colored by each of them, with
            one color for each of the nine most frequent values; the first is used initially.
        title, note: Plain text.

    Raises:
        OptionError: Arrays of unequal length, no column, no face or more than 20,000.

    Example:
        >>> import tempfile
        >>> page_path = Path(tempfile.mkdtemp()) / "map.html"
        >>> faces = np.zeros((2, 8, 8, 3), np.uint8)
        >>> write_face_map(page_path, np.eye(2), faces, {"label": ["real", "fake"]}, title="Two faces")
        >>> "Two faces" in page_path.read_text()
        True
    """
    count = len(positions)
    if not 1 <= count <= MAX_FACES:
        raise OptionError("map", f"has {counted(count, 'face')}", f"must be 1 to {MAX_FACES:,}")
    lengths = {len(thumbnails), *(len(values) for values in columns.values())}
    if not columns or lengths != {count} or positions.shape != (count, 2) or not np.isfinite(positions).all():
        raise OptionError(
            "map", "has positions, faces and columns of unequal length", "pass one of each per face"
        )
    sheet, num_columns = _sheet(thumbnails)
    data = {
        "positions": np.round(_to_unit(positions), 5).tolist(),
        "side": thumbnails.shape[1],
        "perRow": num_columns,
        "columns": {name: [str(value) for value in values] for name, values in columns.items()},
    }
    text = render(
        "face_map.html.j2",
        package="deepfake_detect.lab",
        title=title,
        note=note,
        columns=list(columns),
        sheet=jpeg_url(sheet, quality=_JPEG_QUALITY),
        data=data,
    )
    write_text(path, text)


def _to_unit(positions: np.ndarray) -> np.ndarray:
    """Move positions into the unit square, with one scale for both directions."""
    low, high = positions.min(0), positions.max(0)
    scale = max(float((high - low).max()), 1e-12)
    unit: np.ndarray = (positions - (low + high) / 2) / scale + 0.5
    return unit


def _sheet(thumbnails: np.ndarray) -> tuple[np.ndarray, int]:
    """Return all thumbnails side by side as one RGB image, and how many are in a row."""
    count, side = thumbnails.shape[:2]
    num_columns = math.ceil(math.sqrt(count))
    num_rows = math.ceil(count / num_columns)
    cells = np.full((num_rows * num_columns, side, side, 3), _GRAY, np.uint8)
    cells[:count] = thumbnails
    grid = cells.reshape(num_rows, num_columns, side, side, 3).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(num_rows * side, num_columns * side, 3)), num_columns


def _sample_rows(files: Sequence[FeatureFile], options: FaceMapOptions) -> FeatureTable:
    """Return the rows to show; their paths are no longer relative to the files."""
    kinds = {
        (one.source["weights_sha256"], one.source["layer"], one.feature_shape)
        for one in (file.info for file in files)
    }
    if len(kinds) > 1 or len(files[0].info.feature_shape) != 1:
        raise OptionError(
            "features", "are from several networks or layers, or maps", "pass pooled features of one network"
        )
    chosen = (options.split, options.method)
    num_rows = sum(group.num_rows for file in files for group in file.choose(*chosen))
    sampled = np.arange(num_rows)
    if num_rows > options.max_faces:
        rng = np.random.default_rng(options.seed)
        sampled = np.sort(rng.choice(num_rows, options.max_faces, replace=False))
    # In batches: a file may be larger than memory.
    tables, first = [], 0
    for file in files:
        for batch in file.batches(*chosen):
            rows = batch.take(sampled[(sampled >= first) & (sampled < first + len(batch))] - first)
            paths = np.array([str(file.root / path) for path in rows.paths], dtype=object)
            tables.append(replace(rows, paths=paths))
            first += len(batch)
    return concatenate(tables)


def _cluster_lines(table: FeatureTable, clusters: np.ndarray) -> Iterator[str]:
    """Yield a line about each of the largest clusters."""
    numbers = np.unique(clusters)
    for number in numbers[:_MAX_CLUSTERS_LOGGED]:
        rows = clusters == number
        methods, counts = np.unique(table.methods[rows].astype(str), return_counts=True)
        num_people = len(set(table.identities[rows]) - {""})
        people = f"{num_people:,} known people" if num_people else "unknown people"
        name = "no cluster" if number == NO_CLUSTER else f"cluster {number}"
        yield (
            f"{name}: {counted(int(rows.sum()), 'face')} of {people}, {table.labels[rows].mean():.0%} fake, "
            f"mostly {methods[counts.argmax()]}"
        )
    if len(numbers) > _MAX_CLUSTERS_LOGGED:
        yield f"and {len(numbers) - _MAX_CLUSTERS_LOGGED:,} more clusters"
