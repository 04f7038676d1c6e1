"""A map of faces as an HTML page that needs no other file: zoom, pan, hover, color by a column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.transforms import resize_square
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.report.page import jpeg_url, render, write_text

_SIDE = 56  # of a thumbnail in pixels
_JPEG_QUALITY = 78
_GRAY = 200
MAX_FACES = 20_000  # the sheet of thumbnails stays below the 16,384 pixels that browsers draw


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
        raise OptionError("map", f"has {count:,} faces", f"must be 1 to {MAX_FACES:,}")
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
