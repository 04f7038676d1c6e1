"""An evaluation as a table for the terminal."""

from __future__ import annotations

import math

from rich import box
from rich.markup import escape
from rich.table import Table

from deepfake_detect.evaluation.evaluate import Evaluation, MethodResult
from deepfake_detect.metrics import Interval
from deepfake_detect.records import FAKE

_MOST_SLICES = 12


def format_table(evaluation: Evaluation) -> Table:
    """Return the evaluation as a table: video and frame level, over all and for each method; slices.

    Args:
        evaluation: Result of :func:`evaluate_scores`.

    Returns:
        rich table of text: level, method, number of real + fake videos, AUC with its interval,
        accuracy, equal error rate and log loss; ``n/a`` where undefined. Slices, at video level,
        stand below with column and value for the method. The caption tells coverage and settings.

    Source: the columns of the field's result tables, video level first.

    Example:
        >>> import numpy as np
        >>> from deepfake_detect.evaluation import Coverage, ScoreTable, evaluate_scores
        >>> table = ScoreTable(*(np.array(column) for column in (
        ...     ["youtube/000", "Deepfakes/000_003"], ["youtube", "Deepfakes"],
        ...     [0, 1], [0, 0], [0, 0], [0.1, 0.8])))
        >>> evaluation = evaluate_scores(
        ...     table, Coverage(2, 2, 0, 0, ()), threshold=0.5, aggregation_rule="mean", num_draws=20)
        >>> format_table(evaluation).row_count  # video and frame, each over all and for Deepfakes
        4
    """
    settings = evaluation.settings
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
        caption=f"{evaluation.coverage.sentence()}\nthreshold {settings.threshold:.4g}, "
        f"{settings.aggregation_rule}, {settings.confidence:.0%} intervals over {settings.drawn}",
        caption_justify="left",
    )
    table.add_column("Level", no_wrap=True)
    # In a narrow terminal names give way; numbers never do. The rest fits 80 columns.
    table.add_column("Method", overflow="fold")
    for header in ("Real +\nfake", escape("AUC\n[low, high]"), "Accuracy", "EER", "Log\nloss"):
        table.add_column(header, justify="right", no_wrap=True)
    num_fake = int((evaluation.video.labels == FAKE).sum())
    num_real = len(evaluation.video_ids) - num_fake
    overall = MethodResult(evaluation.video, evaluation.track, evaluation.frame, num_fake, num_real)
    for level in ("video", "frame"):
        for name, result in [("all", overall), *evaluation.per_method.items()]:
            metrics = (result.video if level == "video" else result.frame).metrics
            table.add_row(*_table_row(level, name, result.num_videos_real, result.num_videos_fake, metrics))
        table.add_section()
    for column, slices in evaluation.slices.items():
        for one in slices[:_MOST_SLICES]:
            name = f"{column}: {one.value}"
            table.add_row(*_table_row("slice", name, one.num_videos_real, one.num_videos_fake, one.metrics))
        if len(slices) > _MOST_SLICES:
            table.add_row("slice", escape(f"{column}: ... {len(slices) - _MOST_SLICES} more in report.html"))
        table.add_section()
    return table


def _table_row(
    level: str, name: str, num_reals: int, num_fakes: int, metrics: dict[str, Interval]
) -> list[str]:
    values = [metrics[key].value for key in ("accuracy", "eer", "log_loss")]
    numbers = ["n/a" if math.isnan(value) else f"{value:.3f}" for value in values]
    shown = "".join(letter if letter.isprintable() else " " for letter in name)
    # Square brackets are markup to rich.
    return [level, escape(shown), f"{num_reals} + {num_fakes}", escape(metrics["auc"].text()), *numbers]
