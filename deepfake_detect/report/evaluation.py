"""Files of an evaluation: numbers, scores, figures, an HTML report and tables for a paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.evaluation import LEVELS, Evaluation, ScoreTable
from deepfake_detect.evaluation.corruptions import CORRUPTIONS
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.evaluation.inputs import CropSource
from deepfake_detect.evaluation.robustness import Robustness
from deepfake_detect.evaluation.score_files import SCORES_NAME, write_scores
from deepfake_detect.io.files import write_json
from deepfake_detect.metrics import Interval
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.report import page
from deepfake_detect.report.drawing import figure_url
from deepfake_detect.report.faces import wrong_faces
from deepfake_detect.report.figures import (
    det_figure,
    methods_figure,
    reliability_figure,
    risk_coverage_figure,
    robustness_figure,
    slices_figure,
)
from deepfake_detect.report.roc import roc_figure, save_roc_figure
from deepfake_detect.report.words import METRIC_WORDS, metric_title

_PAPER_COLUMNS = ("auc", "average_precision", "eer", "tpr_at_1pct_fpr", "balanced_accuracy", "log_loss")
_RULE_COLUMNS = ("auc", "eer", "balanced_accuracy", "log_loss")
_ROBUSTNESS_HEADER = ["corruption and level", "AUC", "change"]
_SLICE_COLUMNS = ("auc", "eer", "balanced_accuracy", "apcer", "bpcer", "log_loss")
_MAX_UNSCORED = 200


@dataclass(frozen=True, eq=False)
class ReportContext:
    """Content of the report in addition to the evaluation.

    Attributes:
        title: For example names of detector and data.
        decision: Stored with the scores.
        crops: Location of the face crops; ``None`` if there are only scores.
    """

    title: str
    decision: DecisionFacts
    crops: CropSource | None = None


def write_evaluation(folder: Path, evaluation: Evaluation, table: ScoreTable, context: ReportContext) -> None:
    """Write ``metrics.json``, ``scores.parquet``, ``roc.png``, ``report.html`` and ``report.md``.

    ``metrics.json`` has the keys of ``Evaluation.to_json``.

    Args:
        folder: Created when missing.
        evaluation: The result.
        table: The scores behind it.
        context: Further content of the report.
    """
    write_json(folder / "metrics.json", evaluation.to_json())
    write_scores(folder / SCORES_NAME, table, evaluation.coverage, decision=context.decision)
    save_roc_figure(evaluation, folder / "roc.png")
    page.write_text(folder / "report.md", markdown_report(evaluation, context))
    page.write_text(folder / "report.html", html_report(evaluation, table, context))


def markdown_report(evaluation: Evaluation, context: ReportContext) -> str:
    """Return the result as Markdown tables for a paper, with coverage, settings and warnings."""
    lines = [f"# {context.title}", "", *(f"**Warning: {line}**\n" for line in evaluation.seen)]
    header = ["level", "method", "real + fake videos", *_titles(_paper_columns(evaluation))]
    lines += [page.markdown_table(header, _paper_rows(evaluation)), ""]
    lines += [f"{evaluation.coverage.sentence()}. {_settings_sentence(evaluation)}", ""]
    for column in evaluation.slices:
        lines += [page.markdown_table(_slice_header(column), _slice_rows(evaluation, column)), ""]
    if evaluation.robustness is not None:
        lines += [page.markdown_table(_ROBUSTNESS_HEADER, _robustness_rows(evaluation.robustness)), ""]
    return "\n".join(lines)


def html_report(evaluation: Evaluation, table: ScoreTable, context: ReportContext) -> str:
    """Return the report as an HTML page that needs no other file and no network."""
    num_real, num_fake = _num_videos(evaluation)
    unscored = evaluation.coverage.unscored
    return page.render(
        "evaluation.html.j2",
        title=context.title,
        seen=evaluation.seen,
        coverage=evaluation.coverage.sentence(),
        num_real=num_real,
        num_fake=num_fake,
        summary=_summary_rows(evaluation),
        settings=_settings_sentence(evaluation),
        figures=_figures(evaluation, table, context),
        abstention=_abstention_sentence(evaluation),
        methods=_methods(evaluation),
        slices=[_slice(evaluation, column) for column in evaluation.slices],
        rules={"header": ["rule", *_titles(_RULE_COLUMNS)], "rows": _rule_rows(evaluation)},
        robustness=_robustness(evaluation.robustness),
        sheets=_sheets(evaluation, table, context.crops),
        unscored=unscored[:_MAX_UNSCORED],
        num_more_unscored=max(0, len(unscored) - _MAX_UNSCORED),
    )


def _figures(evaluation: Evaluation, table: ScoreTable, context: ReportContext) -> dict[str, str]:
    """Return the figures of the report as data URLs by name; an empty one is left out."""
    num_real, num_fake = _num_videos(evaluation)
    has_logits = context.decision.has_logits
    return {
        "roc": figure_url(roc_figure(evaluation)),
        "det": figure_url(det_figure(evaluation)) if num_real and num_fake else "",
        "reliability": figure_url(reliability_figure(evaluation, table, has_logits=has_logits)),
        "abstention": figure_url(risk_coverage_figure(evaluation)),
        "methods": figure_url(methods_figure(evaluation)) if evaluation.per_method else "",
    }


def _num_videos(evaluation: Evaluation) -> tuple[int, int]:
    """Return the numbers of real and fake videos."""
    num_fake = int((evaluation.video.labels == FAKE).sum())
    return len(evaluation.video.labels) - num_fake, num_fake


def _titles(names: Iterable[str]) -> list[str]:
    return [metric_title(name) for name in names]


def _registered(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the metrics of an evaluation besides the built-in ones."""
    return tuple(name for name in evaluation.video.metrics if name not in METRIC_WORDS)


def _paper_columns(evaluation: Evaluation) -> tuple[str, ...]:
    return (*_PAPER_COLUMNS, *_registered(evaluation))


def _summary_rows(evaluation: Evaluation) -> list[list[str]]:
    return [
        [metric_title(name), *(getattr(evaluation, level).metrics[name].text() for level in LEVELS)]
        for name in (*METRIC_WORDS, *_registered(evaluation))
    ]


def _settings_sentence(evaluation: Evaluation) -> str:
    settings = evaluation.settings
    no_tracks = " No track level: the scores have no column track_id, which separates people."
    return (
        f"Threshold {settings.threshold:.4g}; aggregation {settings.aggregation_rule}; "
        f"{settings.confidence:.0%} intervals from {settings.num_resamples:,} bootstrap resamples over "
        f"{settings.resampled}, seed {settings.seed}. Fake is the positive class."
        f"{'' if len(evaluation.track.labels) else no_tracks}"
    )


def _abstention_sentence(evaluation: Evaluation) -> str:
    found = evaluation.abstention
    if found.uncertain_low >= found.uncertain_high:
        return "There is no band of uncertain verdicts: every video gets a verdict."
    right = "n/a" if np.isnan(found.accuracy_certain) else f"{found.accuracy_certain:.3f}"
    return (
        f"Uncertain between {found.uncertain_low:.3f} and {found.uncertain_high:.3f}: "
        f"{found.share_certain:.1%} of the videos get a verdict, with accuracy {right} "
        f"({found.accuracy_all:.3f} if all videos got one)."
    )


def _methods(evaluation: Evaluation) -> dict[str, Any]:
    """Return header, rows and the worst method; empty without methods."""
    if not evaluation.per_method:
        return {}
    return {
        "header": ["level: method", "real + fake videos", *_titles(_paper_columns(evaluation))],
        "rows": [[f"{level}: {name}", *cells] for level, name, *cells in _paper_rows(evaluation)],
        "worst": evaluation.worst_method if len(evaluation.per_method) > 1 else "",
    }


def _paper_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return level, method, counts of videos and metrics of all, of each method and of their mean."""
    num_real, num_fake = _num_videos(evaluation)
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
        columns = _paper_columns(evaluation)
        rows += [[level, name, count, *(m[key].text() for key in columns)] for name, count, m in named]
    return rows


def _slice(evaluation: Evaluation, column: str) -> dict[str, Any]:
    return {
        "column": column,
        "figure": figure_url(slices_figure(column, evaluation.slices[column])),
        "header": _slice_header(column),
        "rows": _slice_rows(evaluation, column),
    }


def _slice_header(column: str) -> list[str]:
    return [column, "real + fake videos", *_titles(_SLICE_COLUMNS)]


def _slice_rows(evaluation: Evaluation, column: str) -> list[list[str]]:
    return [
        [
            one.value,
            f"{one.num_videos_real:,} + {one.num_videos_fake:,}",
            *(one.metrics[key].text() for key in _SLICE_COLUMNS),
        ]
        for one in evaluation.slices[column]
    ]


def _rule_rows(evaluation: Evaluation) -> list[list[str]]:
    used = evaluation.settings.aggregation_rule
    return [
        [name + (" (used)" if name == used else ""), *(metrics[key].text() for key in _RULE_COLUMNS)]
        for name, metrics in evaluation.aggregations.items()
    ]


def _robustness(robustness: Robustness | None) -> dict[str, Any]:
    if robustness is None:
        return {}
    return {
        "sentence": f"{robustness.num_videos_real:,} real and {robustness.num_videos_fake:,} fake videos; "
        f"unchanged: AUC {robustness.unchanged.text()}. The stored crops are corrupted, not the frames "
        "they were cut from.",
        "figure": figure_url(robustness_figure(robustness)),
        "header": _ROBUSTNESS_HEADER,
        "rows": _robustness_rows(robustness),
    }


def _robustness_rows(robustness: Robustness) -> list[list[str]]:
    return [
        [f"{CORRUPTIONS[name].words} {point.level:g}", point.auc.text(), point.change.text()]
        for name, points in robustness.curves.items()
        for point in points
    ]


def _sheets(evaluation: Evaluation, table: ScoreTable, crops: CropSource | None) -> list[dict[str, Any]]:
    if crops is None or "path" not in table.details:
        return []
    links = (
        "Faces link to their clips."
        if crops.clips
        else "Faces link to their crops; with an index, to their clips."
    )
    sheets = []
    for title, label in (("Worst false positives", REAL), ("Worst false negatives", FAKE)):
        num_wrong, faces = wrong_faces(evaluation, table, crops, label=label)
        sheets.append({"title": title, "links": links, "num_wrong": num_wrong, "faces": faces})
    return sheets
