"""Figures of studies: mean curves with intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detect.report.drawing import COLORS, label_text, new_figure, save_png, style_axes

if TYPE_CHECKING:
    from deepfake_detect.report.drawing import Figure


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """A mean over seeds with its interval, as a function of x.

    Attributes:
        name: Of the variant; curves of one name have the same color.
        x: float (N,), ascending.
        mean, low, high: float (N,); no band is drawn where ``low`` and ``high`` are NaN.
        is_dashed: Whether the line is dashed, as for training images.
    """

    name: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_dashed: bool = False


def save_curves_figure(
    panels: Mapping[str, Sequence[MeanCurve]], path: Path, *, title: str, x_label: str, is_log: bool = False
) -> None:
    """Plot curves with their intervals as bands, in one panel per title.

    Args:
        panels: Title to curves, at least one.
        path: PNG to write.
        title: Of the figure.
        x_label: Label of the x axis.
        is_log: Whether the x axis is logarithmic.

    Example:
        >>> import tempfile
        >>> x, mean = np.arange(3.0), np.array([0.5, 0.7, 0.8])
        >>> path = Path(tempfile.mkdtemp()) / "curves.png"
        >>> curve = MeanCurve("small_cnn", x, mean, mean - 0.1, mean + 0.1)
        >>> save_curves_figure({"Accuracy": [curve]}, path, title="A study", x_label="epoch")
        >>> path.exists()
        True
    """
    figure = new_figure(5.2 * len(panels), 4.4)
    names = list(dict.fromkeys(curve.name for curves in panels.values() for curve in curves))
    for axes, (panel_title, curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for curve in curves:
            color = COLORS[names.index(curve.name) % len(COLORS)]
            # A line of one point is invisible without a marker.
            axes.plot(
                curve.x,
                curve.mean,
                linestyle="--" if curve.is_dashed else "-",
                marker="o",
                markersize=3,
                color=color,
                label=label_text(curve.name) + (" (training)" if curve.is_dashed else ""),
            )
            axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
        if is_log:
            axes.set_xscale("log")
            # At the measured values: matplotlib's own labels overlap within a decade.
            ticks = sorted({float(value) for curve in curves for value in curve.x})
            axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
            axes.minorticks_off()
        axes.set(xlabel=x_label)
        axes.set_title(panel_title, loc="left", weight="bold", parse_math=False)
        style_axes(axes)
    _add_legend(figure)
    figure.suptitle(title, parse_math=False)
    save_png(figure, path)


def _add_legend(figure: Figure) -> None:
    """Add one legend for all panels below them, where it covers no curve."""
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    longest = max(map(len, lines))
    legend = figure.legend(
        lines.values(),
        lines.keys(),
        loc="outside lower center",
        ncols=max(1, min(len(lines), int(figure.get_figwidth() * 13 / (longest + 8)))),
        frameon=False,
        fontsize=8,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may contain a dollar sign
