"""Metrics of verdicts: a score at or above the threshold is called fake.

In the terms of ISO/IEC 30107-3, a forged face is an *attack* presentation and a real one a *bona fide*
presentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.metrics.samples import check_samples, check_threshold, ratio


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Weights (...) of the reals and fakes, and of those classified correctly."""

    num_reals: np.ndarray
    num_fakes: np.ndarray
    right_reals: np.ndarray
    right_fakes: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """Fraction of the fakes called real."""
        return ratio(self.num_fakes - self.right_fakes, self.num_fakes)

    @property
    def false_alarms(self) -> np.ndarray:
        """Fraction of the reals called fake."""
        return ratio(self.num_reals - self.right_reals, self.num_reals)


VERDICT_METRICS: dict[str, Callable[[Verdicts], np.ndarray]] = {
    "accuracy": lambda one: ratio(one.right_reals + one.right_fakes, one.num_reals + one.num_fakes),
    "balanced_accuracy": lambda one: (
        0.5 * (ratio(one.right_fakes, one.num_fakes) + ratio(one.right_reals, one.num_reals))
    ),
    "apcer": lambda one: one.missed,
    "bpcer": lambda one: one.false_alarms,
    "acer": lambda one: 0.5 * (one.missed + one.false_alarms),
}


def verdict_columns(labels: np.ndarray, scores: np.ndarray, threshold: float) -> list[np.ndarray]:
    """Return the four terms of each sample that :class:`Verdicts` sums up, each float64 (N,)."""
    check_threshold(threshold)
    is_fake = (labels == 1).astype(np.float64)
    called_fake = (scores >= threshold).astype(np.float64)
    return [1.0 - is_fake, is_fake, (1.0 - is_fake) * (1.0 - called_fake), is_fake * called_fake]


def accuracy(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float, weights: ArrayLike | None = None
) -> float:
    """Return the fraction of samples classified correctly.

    Args:
        labels, scores, weights: As for :func:`ranking.roc_curve`.
        threshold: Finite; a score at or above it is called fake.

    Returns:
        0 to 1; defined for a single class too.

    Raises:
        OptionError: As for :func:`ranking.roc_curve`, or a threshold that is not finite.

    Source: weighted mean of ``(score >= threshold) == label``.

    Example:
        >>> accuracy([0, 1, 1, 1], [0.2, 0.5, 0.9, 0.4], threshold=0.5)
        0.75
    """
    return float(VERDICT_METRICS["accuracy"](_verdicts(labels, scores, threshold, weights)))


def balanced_accuracy(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float, weights: ArrayLike | None = None
) -> float:
    """Return the mean of the two classes' accuracies, which does not depend on their sizes.

    Args, Raises:
        As for :func:`accuracy`.

    Returns:
        0 to 1, 0.5 for a constant score, or NaN when one class is absent.

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010.

    Example:
        >>> balanced_accuracy([0, 1, 1, 1], [0.2, 0.5, 0.9, 0.9], threshold=0.6)
        0.8333333333333333
    """
    return float(VERDICT_METRICS["balanced_accuracy"](_verdicts(labels, scores, threshold, weights)))


def apcer(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float, weights: ArrayLike | None = None
) -> float:
    """Return the attack presentation classification error rate: the fraction of fakes called real.

    The standard measures each kind of attack separately and reports the worst. Pass one method's fakes
    at a time for that; over several methods the rate is that of their mixture.

    Args, Raises:
        As for :func:`accuracy`.

    Returns:
        0 to 1, or NaN without a fake.

    Source: ISO/IEC 30107-3, biometric presentation attack detection, testing and reporting.

    Example:
        >>> apcer([0, 1, 1, 1, 1], [0.2, 0.1, 0.9, 0.9, 0.9], threshold=0.5)
        0.25
    """
    return float(VERDICT_METRICS["apcer"](_verdicts(labels, scores, threshold, weights)))


def bpcer(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float, weights: ArrayLike | None = None
) -> float:
    """Return the bona fide presentation classification error rate: the fraction of reals called fake.

    Args, Raises:
        As for :func:`accuracy`.

    Returns:
        0 to 1, or NaN without a real.

    Source: ISO/IEC 30107-3.

    Example:
        >>> bpcer([0, 0, 1], [0.2, 0.7, 0.9], threshold=0.5)
        0.5
    """
    return float(VERDICT_METRICS["bpcer"](_verdicts(labels, scores, threshold, weights)))


def acer(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float, weights: ArrayLike | None = None
) -> float:
    """Return the mean of :func:`apcer` and :func:`bpcer`, the average classification error rate.

    It equals 1 - balanced accuracy; many papers report it under this name.

    Args, Raises:
        As for :func:`accuracy`.

    Returns:
        0 to 1, or NaN when one class is absent.

    Source: the field's mean of the two rates of ISO/IEC 30107-3.

    Example:
        >>> acer([0, 0, 1, 1], [0.2, 0.7, 0.9, 0.9], threshold=0.5)
        0.25
    """
    return float(VERDICT_METRICS["acer"](_verdicts(labels, scores, threshold, weights)))


def _verdicts(labels: ArrayLike, scores: ArrayLike, threshold: float, weights: ArrayLike | None) -> Verdicts:
    samples = check_samples(labels, scores, weights)
    columns = verdict_columns(samples.labels, samples.scores, threshold)
    return Verdicts(*(np.dot(column, samples.weights) for column in columns))
