"""Names of metrics for readers."""

from __future__ import annotations

from deepfake_detect.metrics import METRICS

METRIC_WORDS = {
    "auc": "AUC",
    "partial_auc": "partial AUC, FPR ≤ 10 %",
    "average_precision": "average precision",
    "eer": "equal error rate",
    "tpr_at_1pct_fpr": "TPR at 1 % FPR",
    "tpr_at_5pct_fpr": "TPR at 5 % FPR",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "apcer": "APCER (fakes classified as real)",
    "bpcer": "BPCER (reals classified as fake)",
    "acer": "ACER",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
"""Name of each metric of ``METRIC_NAMES`` in reports."""


def metric_title(name: str) -> str:
    """Return the title of a metric's column.

    Example:
        >>> metric_title("eer")
        'equal error rate'
    """
    return METRIC_WORDS.get(name) or METRICS.find(name).title or name
