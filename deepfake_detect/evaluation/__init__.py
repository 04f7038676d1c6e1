"""Finished scores -> what they are worth, and what of it goes into a verdict.

    aggregation  faces -> people -> one probability of the clip; scoring uses the same rules
    evaluate     a table of scores -> video and frame metrics, overall and per method, with intervals
    calibration  validation scores -> temperature, threshold, band of "uncertain"
    predict      a detector on the crops of a manifest -> a table of scores
    calibrate    fit what calibration offers on a validation split and write it into the detector

The first three know no network and no video: numbers in, numbers out. The formulas are in
``deepfake_detect.metrics``, the figures in ``deepfake_detect.report``.
"""

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
    Coverage,
    Evaluation,
    EvaluationSettings,
    LevelResult,
    MethodResult,
    ScoreTable,
    VideoSamples,
    evaluate_scores,
    format_table,
    video_samples,
)

__all__ = [
    "AGGREGATION_RULES",
    "AggregationRule",
    "ClipAggregate",
    "Coverage",
    "Evaluation",
    "EvaluationSettings",
    "LevelResult",
    "MethodResult",
    "ScoreTable",
    "VideoSamples",
    "aggregate_clip",
    "choose_threshold",
    "choose_uncertain_band",
    "evaluate_scores",
    "fit_temperature",
    "format_table",
    "video_samples",
]
