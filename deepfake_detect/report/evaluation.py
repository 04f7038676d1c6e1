"""Files of an evaluation: numbers, scores, figures, an HTML report and tables for a paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.evaluation import LEVELS, Evaluation, MethodResult, ScoreTable, SliceResult
from deepfake_detect.evaluation.corruptions import CORRUPTIONS
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.evaluation.inputs import CropSource
from deepfake_detect.evaluation.robustness import Robustness
from deepfake_detect.evaluation.score_files import SCORES_NAME, write_scores
from deepfake_detect.evaluation.score_table import Coverage, kind_of_reason
from deepfake_detect.evaluation.segment_metrics import SegmentMetrics
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
    attacks = _attack_table(evaluation)
    tables = [
        _methods_table(evaluation),
        *([attacks] if attacks else []),
        *_slice_tables(evaluation).values(),
    ]
    if evaluation.robustness is not None:
        tables.append(_robustness_table(evaluation.robustness))
    if evaluation.segments is not None:
        tables.append(_segment_table(evaluation.segments))
    first, *others = [f"{page.markdown_table(table['header'], table['rows'])}\n" for table in tables]
    warnings = [f"**Warning: {line}**\n" for line in evaluation.seen]
    settings = f"{evaluation.coverage.sentence()}. {_settings_sentence(evaluation)}\n"
    return "\n".join([f"# {context.title}\n", *warnings, first, settings, *others])


def html_report(evaluation: Evaluation, table: ScoreTable, context: ReportContext) -> str:
    """Return the report as an HTML page that needs no other file and no network."""
    num_real, num_fake = evaluation.num_videos_real, evaluation.num_videos_fake
    robustness, has_logits = evaluation.robustness, context.decision.has_logits
    figures = {
        "roc": roc_figure(evaluation),
        "det": det_figure(evaluation) if num_real and num_fake else None,
        "reliability": reliability_figure(evaluation, table, has_logits=has_logits),
        "abstention": risk_coverage_figure(evaluation),
        "methods": methods_figure(evaluation) if evaluation.per_method else None,
        "robustness": None if robustness is None else robustness_figure(robustness),
    }
    methods = _methods_table(evaluation)
    _, _, *header = methods["header"]
    rows = [[f"{level}: {name}", *cells] for level, name, *cells in methods["rows"]]
    slices = {column: slices_figure(column, found) for column, found in evaluation.slices.items()}
    return page.render(
        "evaluation.html.j2",
        title=context.title,
        evaluation=evaluation,
        num_real=num_real,
        num_fake=num_fake,
        summary=_summary_table(evaluation),
        settings=_settings_sentence(evaluation),
        figures={name: figure and figure_url(figure) for name, figure in figures.items()},
        attack_errors=_attack_table(evaluation),
        abstention=_abstention_sentence(evaluation),
        methods={"header": ["level: method", *header], "rows": rows},
        slices=_slice_tables(evaluation),
        slice_figures={column: figure_url(figure) for column, figure in slices.items()},
        rules=_rules_table(evaluation),
        robustness=None if robustness is None else _robustness_table(robustness),
        segments=None if evaluation.segments is None else _segment_table(evaluation.segments),
        sheets=_sheets(evaluation, table, context.crops),
        unscored=_unscored(evaluation.coverage),
        max_unscored=_MAX_UNSCORED,
    )


def _unscored(coverage: Coverage) -> dict[str, list[tuple[str, str]]]:
    """Return the videos without a score and their reasons, by kind: title with their number, and rows."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for video_id, reason in coverage.unscored:
        kinds.setdefault(kind_of_reason(reason), []).append((video_id, reason))
    return {f"{len(rows):,} {kind}": rows for kind, rows in sorted(kinds.items())}


def _table(
    lead: list[str], columns: Iterable[str], items: Iterable[tuple[list[str], dict[str, Interval]]]
) -> dict[str, Any]:
    """Return header and rows of a table: the lead's cells, then the metrics named by ``columns``."""
    columns = list(columns)
    return {
        "header": [*lead, *map(metric_title, columns)],
        "rows": [[*cells, *(metrics[key].text() for key in columns)] for cells, metrics in items],
    }


def _registered(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the registered metrics of an evaluation, without the built-in ones."""
    return tuple(name for name in evaluation.video.metrics if name not in METRIC_WORDS)


def _summary_table(evaluation: Evaluation) -> dict[str, Any]:
    rows = [
        [metric_title(name), *(getattr(evaluation, level).metrics[name].text() for level in LEVELS)]
        for name in (*METRIC_WORDS, *_registered(evaluation))
    ]
    return {"header": ["metric [interval]", "video", "track", "frame (face)"], "rows": rows}


def _settings_sentence(evaluation: Evaluation) -> str:
    settings = evaluation.settings
    no_tracks = " No track level: the scores have no column track_id, which separates people."
    return (
        f"Threshold {settings.threshold:.4g}; aggregation {settings.aggregation_rule}; "
        f"{settings.confidence:.0%} intervals from {settings.num_resamples:,} bootstrap resamples over "
        f"{settings.resampled}, seed {settings.seed}. Fake is the positive class."
        f"{'' if len(evaluation.track.labels) else no_tracks}"
        f"{''.join(f' {note}.' for note in evaluation.notes)}"
    )


def _abstention_sentence(evaluation: Evaluation) -> str:
    found = evaluation.abstention
    if found.uncertain_low >= found.uncertain_high:
        return "There is no uncertain band: every video gets a verdict."
    right = "n/a" if np.isnan(found.accuracy_certain) else f"{found.accuracy_certain:.3f}"
    return (
        f"Uncertain between {found.uncertain_low:.3f} and {found.uncertain_high:.3f}: "
        f"{found.share_certain:.1%} of the videos get a verdict, with accuracy {right} "
        f"({found.accuracy_all:.3f} if all videos got one)."
    )


def _methods_table(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics of all videos, of each method and of their mean, at each level."""
    items: list[tuple[list[str], dict[str, Interval]]] = []
    num_real, num_fake = evaluation.num_videos_real, evaluation.num_videos_fake
    for level in LEVELS:
        if len(getattr(evaluation, level).labels) == 0:
            continue
        items.append(([level, "all", f"{num_real:,} + {num_fake:,}"], getattr(evaluation, level).metrics))
        for name, one in evaluation.per_method.items():
            items.append(([level, name, _counts(one)], getattr(one, level).metrics))
        if len(evaluation.per_method) > 1:
            items.append(([level, "mean over methods", ""], evaluation.macro[level]))
    columns = (*_PAPER_COLUMNS, *_registered(evaluation))
    return _table(["level", "method", "real + fake videos"], columns, items)


def _attack_table(evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the error rates of ISO/IEC 30107-3, the worst method first."""
    errors = evaluation.attack_errors
    if errors is None:
        return None
    over = {
        f"worst case: {errors.worst_method}": (errors.worst_apcer, errors.bpcer, errors.worst_acer),
        "mean over methods": (errors.mean_apcer, errors.bpcer, errors.mean_acer),
    }
    apcer = sorted(errors.apcer.items(), key=lambda one: -one[1].value)
    return {
        "header": ["fakes called real (APCER), reals called fake (BPCER)", "APCER", "BPCER", "ACER"],
        "rows": [[name, *(rate.text() for rate in rates)] for name, rates in over.items()]
        + [[name, rate.text(), "", ""] for name, rate in apcer],
    }


def _counts(one: MethodResult | SliceResult) -> str:
    return f"{one.num_videos_real:,} + {one.num_videos_fake:,}"


def _slice_tables(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    return {
        column: _table(
            [column, "real + fake videos"],
            _SLICE_COLUMNS,
            [([one.value, _counts(one)], one.metrics) for one in found],
        )
        for column, found in evaluation.slices.items()
    }


def _rules_table(evaluation: Evaluation) -> dict[str, Any]:
    used = evaluation.settings.aggregation_rule
    items = [
        ([name + " (used)" * (name == used)], metrics) for name, metrics in evaluation.aggregations.items()
    ]
    return _table(["rule"], _RULE_COLUMNS, items)


def _robustness_table(robustness: Robustness) -> dict[str, Any]:
    rows = [
        [f"{CORRUPTIONS[name].words} {point.level:g}", point.auc.text(), point.change.text()]
        for name, points in robustness.curves.items()
        for point in points
    ]
    return {"header": ["corruption and level", "AUC", "change"], "rows": rows}


def _segment_table(segments: SegmentMetrics) -> dict[str, Any]:
    kinds = {"AP": "average precision at IoU", "AR": "average recall of proposals:"}
    names = {key: f"{kinds[key[:2].upper()]} {key[3:]}" for key in segments.metrics}
    rows = [[names[key], one.text(), segments.baseline[key].text()] for key, one in segments.metrics.items()]
    return {"header": ["forged segments", "change points", "frames above the threshold"], "rows": rows}


def _sheets(evaluation: Evaluation, table: ScoreTable, crops: CropSource | None) -> list[dict[str, Any]]:
    if crops is None or "path" not in table.details:
        return []
    sheets = []
    for title, label in (("Worst false positives", REAL), ("Worst false negatives", FAKE)):
        num_wrong, faces = wrong_faces(evaluation, table, crops, label=label)
        sheets.append(
            {"title": title, "has_clips": bool(crops.clips), "num_wrong": num_wrong, "faces": faces}
        )
    return sheets
