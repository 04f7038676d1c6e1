"""Comparison of detectors: a figure, an HTML report and tables for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detect.evaluation.compare import Comparison, PairResult
from deepfake_detect.evaluation.resampling import describe_resampling
from deepfake_detect.io.files import write_json
from deepfake_detect.metrics import TOO_FEW, Interval
from deepfake_detect.plurals import counted
from deepfake_detect.report import page
from deepfake_detect.report.drawing import (
    COLORS,
    figure_url,
    label_text,
    new_figure,
    plain,
    plot_intervals,
    save_png,
    style_axes,
)
from deepfake_detect.report.words import METRIC_WORDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("auc", "average_precision", "eer", "tpr_at_1pct_fpr", "balanced_accuracy", "log_loss")
_PAIR_COLUMNS = ("auc", "eer", "balanced_accuracy", "log_loss")


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write ``compare.json``, ``compare.png``, ``compare.html`` and ``compare.md``.

    Args:
        folder: Created when missing.
        comparison: Finished numbers.
    """
    write_json(folder / "compare.json", comparison.to_json())
    figure = comparison_figure(comparison)
    save_png(figure, folder / "compare.png")
    page.write_text(folder / "compare.md", markdown_comparison(comparison))
    html = page.render(
        "comparison.html.j2",
        title=_title(comparison),
        notes=comparison.notes,
        settings=_sentence(comparison),
        figure=figure_url(figure),
        tables=_tables(comparison),
    )
    page.write_text(folder / "compare.html", html)


def markdown_comparison(comparison: Comparison) -> str:
    """Return the comparison as Markdown tables for a paper, with warnings and settings."""
    lines = [f"# {_title(comparison)}", "", *(f"**Warning: {note}**\n" for note in comparison.notes)]
    for title, header, rows in _tables(comparison):
        lines += [f"## {title}", "", page.markdown_table(header, rows), ""]
    return "\n".join([*lines, _sentence(comparison), ""])


def comparison_figure(comparison: Comparison) -> Figure:
    """Plot the ROC curves of the detectors, and next to them their AUC with intervals."""
    figure = new_figure(10.4, 4.6)
    curves, areas = figure.subplots(1, 2)
    for number, (name, one) in enumerate(comparison.detectors.items()):
        curve = one.video.roc()
        style = {
            "color": COLORS[number % len(COLORS)],
            "linestyle": ("-", "--", ":")[number // len(COLORS) % 3],
        }
        curves.plot(curve.false_positive_rate, curve.true_positive_rate, label=label_text(name), **style)
    curves.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    legend = curves.legend(frameon=False, fontsize=9, loc="lower right")
    plain(legend.get_texts())
    style_axes(curves)
    metrics = [one.video.metrics["auc"] for one in comparison.detectors.values()]
    plot_intervals(areas, list(comparison.detectors), metrics, color=COLORS[0])
    areas.set_title("AUC, 95% interval", loc="left", fontsize=10, weight="bold")
    return figure


def _title(comparison: Comparison) -> str:
    return f"{counted(len(comparison.detectors), 'detector')} on {len(comparison.video_ids):,} common videos"


def _sentence(comparison: Comparison) -> str:
    num_fake = int(np.sum(next(iter(comparison.detectors.values())).video.labels))
    left_out = ", ".join(f"{name} {one.num_left_out:,}" for name, one in comparison.detectors.items())
    return (
        f"{len(comparison.video_ids) - num_fake:,} real and {num_fake:,} fake videos, scored by all; "
        f"excluded because others did not score them: {left_out}. Video level. 95% intervals from "
        f"{comparison.num_resamples:,} paired bootstrap resamples over "
        f"{describe_resampling(comparison.resample, comparison.num_videos_alone)}, seed {comparison.seed}; "
        "p-values of DeLong's test over videos, adjusted for the number of pairs by Holm's method."
    )


def _tables(comparison: Comparison) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, header and rows of each table."""
    words = [METRIC_WORDS[key] for key in _COLUMNS]
    detectors = [
        [
            name,
            "n/a" if one.coverage is None else one.coverage.sentence(),
            f"{one.decision.threshold:.4g}",
            one.decision.aggregation_rule,
            *(one.video.metrics[key].text() for key in _COLUMNS),
        ]
        for name, one in comparison.detectors.items()
    ]
    header = ["first - second", *(METRIC_WORDS[key] for key in _PAIR_COLUMNS), "p (DeLong)", "p (Holm)"]
    pairs = [
        [
            f"{pair.first} - {pair.second}",
            *(_signed(pair.differences[key]) for key in _PAIR_COLUMNS),
            *_p_values(pair),
        ]
        for pair in comparison.pairs
    ]
    return [
        ("Detectors", ["detector", "coverage", "threshold", "aggregation", *words], detectors),
        ("Differences", header, pairs),
    ]


def _p_values(pair: PairResult) -> list[str]:
    if pair.auc is None:
        return [TOO_FEW, TOO_FEW]
    if pair.adjusted_p_value is None:
        return ["no variance", "n/a"]
    return [f"{pair.auc.p_value:.2g}", f"{pair.adjusted_p_value:.2g}"]


def _signed(one: Interval) -> str:
    text = one.text()
    return f"+{text}" if one.value > 0 else text
