"""Metrics that depend only on the order of the scores.

All of them follow from the same two counts: false and true positives with the threshold at each
distinct score. Their functions take counts with any number of axes before the last, so that many
bootstrap resamples are measured at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.errors import OptionError
from deepfake_detect.metrics.samples import Samples, check_samples, ratio

PARTIAL_AUC_MAX_FPR = 0.1
# A rate that equals the limit up to the rounding of a division is not above it.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The receiver operating characteristic: one point per distinct score, from (0, 0) to (1, 1).

    Attributes:
        false_positive_rate: float64 (P,), fraction of reals called fake; rising. NaN without a real.
        true_positive_rate: float64 (P,), fraction of fakes called fake; rising. NaN without a fake.
        thresholds: float64 (P,), falling from +inf; the rates of a point are those of ``score >= threshold``.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True, eq=False)
class Ranking:
    """Samples sorted by falling score.

    Attributes:
        order: int64 (N,), indices of the samples.
        labels: float64 (N,), in that order; 1 = fake.
        block_ends: int64 (B,), the last sample of each run of equal scores.
    """

    order: np.ndarray
    labels: np.ndarray
    block_ends: np.ndarray


@dataclass(frozen=True, eq=False)
class Counts:
    """False and true positives with the threshold at each distinct score, falling: each (..., B).

    ``num_reals`` and ``num_fakes`` (...) are the weights of the classes, also where the scores end early.
    """

    false_positives: np.ndarray
    true_positives: np.ndarray
    num_reals: np.ndarray
    num_fakes: np.ndarray


def rank(samples: Samples) -> Ranking:
    """Sort samples by falling score."""
    order = np.argsort(-samples.scores, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(samples.scores[order])), len(order) - 1)
    return Ranking(order, samples.labels[order], last_of_ties)


def count(ranking: Ranking, weights: np.ndarray) -> Counts:
    """Return the counts of samples whose weights (..., N) are in the order of the ranking."""
    # Two sums rather than a difference of sums: both stay monotone under rounding.
    fakes = weights * ranking.labels
    sums = [np.cumsum(of_class, axis=-1) for of_class in (weights - fakes, fakes)]
    if len(ranking.block_ends) < len(ranking.order):
        sums = [np.take(of_class, ranking.block_ends, axis=-1) for of_class in sums]
    return Counts(*sums, *(of_class[..., -1] for of_class in sums))


def roc_curve(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> RocCurve:
    """Return the complete ROC curve.

    Args:
        labels: (N,) of 0 = real and 1 = fake, N >= 1.
        scores: (N,) finite numbers, higher = more likely fake.
        weights: (N,) finite numbers from 0, not all 0; ``None`` counts every sample once.

    Returns:
        The curve; the rate of an absent class is NaN.

    Raises:
        OptionError: Empty or unequally long arrays, labels other than 0 and 1, scores that are not
            finite, weights that are negative, not finite or all 0.

    Source: Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006).

    Example:
        >>> curve = roc_curve([0, 1, 1], [0.2, 0.2, 0.9])
        >>> curve.true_positive_rate.tolist(), curve.false_positive_rate.tolist()
        ([0.0, 0.5, 1.0], [0.0, 0.0, 1.0])
    """
    samples = check_samples(labels, scores, weights)
    ranking = rank(samples)
    false_rate, true_rate = _with_origin(count(ranking, samples.weights[ranking.order]))
    thresholds = np.append(np.inf, samples.scores[ranking.order][ranking.block_ends])
    return RocCurve(false_rate, true_rate, thresholds)


def roc_auc(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the area under the ROC curve: P(fake scores above real), ties counting one half.

    Exact for integer weights, since it is a count of pairs.

    Args, Raises:
        As for :func:`roc_curve`.

    Returns:
        0 to 1, or NaN when one class is absent.

    Source: Hanley & McNeil, Radiology 143 (1982): the area is the Mann-Whitney statistic.

    Example:
        >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        0.875
    """
    return float(auc_of(_checked_counts(labels, scores, weights)))


def partial_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    max_fpr: float = PARTIAL_AUC_MAX_FPR,
    weights: ArrayLike | None = None,
) -> float:
    """Return the area under the ROC curve up to a false positive rate, standardized.

    The area A over false positive rates 0 to x lies between x²/2 (chance) and x (perfect);
    standardized it is ``(1 + (A - x²/2) / (x - x²/2)) / 2``: 0.5 for chance, 1 for a perfect
    detector, and below 0.5 for worse than chance. The curve is straight between two points.

    Args:
        labels, scores, weights: As for :func:`roc_curve`.
        max_fpr: x, above 0 and at most 1; at 1 the result is :func:`roc_auc`.

    Returns:
        0 to 1, or NaN when one class is absent.

    Raises:
        OptionError: As for :func:`roc_curve`; ``max_fpr`` out of range.

    Source: McClish, "Analyzing a portion of the ROC curve", Medical Decision Making 9 (1989), as
    scikit-learn's ``roc_auc_score(max_fpr=...)``.

    Example:
        >>> round(partial_auc([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.8, 0.7, 0.9], max_fpr=0.25), 4)
        0.7143
    """
    if not 0.0 < max_fpr <= 1.0:
        raise OptionError("max_fpr", f"is {max_fpr}", "must be above 0 and at most 1, such as 0.1")
    return float(partial_auc_of(_checked_counts(labels, scores, weights), max_fpr))


def average_precision(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean precision over the recall steps, without interpolation.

    Unlike the AUC it depends on the fraction of fakes among the samples.

    Args, Raises:
        As for :func:`roc_curve`.

    Returns:
        0 to 1, or NaN when one class is absent (without a real, precision is always 1).

    Source: sum over n of (R_n - R_{n-1}) P_n, as in scikit-learn's ``average_precision_score``.

    Example:
        >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
        0.8333
    """
    return float(average_precision_of(_checked_counts(labels, scores, weights)))


def equal_error_rate(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the error rate at which false positive and false negative rate are equal.

    Where no threshold makes them equal, the ROC curve is interpolated linearly between the two
    neighboring points.

    Args, Raises:
        As for :func:`roc_curve`.

    Returns:
        0 to 1, or NaN when one class is absent.

    Source: the crossing of the ROC curve with TPR = 1 - FPR, as in ISO/IEC 19795-1.

    Example:
        >>> equal_error_rate([0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.8, 0.4, 0.7, 0.9, 0.95])
        0.25
    """
    return float(equal_error_rate_of(_checked_counts(labels, scores, weights)))


def tpr_at_fpr(
    labels: ArrayLike, scores: ArrayLike, *, max_fpr: float, weights: ArrayLike | None = None
) -> float:
    """Return the highest true positive rate of a threshold with at most a given false positive rate.

    The curve is not interpolated, so with fewer than ``1 / max_fpr`` reals none of them may be called
    fake.

    Args:
        labels, scores, weights: As for :func:`roc_curve`.
        max_fpr: Highest fraction of reals called fake, 0 to 1.

    Returns:
        0 to 1, or NaN when one class is absent.

    Raises:
        OptionError: As for :func:`roc_curve`; ``max_fpr`` out of range.

    Source: detection rate at a fixed false alarm rate, read off the curve of Fawcett (2006).

    Example:
        >>> tpr_at_fpr([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.8, 0.7, 0.9], max_fpr=0.05)
        0.5
    """
    if not 0.0 <= max_fpr <= 1.0:
        raise OptionError("max_fpr", f"is {max_fpr}", "must be 0 to 1, such as 0.05")
    return float(tpr_at_fpr_of(_checked_counts(labels, scores, weights), max_fpr))


def auc_of(counts: Counts) -> np.ndarray:
    """Return :func:`roc_auc` of counts (..., B), shape (...)."""
    false_positives, true_positives = counts.false_positives, counts.true_positives
    reals = np.diff(false_positives, axis=-1)
    # Each real counts the fakes above it and half of those that tie: the mean of before and after.
    twice = false_positives[..., 0] * true_positives[..., 0]
    twice = twice + np.einsum("...b,...b->...", reals, true_positives[..., 1:])
    twice = twice + np.einsum("...b,...b->...", reals, true_positives[..., :-1])
    return ratio(0.5 * twice, counts.num_reals * counts.num_fakes)


def average_precision_of(counts: Counts) -> np.ndarray:
    """Return :func:`average_precision` of counts (..., B), shape (...)."""
    called_fake = counts.false_positives + counts.true_positives
    # Precision is 0 / 0 after samples of weight 0 alone; no fake is gained there.
    np.maximum(called_fake, np.finfo(np.float64).tiny, out=called_fake)
    precision = np.divide(counts.true_positives, called_fake, out=called_fake)
    gained = np.diff(counts.true_positives, axis=-1)
    total = np.einsum("...b,...b->...", gained, precision[..., 1:])
    mean = ratio(total + counts.true_positives[..., 0] * precision[..., 0], counts.num_fakes)
    return np.where(counts.num_reals > 0, mean, np.nan)


def equal_error_rate_of(counts: Counts) -> np.ndarray:
    """Return :func:`equal_error_rate` of counts (..., B), shape (...)."""
    false_rate, true_rate = _with_origin(counts)
    # FPR - FNR rises along the curve from -1 at (0, 0) to 1 at (1, 1).
    excess = false_rate + true_rate - 1.0
    after = np.maximum((excess >= 0.0).argmax(axis=-1), 1)
    at = np.stack([after - 1, after], axis=-1)
    excess_before, excess_after = np.moveaxis(np.take_along_axis(excess, at, axis=-1), -1, 0)
    rate_before, rate_after = np.moveaxis(np.take_along_axis(false_rate, at, axis=-1), -1, 0)
    fraction = ratio(-excess_before, excess_after - excess_before)
    rate: np.ndarray = rate_before + fraction * (rate_after - rate_before)
    return rate


def partial_auc_of(counts: Counts, max_fpr: float) -> np.ndarray:
    """Return :func:`partial_auc` of counts (..., B), shape (...)."""
    false_rate, true_rate = _with_origin(up_to(counts, max_fpr))
    start, end = false_rate[..., :-1], false_rate[..., 1:]
    low, high = true_rate[..., :-1], true_rate[..., 1:]
    width = np.minimum(end, max_fpr) - np.minimum(start, max_fpr)
    inside = np.divide(width, end - start, out=np.zeros_like(width), where=end > start)
    area = np.einsum("...b,...b->...", width, low + 0.5 * inside * (high - low))
    least = 0.5 * max_fpr**2
    standardized: np.ndarray = 0.5 * (1.0 + (area - least) / (max_fpr - least))
    return standardized


def tpr_at_fpr_of(counts: Counts, max_fpr: float) -> np.ndarray:
    """Return :func:`tpr_at_fpr` of counts (..., B), shape (...)."""
    false_rate, true_rate = _with_origin(up_to(counts, max_fpr))
    allowed = false_rate <= max_fpr * (1.0 + _ROUNDING)
    best: np.ndarray = np.where(allowed, true_rate, 0.0).max(axis=-1)
    undefined = np.isnan(false_rate[..., -1]) | np.isnan(true_rate[..., -1])
    return np.where(undefined, np.nan, best)


def up_to(counts: Counts, max_fpr: float) -> Counts:
    """Drop the points beyond a false positive rate in every resample, except one past it."""
    limit = max_fpr * (1.0 + _ROUNDING) * counts.num_reals
    # False positives only rise, so the resample that stays below the limit longest sets the cut.
    num_inside = int(np.count_nonzero(counts.false_positives <= limit[..., None], axis=-1).max())
    stop = min(num_inside + 1, counts.false_positives.shape[-1])
    starts = counts.false_positives[..., :stop], counts.true_positives[..., :stop]
    return Counts(*starts, counts.num_reals, counts.num_fakes)


def _with_origin(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates (..., B + 1) starting at (0, 0); NaN for an absent class."""
    rates = []
    for positives, total in (
        (counts.false_positives, counts.num_reals),
        (counts.true_positives, counts.num_fakes),
    ):
        points = np.zeros((*positives.shape[:-1], positives.shape[-1] + 1))
        whole = np.where(total > 0, total, np.nan)
        np.divide(positives, whole[..., None], out=points[..., 1:])
        points[..., 0] = 0.0 * whole
        rates.append(points)
    return rates[0], rates[1]


def _checked_counts(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> Counts:
    samples = check_samples(labels, scores, weights)
    ranking = rank(samples)
    return count(ranking, samples.weights[ranking.order])
