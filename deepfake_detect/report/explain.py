"""Sheets of heat maps next to their crops, and of filter or activation grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.explanation.crops import Explanation
from deepfake_detect.records import FAKE
from deepfake_detect.report.drawing import label_text, new_figure, save_cells, save_png

_PAIRS_PER_ROW = 3
_PAIR_INCHES = (3.7, 2.15)
_GAP = 6
_LABEL_COLORS = {True: "#D55E00", False: "#0B3C8C", None: "#333333"}


def save_heat_map_sheet(
    explanations: Sequence[Explanation],
    names: Sequence[str],
    labels: Sequence[int | None],
    path: Path,
    *,
    title: str,
) -> None:
    """Write each crop next to its overlay, with name, label and fake probability, as PNG.

    Args:
        explanations: At least one.
        names, labels: One for each; a label is 1 for fake, 0 for real, ``None`` if unknown.
        path: PNG to write.
        title: Above the sheet.

    Raises:
        OptionError: There is none.
    """
    if not explanations:
        raise OptionError("explanations", "is empty", "pass one or more")
    cells = [_cell(*one) for one in zip(explanations, names, labels, strict=False)]
    num_columns = min(_PAIRS_PER_ROW, len(explanations))
    save_cells(cells, path, num_columns=num_columns, cell_inches=_PAIR_INCHES, title=title)


def save_grids(grids: Sequence[tuple[str, np.ndarray]], path: Path, *, title: str) -> None:
    """Write images side by side, each with its name above it, as PNG.

    Args:
        grids: Name and RGB uint8 (H, W, 3), at least one.
        path: PNG to write.
        title: Above all of them.

    Raises:
        OptionError: There is none.
    """
    if not grids:
        raise OptionError("grids", "is empty", "pass one or more")
    figure = new_figure(4.6 * len(grids), 5.2)
    for axes, (name, image) in zip(figure.subplots(1, len(grids), squeeze=False)[0], grids, strict=True):
        axes.imshow(image, interpolation="nearest")
        axes.axis("off")
        axes.set_title(label_text(name), fontsize=9, parse_math=False)
    figure.suptitle(title, parse_math=False, fontsize=10)
    save_png(figure, path)


def _cell(one: Explanation, name: str, label: int | None) -> tuple[np.ndarray, str, str]:
    gap = np.full((one.crop.shape[0], max(1, one.crop.shape[1] * _GAP // 160), 3), 255, np.uint8)
    is_fake = None if label is None else label == FAKE
    label_words = "" if is_fake is None else f"{'fake' if is_fake else 'real'}: "
    words = f"{label_words}fake probability {one.fake_probability:.3f}"
    text = f"{label_text(name, max_length=44)}\n{words}"
    return np.hstack([one.crop, gap, one.overlay]), text, _LABEL_COLORS[is_fake]
