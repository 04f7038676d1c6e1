"""Finished scores -> what they are worth, and what of it goes into a verdict.

    aggregation  faces -> people -> one probability of the clip; scoring uses the same rules
    score_table  scores as columns, what they cover, the videos they belong to
    score_files  scores of any tool from CSV or Parquet, and ours into Parquet
    evaluate     a table of scores -> metrics per video, person and frame, method and slice
    slices       videos by the value of a column
    terminal     an evaluation as a table for the terminal
    protocols    in-domain, leave-one-out, cross-dataset, cross-compression as pairs of filters
    submission   answers for the FaceForensics++ benchmark
    compare      several detectors on their common videos, with significance
    calibration  validation scores -> probabilities, threshold, rule, band of "uncertain"
    abstention   error rate against the share of verdicts given
    predict      a detector on the crops of a manifest -> a table of scores
    corruptions  what happens to pictures on their way, at five levels each
    robustness   a detector on changed crops: AUC against level
    seen         which measured videos a detector was trained or selected on
    calibrate    fit what calibration offers on a validation split and write it into the detector
    generators   a judge's features of a generator's samples, and what it takes them for

All but the last six know no network and no video: numbers in, numbers out. The formulas are in
``deepfake_detect.metrics``, the figures in ``deepfake_detect.report``.
"""

from typing import TYPE_CHECKING

from deepfake_detect.lazy import lazy_names

if TYPE_CHECKING:
    from deepfake_detect.evaluation.aggregation import (
        AGGREGATION_RULES,
        AggregationRule,
        ClipAggregate,
        aggregate_clip,
    )
    from deepfake_detect.evaluation.calibration import (
        choose_threshold,
        choose_uncertain_band,
        fit_temperature,
    )
    from deepfake_detect.evaluation.evaluate import (
        LEVELS,
        RESAMPLE_CHOICES,
        Evaluation,
        EvaluationSettings,
        Level,
        LevelResult,
        MethodResult,
        Resample,
        evaluate_scores,
    )
    from deepfake_detect.evaluation.score_table import Coverage, ScoreTable, VideoSamples, video_samples
    from deepfake_detect.evaluation.slices import DEFAULT_SLICES, SliceResult
    from deepfake_detect.evaluation.terminal import format_table

# Loaded on first use: a verdict needs the rules alone, and scikit-learn takes its time.
_HOMES = {
    "AGGREGATION_RULES": "aggregation",
    "AggregationRule": "aggregation",
    "ClipAggregate": "aggregation",
    "aggregate_clip": "aggregation",
    "choose_threshold": "calibration",
    "choose_uncertain_band": "calibration",
    "fit_temperature": "calibration",
    "LEVELS": "evaluate",
    "RESAMPLE_CHOICES": "evaluate",
    "Evaluation": "evaluate",
    "EvaluationSettings": "evaluate",
    "Level": "evaluate",
    "LevelResult": "evaluate",
    "MethodResult": "evaluate",
    "Resample": "evaluate",
    "evaluate_scores": "evaluate",
    "Coverage": "score_table",
    "ScoreTable": "score_table",
    "VideoSamples": "score_table",
    "video_samples": "score_table",
    "DEFAULT_SLICES": "slices",
    "SliceResult": "slices",
    "format_table": "terminal",
}

__all__ = [
    "AGGREGATION_RULES",
    "AggregationRule",
    "ClipAggregate",
    "DEFAULT_SLICES",
    "LEVELS",
    "RESAMPLE_CHOICES",
    "Coverage",
    "Evaluation",
    "EvaluationSettings",
    "Level",
    "LevelResult",
    "MethodResult",
    "Resample",
    "ScoreTable",
    "SliceResult",
    "VideoSamples",
    "aggregate_clip",
    "choose_threshold",
    "choose_uncertain_band",
    "evaluate_scores",
    "fit_temperature",
    "format_table",
    "video_samples",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
