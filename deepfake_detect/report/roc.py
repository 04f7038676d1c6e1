"""ROC curves of an evaluation in one figure: both levels, and each method."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation import Evaluation, LevelResult
from deepfake_detect.records import FAKE
from deepfake_detect.report.drawing import label_text, new_figure, plain, save_png, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More thin curves than these cannot be distinguished; the numbers are in the table. The colors are Okabe and
# Ito's, which color-blind readers can distinguish; blue and black are the two levels'.
_METHOD_COLORS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C6D31", "#7F7F7F")
_VIDEO_STYLE = {"color": "#0B3C8C", "linewidth": 2.6, "zorder": 4}
_FRAME_STYLE = {"color": "#222222", "linewidth": 1.8, "linestyle": (0, (4, 1.6)), "zorder": 3}
_GRAY = "#555555"
_DOTS_PER_INCH = 160


def save_roc_figure(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write the ROC curves of an evaluation as PNG, atomically.

    Thick: video level and frame level over all methods. Thin, for 2 to 8 methods: each method's
    fakes against the reals of its dataset at video level. The legend gives AUC and interval. If a
    class is missing, the figure says so instead of showing curves.

    Args:
        evaluation: Result of ``evaluation.evaluate_scores``.
        path: File to write, ending in ``.png``; its folder is created when missing.

    Raises:
        OptionError: The path does not end in ``.png``.

    Source: Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006).

    Example:
        >>> import tempfile
        >>> from deepfake_detect.evaluation import Coverage, ScoreTable, evaluate_scores
        >>> table = ScoreTable(*(np.array(column) for column in (
        ...     ["youtube/000", "Deepfakes/000_003"], ["youtube", "Deepfakes"],
        ...     [0, 1], [0, 0], [0, 0], [0.1, 0.8])))
        >>> evaluation = evaluate_scores(
        ...     table, Coverage(2, 2, 0, 0, ()), threshold=0.5, aggregation_rule="mean", num_resamples=20)
        >>> target = Path(tempfile.mkdtemp()) / "roc.png"
        >>> save_roc_figure(evaluation, target)
        >>> target.read_bytes()[1:4]
        b'PNG'
    """
    if Path(path).suffix.lower() != ".png":
        raise OptionError("path", f"{path} does not end in .png", "must end in .png")
    figure = roc_figure(evaluation)
    save_png(figure, path, dots_per_inch=_DOTS_PER_INCH, margin=0.2)


def roc_figure(evaluation: Evaluation) -> Figure:
    """Return the figure of :func:`save_roc_figure`."""
    figure = new_figure(9.6, 6.0, layout=None)
    axes = figure.add_axes((0.08, 0.11, 0.5, 0.8))
    num_fake = int((evaluation.video.labels == FAKE).sum())
    num_real = len(evaluation.video.labels) - num_fake
    title = f"ROC: {num_real:,} real and {num_fake:,} fake videos"
    axes.set_title(title, loc="left", fontsize=13, weight="bold", pad=26)
    axes.text(0, 1.025, evaluation.coverage.sentence(), transform=axes.transAxes, fontsize=9, color=_GRAY)
    axes.set(xlabel="False positive rate (reals classified as fake)")
    axes.set(ylabel="True positive rate (fakes classified as fake)")
    # A little more than 0 to 1, so that curves along the border have their full width.
    axes.set(xlim=(-0.012, 1.012), ylim=(-0.012, 1.012), aspect="equal")
    ticks = np.linspace(0.0, 1.0, 6)
    axes.set(xticks=ticks, yticks=ticks)
    style_axes(axes)
    if num_real and num_fake:
        _draw_curves(axes, evaluation)
    else:
        _explain_absence(axes, num_real, num_fake)
    return figure


def _draw_curves(axes: Axes, evaluation: Evaluation) -> None:
    (chance,) = axes.plot([0, 1], [0, 1], color="#9A9A9A", linewidth=1.1, linestyle=":", zorder=1)
    chance.set_label("0.500  Chance")
    levels = [
        _draw_curve(axes, "Video level", evaluation.video, _VIDEO_STYLE),
        _draw_curve(axes, "Frame level, each face", evaluation.frame, _FRAME_STYLE),
        chance,
    ]
    confidence = f"{evaluation.settings.confidence:.0%} interval"
    _add_legend(axes, levels, title=f"All methods: AUC [{confidence}]", top=1.0)
    num_methods = len(evaluation.per_method)
    if num_methods > len(_METHOD_COLORS):
        note = f"{num_methods} methods: too many to show each"
        axes.text(1.055, 0.72, note, transform=axes.transAxes, fontsize=10, color=_GRAY)
    elif num_methods > 1:
        # The best first, as the curves are above one another.
        ordered = sorted(evaluation.per_method.items(), key=lambda item: -item[1].video.metrics["auc"].value)
        lines = [
            _draw_curve(axes, name, result.video, {"color": color, "linewidth": 1.2, "zorder": 2})
            for (name, result), color in zip(ordered, _METHOD_COLORS, strict=False)
        ]
        _add_legend(axes, lines, title="Each method, video level: AUC", top=0.77)


def _draw_curve(axes: Axes, name: str, level: LevelResult, style: dict[str, Any]) -> Any:
    curve = level.roc()
    (line,) = axes.plot(curve.false_positive_rate, curve.true_positive_rate, **style)
    # Numbers first: digits have equal widths, so they align.
    line.set_label(f"{level.metrics['auc'].text()}  {label_text(name)}")
    return line


def _add_legend(axes: Axes, lines: list[Any], *, title: str, top: float) -> None:
    # A figure can have several legends; axes have one, the last.
    legend = axes.figure.legend(
        handles=lines,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.03, top),
        bbox_transform=axes.transAxes,
        frameon=False,
        alignment="left",
        fontsize=10,
        title_fontproperties={"size": 10, "weight": "bold"},
    )
    plain(legend.get_texts())


def _explain_absence(axes: Axes, num_real: int, num_fake: int) -> None:
    kind, count = ("fake", num_fake) if num_fake else ("real", num_real)
    subject = f"all {count:,} scored videos are {kind}" if count > 1 else f"the only scored video is {kind}"
    words = f"No curve: {subject}.\nA ROC curve compares fakes with reals."
    box = {"facecolor": "white", "edgecolor": "#BBBBBB", "boxstyle": "round,pad=0.8"}
    axes.text(
        *(0.5, 0.5, words),
        fontsize=11,
        linespacing=1.6,
        bbox=box,
        transform=axes.transAxes,
        ha="center",
        va="center",
    )
