"""Metrics that are added to the built-in ones, by plug-ins or by a script."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.registry import Registry

METRIC_NAMES = (
    "auc",
    "accuracy",
    "balanced_accuracy",
    "eer",
    "log_loss",
    "average_precision",
    "brier",
    "partial_auc",
    "tpr_at_1pct_fpr",
    "tpr_at_5pct_fpr",
    "apcer",
    "bpcer",
    "acer",
    "ece",
)
"""The built-in metrics, by the keys of ``metrics.json``; :mod:`metrics` defines each."""


@dataclass(frozen=True)
class Metric:
    """A registered metric.

    Attributes:
        function: From labels and scores to a number; ``None`` for the built-in ones, which are
            computed together.
        title: Title of its column in reports; empty for the name.
        needs_threshold: Whether the function has a parameter ``threshold``.
    """

    function: Callable[..., float] | None = None
    title: str = ""
    needs_threshold: bool = False

    def __call__(self, labels: np.ndarray, scores: np.ndarray, *, threshold: float) -> float:
        """Return the metric of samples; NaN where there are none."""
        if self.function is None:
            raise OptionError("metrics", "is a built-in metric", "call its function of `metrics`")
        if len(labels) == 0:
            return float("nan")
        options = {"threshold": threshold} if self.needs_threshold else {}
        return float(self.function(labels, scores, **options))


METRICS: Registry[Metric] = Registry("metrics", {name: Metric() for name in METRIC_NAMES})
"""Every metric by name. Evaluations report the built-in ones, and others by name."""


def register_metric(name: str, function: Callable[..., float], *, title: str = "") -> None:
    """Add a metric that ``evaluate(..., metrics=[name])`` reports with its interval.

    Args:
        name: Its key in ``metrics.json``, not taken yet.
        function: From labels int64 (N,), 1 = fake, and scores float64 (N,), the probabilities of fake,
            to a number; NaN where it is undefined, as for a single class. If it has a parameter
            ``threshold``, it gets the threshold of the evaluation. It is called for each bootstrap
            resample.
        title: Title of its column in reports; the name when empty.

    Raises:
        OptionError: The name is taken.

    Example:
        >>> def recall(labels, scores, threshold):
        ...     return (scores[labels == 1] >= threshold).mean() if labels.any() else float("nan")
        >>> register_metric("recall", recall, title="fakes found")
        >>> METRICS.find("recall")(np.array([0, 1, 1]), np.array([0.9, 0.8, 0.1]), threshold=0.5)
        0.5
    """
    needs_threshold = "threshold" in inspect.signature(function).parameters
    METRICS.register(name, Metric(function, title, needs_threshold), source=function)


def metric_names(extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the built-in metrics and some others, each once.

    Raises:
        OptionError: A metric is unknown.
    """
    for name in extra:
        METRICS.find(name)
    return tuple(dict.fromkeys((*METRIC_NAMES, *extra)))
