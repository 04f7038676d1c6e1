"""Labels and scores -> numbers about a detector. Pure functions over arrays.

    ranking        roc_curve, roc_auc, partial_auc, average_precision, equal_error_rate, tpr_at_fpr:
                   depend on the order of scores only
    decisions      accuracy, balanced_accuracy, apcer, bpcer, acer: need a threshold
    probabilities  log_loss, brier_score, reliability_bins, expected_calibration_error: need
                   probabilities
    bootstrap      all of them (``METRIC_NAMES``) with percentile intervals, and the differences of
                   two detectors
    delong         whether the AUCs of two detectors differ

Fake is the positive class, 1. A sample is called fake when its score is *at or above* the
threshold. Samples of equal score are never put in an order: they enter a curve together.

Every function takes ``weights``: a sample of weight 3 counts as three equal samples, one of weight
0 as absent. A bootstrap draw is therefore nothing but weights, and samples are sorted only once.

A number that the samples leave undefined is NaN, never a made-up value: what compares two classes
(AUC, partial AUC, average precision, equal error rate, TPR at an FPR, balanced accuracy, ACER) is
NaN when one is absent; APCER needs a fake and BPCER a real.
"""

from typing import TYPE_CHECKING

from deepfake_detect.lazy import lazy_names

if TYPE_CHECKING:
    from deepfake_detect.metrics.bootstrap import (
        CONFIDENCE,
        METRIC_NAMES,
        Interval,
        bootstrap_differences,
        bootstrap_intervals,
        check_draws,
        draw_groups,
        intervals_of,
        metric_draws,
    )
    from deepfake_detect.metrics.decisions import accuracy, acer, apcer, balanced_accuracy, bpcer
    from deepfake_detect.metrics.delong import AucDifference, delong_test
    from deepfake_detect.metrics.probabilities import (
        NUM_RELIABILITY_BINS,
        PROBABILITY_EPSILON,
        ReliabilityBins,
        brier_score,
        expected_calibration_error,
        log_loss,
        reliability_bins,
    )
    from deepfake_detect.metrics.ranking import (
        PARTIAL_AUC_MAX_FPR,
        RocCurve,
        average_precision,
        equal_error_rate,
        partial_auc,
        roc_auc,
        roc_curve,
        tpr_at_fpr,
    )
    from deepfake_detect.metrics.samples import check_threshold

# Loaded on first use: a verdict needs one number of them, and scipy takes its time.
_HOMES = {
    "CONFIDENCE": "bootstrap",
    "METRIC_NAMES": "bootstrap",
    "Interval": "bootstrap",
    "bootstrap_differences": "bootstrap",
    "bootstrap_intervals": "bootstrap",
    "check_draws": "bootstrap",
    "draw_groups": "bootstrap",
    "intervals_of": "bootstrap",
    "metric_draws": "bootstrap",
    "accuracy": "decisions",
    "acer": "decisions",
    "apcer": "decisions",
    "balanced_accuracy": "decisions",
    "bpcer": "decisions",
    "AucDifference": "delong",
    "delong_test": "delong",
    "NUM_RELIABILITY_BINS": "probabilities",
    "PROBABILITY_EPSILON": "probabilities",
    "ReliabilityBins": "probabilities",
    "brier_score": "probabilities",
    "expected_calibration_error": "probabilities",
    "log_loss": "probabilities",
    "reliability_bins": "probabilities",
    "PARTIAL_AUC_MAX_FPR": "ranking",
    "RocCurve": "ranking",
    "average_precision": "ranking",
    "equal_error_rate": "ranking",
    "partial_auc": "ranking",
    "roc_auc": "ranking",
    "roc_curve": "ranking",
    "tpr_at_fpr": "ranking",
    "check_threshold": "samples",
}

__all__ = [
    "CONFIDENCE",
    "METRIC_NAMES",
    "NUM_RELIABILITY_BINS",
    "PARTIAL_AUC_MAX_FPR",
    "PROBABILITY_EPSILON",
    "AucDifference",
    "Interval",
    "ReliabilityBins",
    "RocCurve",
    "acer",
    "accuracy",
    "apcer",
    "average_precision",
    "balanced_accuracy",
    "bootstrap_differences",
    "bootstrap_intervals",
    "bpcer",
    "brier_score",
    "check_draws",
    "check_threshold",
    "delong_test",
    "draw_groups",
    "equal_error_rate",
    "expected_calibration_error",
    "intervals_of",
    "log_loss",
    "metric_draws",
    "partial_auc",
    "reliability_bins",
    "roc_auc",
    "roc_curve",
    "tpr_at_fpr",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
