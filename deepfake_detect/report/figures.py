"""Figures of an evaluation other than its ROC curve, from finished numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, ndtri

from deepfake_detect.evaluation import Evaluation, ScoreTable, SliceResult
from deepfake_detect.evaluation.abstention import risk_coverage
from deepfake_detect.evaluation.corruptions import CORRUPTIONS
from deepfake_detect.evaluation.robustness import Robustness
from deepfake_detect.metrics import Interval, expected_calibration_error, reliability_bins
from deepfake_detect.report.drawing import COLORS, label_text, new_figure, plot_intervals, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Figures with more rows are unreadable; the tables have them all.
_MAX_ROWS = 40
_MAX_NAME_LENGTH = 30
_RATE_TICKS = np.array([0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95])


def det_figure(evaluation: Evaluation) -> Figure:
    """Plot both error rates against each other on normal deviate scales; lower is better.

    Source: Martin et al., "The DET curve in assessment of detection task performance", 1997.
    """
    figure = new_figure(5.4, 4.6)
    axes = figure.subplots()
    # The frames' line is dashed, so that both are visible where they coincide.
    for name, level, color, line in (
        ("video", evaluation.video, COLORS[0], "-"),
        ("frame", evaluation.frame, COLORS[1], "--"),
    ):
        curve = level.roc()
        rates = np.stack([curve.false_positive_rate, 1.0 - curve.true_positive_rate])
        inside = (rates > 0.0).all(axis=0) & (rates < 1.0).all(axis=0)
        axes.plot(*ndtri(rates[:, inside]), color=color, linestyle=line, label=f"{name} level")
    ticks = [f"{100 * rate:g}" for rate in _RATE_TICKS]
    axes.set_xticks(ndtri(_RATE_TICKS), ticks)
    axes.set_yticks(ndtri(_RATE_TICKS), ticks)
    ends = ndtri(np.array([0.0008, 0.97]))
    axes.set(
        xlim=ends, ylim=ends, xlabel="reals classified as fake (%)", ylabel="fakes classified as real (%)"
    )
    axes.set_title("DET", loc="left", weight="bold")
    axes.legend(frameon=False)
    style_axes(axes)
    return figure


def reliability_figure(evaluation: Evaluation, table: ScoreTable, *, has_logits: bool = False) -> Figure:
    """Plot how often faces and videos of similar probability are fake.

    Args:
        evaluation, table: The result and the scores behind it.
        has_logits: Whether the detail ``logit`` is the logits before calibration, to be plotted
            too; in another tool's file a column of that name may be anything.
    """
    parts: list[tuple[str, np.ndarray, np.ndarray]] = []
    logits = table.details["logit"] if has_logits else np.array([np.nan])
    if np.issubdtype(logits.dtype, np.number) and np.isfinite(logits).all():
        before = expit(logits.astype(np.float64))
        parts.append(("faces, before calibration", table.crop_labels, before))
    parts.append(("faces", evaluation.frame.labels, evaluation.frame.scores))
    parts.append(("videos", evaluation.video.labels, evaluation.video.scores))
    figure = new_figure(3.9 * len(parts), 3.9)
    cells = figure.subplots(1, len(parts), squeeze=False)[0]
    for axes, (name, labels, scores) in zip(cells, parts, strict=True):
        _plot_reliability(axes, name, labels, scores)
    return figure


def _plot_reliability(axes: Axes, name: str, labels: np.ndarray, scores: np.ndarray) -> None:
    bins = reliability_bins(labels, scores)
    fractions = bins.weight / bins.weight.sum()
    centers = (bins.edges[:-1] + bins.edges[1:]) / 2
    axes.bar(
        centers, fractions, width=np.diff(bins.edges) * 0.9, color="#C9D3E6", label="fraction of samples"
    )
    axes.plot([0, 1], [0, 1], ":", color="#7F7F7F", label="perfect calibration")
    axes.plot(bins.mean_probability, bins.share_fake, "o-", color=COLORS[0], markersize=4, label="observed")
    error = expected_calibration_error(labels, scores)
    axes.set_title(f"{name}: ECE {error:.3f}", loc="left", fontsize=10)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="fake probability", ylabel="fraction of fakes")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    style_axes(axes)


def risk_coverage_figure(evaluation: Evaluation) -> Figure:
    """Plot the error rate over the fraction of videos with a verdict, and mark the uncertain band."""
    figure = new_figure(5.4, 3.6)
    axes = figure.subplots()
    settings = evaluation.settings
    if 0.0 < settings.threshold < 1.0:
        curve = risk_coverage(evaluation.video.labels, evaluation.video.scores, threshold=settings.threshold)
        axes.plot(
            curve.coverage, curve.risk, color=COLORS[0], label=f"most certain first, area {curve.area:.3f}"
        )
    found = evaluation.abstention
    if settings.uncertain_low < settings.uncertain_high and found.share_certain > 0:
        axes.plot(
            found.share_certain, 1 - found.accuracy_certain, "o", color=COLORS[1], label="uncertain band"
        )
    axes.set(xlim=(0, 1.02), xlabel="fraction of videos with a verdict", ylabel="fraction of wrong verdicts")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    style_axes(axes)
    return figure


def methods_figure(evaluation: Evaluation) -> Figure:
    """Plot AUC and the fraction of missed fakes of each method and their mean, with intervals."""
    num_methods = len(evaluation.per_method)
    shown = list(evaluation.per_method.items())[: _MAX_ROWS - 1]
    names = [label_text(name, max_length=_MAX_NAME_LENGTH) for name, _ in shown]
    metrics = [one.video.metrics for _, one in shown]
    if num_methods > 1:
        left_out = f" ({num_methods - len(shown):,} not shown)" if num_methods > len(shown) else ""
        names.append(f"mean over methods{left_out}")
        metrics.append(evaluation.macro["video"])
    return interval_columns_figure(
        names,
        metrics,
        (("auc", "AUC (video level)"), ("apcer", "fakes classified as real (APCER)")),
    )


def slices_figure(column: str, results: tuple[SliceResult, ...]) -> Figure:
    """Plot AUC and accuracy in each slice of a column, with the numbers of videos."""
    results = results[:_MAX_ROWS]
    counts = [f"({one.num_videos_real:,} real + {one.num_videos_fake:,} fake)" for one in results]
    names = [
        f"{label_text(one.value, max_length=_MAX_NAME_LENGTH)}  {count}"
        for one, count in zip(results, counts, strict=True)
    ]
    return interval_columns_figure(
        names,
        [one.metrics for one in results],
        (("auc", f"{label_text(column)}: AUC (video level)"), ("balanced_accuracy", "balanced accuracy")),
    )


def robustness_figure(robustness: Robustness) -> Figure:
    """Plot AUC over level for each corruption, with intervals; ``none`` is the AUC of unchanged crops."""
    num_columns = 3
    num_rows = -(-len(robustness.curves) // num_columns)
    figure = new_figure(9.6, 2.5 * num_rows)
    cells = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False).reshape(-1)
    for axes in cells[len(robustness.curves) :]:
        axes.axis("off")
    for axes, (name, points) in zip(cells, robustness.curves.items(), strict=False):
        at = np.arange(len(points) + 1)
        areas = [robustness.unchanged, *(point.auc for point in points)]
        low, high = [one.low for one in areas], [one.high for one in areas]
        axes.fill_between(at, low, high, color=COLORS[0], alpha=0.18, linewidth=0)
        axes.plot(at, [one.value for one in areas], "o-", color=COLORS[0], markersize=4)
        axes.axhline(0.5, color="#7F7F7F", linestyle=":", linewidth=1)
        axes.set_xticks(at, ["none", *(f"{point.level:g}" for point in points)], fontsize=8)
        axes.set_title(CORRUPTIONS[name].words, loc="left", fontsize=9)
        style_axes(axes)
    for axes in cells[::num_columns]:
        axes.set_ylabel("AUC (videos)")
    return figure


def interval_columns_figure(
    names: list[str], metrics: Sequence[Mapping[str, Interval]], columns: tuple[tuple[str, str], ...]
) -> Figure:
    """Plot metrics from 0 to 1 with intervals: a line a name, and a column a metric, by key and title."""
    figure = new_figure(9.6, 1.2 + 0.34 * len(names))
    for axes, (key, title) in zip(figure.subplots(1, len(columns), sharey=True), columns, strict=True):
        plot_intervals(axes, names, [one[key] for one in metrics], color=COLORS[0])
        axes.set_xlim(-0.02, 1.02)
        axes.set_title(title, loc="left", fontsize=10, weight="bold", parse_math=False)
        if key == "auc":
            axes.axvline(0.5, color="#7F7F7F", linestyle=":", linewidth=1)
    return figure
