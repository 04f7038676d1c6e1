"""Accuracy against speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepfake_detect.metrics import Interval
from deepfake_detect.report.drawing import COLORS, label_text, new_figure, plain, save_png, style_axes


def save_speed_figure(points: Sequence[tuple[str, float, Interval]], path: Path, *, title: str) -> None:
    """Plot AUC, with its interval, against faces per second.

    Args:
        points: Name, faces per second (above 0) and AUC of each model, at least one.
        path: PNG to write.
        title: Title of the figure.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "speed.png"
        >>> save_speed_figure([("small_cnn full", 900.0, Interval(0.8, 0.7, 0.9))], path, title="Two")
        >>> path.exists()
        True
    """
    figure = new_figure(7.6, 4.8)
    axes = figure.subplots()
    for number, (name, speed, auc) in enumerate(points):
        color = COLORS[number % len(COLORS)]
        axes.plot([speed, speed], [auc.low, auc.high], color=color, linewidth=2.2, alpha=0.55)
        axes.plot(speed, auc.value, "o", color=color, markersize=6, label=label_text(name))
    axes.set_xscale("log")
    for formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        formatter("{x:g}")
    axes.axhline(0.5, color="#7F7F7F", linestyle=":", linewidth=1)
    axes.set(xlabel="faces per second (log scale)", ylabel="validation AUC over videos, 95% interval")
    style_axes(axes)
    legend = axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    plain(legend.get_texts())
    figure.suptitle(title, parse_math=False)
    save_png(figure, path)
