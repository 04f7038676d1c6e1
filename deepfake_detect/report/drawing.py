"""Common parts of figures: creation, style, saving."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from deepfake_detect.io.files import atomic_path
from deepfake_detect.report.page import data_url

if TYPE_CHECKING:
    # The base installation, which draws the chart of a clip, has no SciPy.
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.text import Text

    from deepfake_detect.metrics import Interval

# Okabe and Ito's colors, which color-blind readers can distinguish.
COLORS = ("#0B3C8C", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#7F7F7F")
_DOTS_PER_INCH = 110


def new_figure(
    width: float, height: float, *, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """Return an empty figure of a size in inches, without pyplot, its global state and its display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure, *, dots_per_inch: int = _DOTS_PER_INCH, margin: float = 0.1) -> bytes:
    """Return the figure as a PNG, with a margin in inches."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name may be in any script; characters that the font does not have become boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=dots_per_inch, bbox_inches="tight", pad_inches=margin)
    return buffer.getvalue()


def figure_url(figure: Figure) -> str:
    """Return the figure as a data URL of a PNG."""
    return data_url(png_bytes(figure), mime="image/png")


def label_text(name: str, *, max_length: int = 60) -> str:
    r"""Return a name for a figure: shortened if it is long, without control characters.

    Example:
        >>> label_text("a\tb", max_length=30), label_text("abcdef", max_length=4)
        ('a b', 'abc…')
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in name)
    return shown if len(shown) <= max_length else shown[: max_length - 1] + "…"


def save_png(
    figure: Figure, path: str | os.PathLike[str], *, dots_per_inch: int = _DOTS_PER_INCH, margin: float = 0.1
) -> None:
    """Write the figure as a PNG, atomically, with a margin in inches."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure, dots_per_inch=dots_per_inch, margin=margin))


def plain(texts: Iterable[Text]) -> None:
    """Show texts as they are: a name may contain dollar signs, which would be read as formulas."""
    for text in texts:
        text.set_parse_math(False)


def style_axes(axes: Axes) -> None:
    """Add a light grid behind the data and remove the frame above and to the right."""
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_cells(
    cells: Sequence[tuple[np.ndarray, str, str]],
    path: str | os.PathLike[str],
    *,
    num_columns: int,
    cell_inches: tuple[float, float],
    title: str = "",
) -> None:
    """Write images in rows and columns as a PNG, atomically.

    Args:
        cells: Image, the text above it and its color, for each.
        path: File to write.
        num_columns: Images per row.
        cell_inches: Width and height of a cell.
        title: Above all of them.
    """
    num_rows = -(-len(cells) // num_columns)
    figure = new_figure(cell_inches[0] * num_columns, cell_inches[1] * num_rows + 0.9 * bool(title))
    places = figure.subplots(num_rows, num_columns, squeeze=False).reshape(-1)
    for axes in places:
        axes.axis("off")
    for axes, (image, text, color) in zip(places, cells, strict=False):
        axes.imshow(image)
        # A name may contain dollar signs.
        axes.set_title(text, fontsize=8, loc="left", color=color, parse_math=False)
    if title:
        figure.suptitle(title, parse_math=False, fontsize=9, wrap=True)
    save_png(figure, path)


def plot_intervals(axes: Axes, names: list[str], intervals: list[Interval], *, color: str) -> None:
    """Plot one value with its interval per line, the first on top; undefined ones stay empty."""
    positions = range(len(names))
    for position, one in zip(positions, intervals, strict=True):
        axes.plot([one.low, one.high], [position, position], color=color, linewidth=2.2, alpha=0.55)
        axes.plot(one.value, position, "o", color=color, markersize=6)
    axes.set_yticks(list(positions), [label_text(name) for name in names])
    plain(axes.get_yticklabels())
    axes.set_ylim(len(names) - 0.5, -0.5)
    style_axes(axes)
