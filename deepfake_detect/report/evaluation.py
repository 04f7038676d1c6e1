"""Everything an evaluation leaves in its folder: numbers, scores, figures, a page and a paper's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.evaluation import LEVELS, Evaluation, ScoreTable
from deepfake_detect.evaluation.corruptions import CORRUPTIONS
from deepfake_detect.evaluation.robustness import Robustness
from deepfake_detect.evaluation.score_files import SCORES_NAME, write_scores
from deepfake_detect.io.files import write_json
from deepfake_detect.metrics import Interval
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.report import page
from deepfake_detect.report.drawing import png_bytes
from deepfake_detect.report.faces import CropSource, worst_faces
from deepfake_detect.report.figures import (
    det_figure,
    methods_figure,
    reliability_figure,
    risk_coverage_figure,
    robustness_figure,
    slices_figure,
)
from deepfake_detect.report.roc import roc_figure, save_roc_figure
from deepfake_detect.report.words import METRIC_WORDS

_PAPER_COLUMNS = ("auc", "average_precision", "eer", "tpr_at_1pct_fpr", "balanced_accuracy", "log_loss")
_RULE_COLUMNS = ("auc", "eer", "balanced_accuracy", "log_loss")
_ROBUSTNESS_HEADER = ["corruption and level", "AUC", "against unchanged"]
_SLICE_COLUMNS = ("auc", "eer", "balanced_accuracy", "apcer", "bpcer", "log_loss")
_MOST_UNSCORED = 200


@dataclass(frozen=True, eq=False)
class ReportContext:
    """What the report says beside the evaluation.

    Attributes:
        title: Such as the detector's name and the data's.
        facts: Kept with the scores, see ``score_files.ScoreFile``.
        seen: Lines on measured videos that the detector was trained or selected on; shown in red.
            Kept with the scores too, so that they are told again wherever these are used.
        crops: Where the faces are, or ``None`` where there are scores alone.
        robustness: Curves of AUC against level, where they were measured.
    """

    title: str
    facts: dict[str, Any]
    seen: Sequence[str] = ()
    crops: CropSource | None = None
    robustness: Robustness | None = None


def write_evaluation(folder: Path, evaluation: Evaluation, table: ScoreTable, context: ReportContext) -> None:
    """Write ``metrics.json``, ``scores.parquet``, ``roc.png``, ``report.html`` and ``report.md``.

    ``metrics.json`` has the keys of ``Evaluation.to_json``; ``seen``: the lines of
    :class:`ReportContext`; and ``robustness``: ``Robustness.to_json``, or ``None``.

    Args:
        folder: Created when missing.
        evaluation: The result.
        table: The scores behind it.
        context: What the report says besides.
    """
    robustness = None if context.robustness is None else context.robustness.to_json()
    besides = {"seen": list(context.seen), "robustness": robustness}
    write_json(folder / "metrics.json", {**evaluation.to_json(), **besides})
    facts = {**context.facts, "seen": list(context.seen)}
    write_scores(folder / SCORES_NAME, table, evaluation.coverage, facts=facts)
    save_roc_figure(evaluation, folder / "roc.png")
    page.write_text(folder / "report.md", markdown_report(evaluation, context))
    page.write_text(folder / "report.html", html_report(evaluation, table, context))


def markdown_report(evaluation: Evaluation, context: ReportContext) -> str:
    """Return the result as tables for a paper, with what a reader must know beside them."""
    settings = evaluation.settings
    lines = [f"# {context.title}", "", *(f"**Warning: {line}**\n" for line in context.seen)]
    header = ["level", "method", "real + fake videos", *(METRIC_WORDS[key] for key in _PAPER_COLUMNS)]
    lines += [page.markdown_table(header, _paper_rows(evaluation)), ""]
    lines += [
        f"{evaluation.coverage.sentence()}. Threshold {settings.threshold:.4g}, aggregation "
        f"{settings.aggregation_rule}. {settings.confidence:.0%} intervals: {settings.num_draws:,} "
        f"bootstrap draws over {settings.drawn}, seed {settings.seed}.{_words_on_tracks(evaluation)}",
        "",
    ]
    for column in evaluation.slices:
        lines += [page.markdown_table(_slice_header(column), _slice_rows(evaluation, column)), ""]
    if context.robustness is not None:
        lines += [page.markdown_table(_ROBUSTNESS_HEADER, _robustness_rows(context.robustness)), ""]
    return "\n".join(lines)


def html_report(evaluation: Evaluation, table: ScoreTable, context: ReportContext) -> str:
    """Return the page; it needs no other file and no network."""
    has_both = len(np.unique(evaluation.video.labels)) == 2
    parts = [
        *(page.paragraph(line, kind="red") for line in context.seen),
        _summary(evaluation),
        page.section(
            "Error rates",
            page.picture(png_bytes(roc_figure(evaluation)), words="ROC curves"),
            *([page.picture(png_bytes(det_figure(evaluation)), words="DET curves")] if has_both else []),
        ),
        page.section(
            "Reliability",
            page.paragraph("Of faces called fake with probability 0.8, eight of ten should be fake."),
            page.picture(
                png_bytes(
                    reliability_figure(evaluation, table, has_logits=bool(context.facts.get("has_logits")))
                ),
                words="reliability diagrams",
            ),
        ),
        _abstention(evaluation),
        *_methods(evaluation),
        *_slices(evaluation),
        _rules(evaluation),
        *_robustness(context.robustness),
        *_worst(evaluation, table, context.crops),
        _coverage(evaluation),
    ]
    return page.page(context.title, parts)


def _summary(evaluation: Evaluation) -> str:
    num_fake = int((evaluation.video.labels == FAKE).sum())
    num_real = len(evaluation.video.labels) - num_fake
    settings = evaluation.settings
    rows = [
        [words, *(getattr(evaluation, level).metrics[key].text() for level in LEVELS)]
        for key, words in METRIC_WORDS.items()
    ]
    return page.section(
        "Summary",
        page.paragraph(f"{evaluation.coverage.sentence()}: {num_real:,} real, {num_fake:,} fake."),
        page.table(["metric [interval]", "video", "track", "frame (face)"], rows),
        page.paragraph(
            f"Threshold {settings.threshold:.4g}; aggregation {settings.aggregation_rule}; "
            f"{settings.confidence:.0%} intervals from {settings.num_draws:,} bootstrap draws over "
            f"{settings.drawn}, seed {settings.seed}. Fake is the positive class."
            f"{_words_on_tracks(evaluation)}",
            kind="small",
        ),
    )


def _words_on_tracks(evaluation: Evaluation) -> str:
    if len(evaluation.track.labels):
        return ""
    return " No track level: the scores have no column track_id, which tells people apart."


def _abstention(evaluation: Evaluation) -> str:
    found = evaluation.abstention
    words = "No band of uncertain verdicts: every video gets one."
    if found.uncertain_low < found.uncertain_high:
        right = "n/a" if np.isnan(found.accuracy_certain) else f"{found.accuracy_certain:.3f}"
        words = (
            f"Uncertain between {found.uncertain_low:.3f} and {found.uncertain_high:.3f}: "
            f"{found.share_certain:.1%} of the videos get a verdict, {right} of these are right "
            f"(of all, were all to get one: {found.accuracy_all:.3f})."
        )
    figure = page.picture(png_bytes(risk_coverage_figure(evaluation)), words="risk-coverage curve")
    return page.section("Abstention", page.paragraph(words), figure)


def _methods(evaluation: Evaluation) -> list[str]:
    if not evaluation.per_method:
        return []
    figure = page.picture(png_bytes(methods_figure(evaluation)), words="AUC and APCER by method")
    header = ["level: method", "real + fake videos", *(METRIC_WORDS[key] for key in _PAPER_COLUMNS)]
    rows = [[f"{level}: {name}", *cells] for level, name, *cells in _paper_rows(evaluation)]
    note = f"Most often called real: {evaluation.worst_method}." if len(evaluation.per_method) > 1 else ""
    return [
        page.section(
            "Methods, each against all reals of its dataset",
            figure,
            page.table(header, rows),
            *([page.paragraph(note, kind="small")] if note else []),
        )
    ]


def _paper_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return level, method, counts of videos and metrics of all, of each method and of their mean."""
    num_fake = int((evaluation.video.labels == FAKE).sum())
    num_real = len(evaluation.video.labels) - num_fake
    rows = []
    for level in LEVELS:
        if len(getattr(evaluation, level).labels) == 0:
            continue
        named: list[tuple[str, str, dict[str, Interval]]] = [
            ("all", f"{num_real:,} + {num_fake:,}", getattr(evaluation, level).metrics)
        ]
        named += [
            (name, f"{one.num_videos_real:,} + {one.num_videos_fake:,}", getattr(one, level).metrics)
            for name, one in evaluation.per_method.items()
        ]
        if len(evaluation.per_method) > 1:
            named.append(("mean over methods", "", evaluation.macro[level]))
        rows += [[level, name, count, *(m[key].text() for key in _PAPER_COLUMNS)] for name, count, m in named]
    return rows


def _slices(evaluation: Evaluation) -> list[str]:
    parts = []
    for column, results in evaluation.slices.items():
        parts.append(page.picture(png_bytes(slices_figure(column, results)), words=f"results by {column}"))
        parts.append(page.table(_slice_header(column), _slice_rows(evaluation, column)))
    return [page.section("Slices", *parts)] if parts else []


def _slice_header(column: str) -> list[str]:
    return [column, "real + fake videos", *(METRIC_WORDS[key] for key in _SLICE_COLUMNS)]


def _slice_rows(evaluation: Evaluation, column: str) -> list[list[str]]:
    return [
        [
            one.value,
            f"{one.num_videos_real:,} + {one.num_videos_fake:,}",
            *(one.metrics[key].text() for key in _SLICE_COLUMNS),
        ]
        for one in evaluation.slices[column]
    ]


def _rules(evaluation: Evaluation) -> str:
    used = evaluation.settings.aggregation_rule
    rows = [
        [name + (" (used)" if name == used else ""), *(metrics[key].text() for key in _RULE_COLUMNS)]
        for name, metrics in evaluation.aggregations.items()
    ]
    header = ["rule", *(METRIC_WORDS[key] for key in _RULE_COLUMNS)]
    return page.section(
        "From faces to a video",
        page.table(header, rows),
        page.paragraph("To compare, not to choose from: the rule is chosen on validation.", kind="small"),
    )


def _robustness(robustness: Robustness | None) -> list[str]:
    if robustness is None:
        return []
    return [
        page.section(
            "Robustness",
            page.paragraph(
                f"{robustness.num_videos_real:,} real and {robustness.num_videos_fake:,} fake videos; "
                f"unchanged: AUC {robustness.unchanged.text()}. The stored crops are changed, not the "
                "frames they were cut from.",
            ),
            page.picture(png_bytes(robustness_figure(robustness)), words="AUC against level"),
            page.table(_ROBUSTNESS_HEADER, _robustness_rows(robustness)),
        )
    ]


def _robustness_rows(robustness: Robustness) -> list[list[str]]:
    return [
        [f"{CORRUPTIONS[name].words} {point.level:g}", point.auc.text(), point.change.text()]
        for name, points in robustness.curves.items()
        for point in points
    ]


def _worst(evaluation: Evaluation, table: ScoreTable, crops: CropSource | None) -> list[str]:
    if crops is None or "path" not in table.details:
        return []
    sheets = {"Worst false positives": REAL, "Worst false negatives": FAKE}
    return [
        page.section(title, worst_faces(evaluation, table, crops, label=label))
        for title, label in sheets.items()
    ]


def _coverage(evaluation: Evaluation) -> str:
    coverage = evaluation.coverage
    parts = [page.paragraph(coverage.sentence())]
    if coverage.unscored:
        shown = coverage.unscored[:_MOST_UNSCORED]
        parts.append(page.table(["video", "why it has no score"], [list(one) for one in shown]))
        if len(shown) < len(coverage.unscored):
            parts.append(
                page.paragraph(f"... and {len(coverage.unscored) - len(shown):,} more in metrics.json")
            )
    return page.section("Coverage", *parts)
