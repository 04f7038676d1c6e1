"""Crops that occur in two splits, side by side, for visual comparison."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.data.audit_report import DuplicatePair
from deepfake_detect.data.crops import read_crop
from deepfake_detect.errors import OptionError
from deepfake_detect.report.drawing import save_cells

_NUM_COLUMNS = 5
_CELL_INCHES = (3.1, 2.15)
_SHOWN_SIDE = 160
_MAX_NAME_LENGTH = 34


def save_duplicate_sheet(
    pairs: Sequence[DuplicatePair], root: Path, path: str | os.PathLike[str], *, max_pairs: int = 60
) -> int:
    """Write pairs of crops as PNG, atomically, with splits, names and similarity above each pair.

    Args:
        pairs: As ``data.audit.audit_rows`` found them, at least one.
        root: Folder that their paths are relative to, that of the manifest.
        path: File to write, ending in ``.png``.
        max_pairs: Largest number of pairs, from 1; if there are more, each kind and pair of splits
            gets some.

    Returns:
        The number of pairs in the sheet.

    Raises:
        OptionError: The path does not end in ``.png``, there is no pair, or ``max_pairs`` is below 1.
        ManifestError: A crop can no longer be read.
    """
    check_sheet_path(path)
    if not pairs or max_pairs < 1:
        raise OptionError("pairs", f"{max_pairs} of {len(pairs)} would be shown", "must be 1 or more")
    shown = _some_of_each(pairs, max_pairs)
    cells = [_cell(pair, root) for pair in shown]
    save_cells(cells, path, num_columns=_NUM_COLUMNS, cell_inches=_CELL_INCHES)
    return len(shown)


def check_sheet_path(path: str | os.PathLike[str]) -> None:
    """Check the format of the file.

    Raises:
        OptionError: The path does not end in ``.png``.
    """
    if Path(path).suffix.lower() != ".png":
        raise OptionError("sheet", f"{path} does not end in .png", "must end in .png")


def _some_of_each(pairs: Sequence[DuplicatePair], count: int) -> list[DuplicatePair]:
    """Return pairs taken in turn from each kind and pair of splits."""
    groups: dict[tuple[str, str, str], list[DuplicatePair]] = {}
    for pair in pairs:
        groups.setdefault((pair.kind, pair.first_split, pair.second_split), []).append(pair)
    in_turns = chain.from_iterable(zip_longest(*groups.values()))
    chosen = [pair for pair in in_turns if pair is not None][:count]
    return sorted(chosen, key=pairs.index)


def _cell(pair: DuplicatePair, root: Path) -> tuple[np.ndarray, str, str]:
    """Return both crops side by side, and their names and likeness."""
    side = (_SHOWN_SIDE, _SHOWN_SIDE)
    crops = [read_crop(root / name) for name in (pair.first_path, pair.second_path)]
    first, second = (cv2.resize(crop, side, interpolation=cv2.INTER_AREA) for crop in crops)
    names = [
        f"{split}: {name if len(name) <= _MAX_NAME_LENGTH else '…' + name[1 - _MAX_NAME_LENGTH :]}"
        for split, name in ((pair.first_split, pair.first_path), (pair.second_split, pair.second_path))
    ]
    words = "identical bytes"
    if pair.kind != "identical-crops":
        apart = "" if pair.distance is None else f"distance {pair.distance} bits, "
        words = f"{apart}similarity {pair.likeness:.3f}"
    gap = np.full((_SHOWN_SIDE, 6, 3), 255, np.uint8)
    return np.hstack([first, gap, second]), "\n".join([*names, words]), "black"
