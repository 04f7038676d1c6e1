"""Intervals of metrics from bootstrap resamples, chosen so that they cover in small sets.

Percentiles of resamples are too narrow in small sets, and of no width where every resample is perfect.
``benchmarks/bench_coverage.py`` measures how often each interval holds the true value; the docs have its
table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from deepfake_detect.errors import OptionError
from deepfake_detect.metrics.ranking import PARTIAL_AUC_MAX_FPR
from deepfake_detect.metrics.registry import METRIC_NAMES, metric_names

CONFIDENCE = 0.95
# With fewer groups the intervals do not cover: of each class that a metric compares; of all, since rare
# large losses are not seen in small sets; of reals, of which some must be above the false positive rate.
_FEWEST = 3
_FEWEST_OF_ALL = {"log_loss": 100, "brier": 50, "ece": 200}
_FEWEST_REALS = {"tpr_at_1pct_fpr": 200, "tpr_at_5pct_fpr": 100, "partial_auc": 100}
# Where nearly all resamples are perfect, their variance claims more samples than there can be.
_MOST_PER_GROUP = 4
_NO_VARIANCE = 1e-12
TOO_FEW = "too few"


@dataclass(frozen=True)
class Interval:
    """A number with its interval; NaN where undefined.

    Attributes:
        value: The metric on the original samples.
        low, high: Bounds of the interval; NaN where there are too few samples for one.
    """

    value: float
    low: float
    high: float

    def text(self) -> str:
        """Return the number and its interval to three decimals; ``n/a`` where undefined.

        Example:
            >>> Interval(0.8912, 0.8641, 0.917).text(), Interval(math.nan, math.nan, math.nan).text()
            ('0.891 [0.864, 0.917]', 'n/a')
            >>> Interval(1.0, math.nan, math.nan).text()
            '1.000 [too few]'
        """
        if math.isnan(self.value):
            return "n/a"
        bounds = TOO_FEW if math.isnan(self.low) else f"{self.low:.3f}, {self.high:.3f}"
        return f"{self.value:.3f} [{bounds}]"


class GroupCounts(NamedTuple):
    """Numbers of resampled groups (videos or people): those with a real, with a fake, and all."""

    reals: int
    fakes: int
    every: int


def count_groups(labels: ArrayLike, groups: ArrayLike) -> GroupCounts:
    """Return the numbers of groups of samples.

    Args:
        labels: (N,) of 0 = real and 1 = fake.
        groups: (N,) group of each sample.

    Example:
        >>> count_groups([0, 0, 1, 0], ["a", "a", "b", "b"])
        GroupCounts(reals=2, fakes=1, every=2)
    """
    label_array, group_array = np.asarray(labels), np.asarray(groups)
    reals, fakes = (len(np.unique(group_array[label_array == label])) for label in (0, 1))
    return GroupCounts(reals, fakes, len(np.unique(group_array)))


def intervals_of(
    values: np.ndarray,
    resampled: np.ndarray,
    counts: GroupCounts,
    *,
    confidence: float = CONFIDENCE,
    extra: tuple[str, ...] = (),
) -> dict[str, Interval]:
    """Return the interval of each metric.

    Metrics from 0 to 1 have Wilson's interval of as many samples as have the variance of the resamples;
    where they have none, of as many as there are groups of the smaller class. It equals Wilson's
    interval for a fraction of independent videos, and is never of no width. The true positive rates also
    enclose the percentiles of the resamples. Log loss and Brier score have Student's interval of their
    logarithm, with the upper bound corrected for skewness; ECE the percentiles of resamples corrected
    for chance, widened to its value; registered metrics those of their resamples.

    Bounds are NaN with fewer than 3 groups of a class that the metric needs, 50 groups for the Brier
    score, 100 for log loss, 200 for ECE, 100 reals for the partial AUC and the true positive rate at 5%, 200
    for that at 1%.

    Args:
        values, resampled: (M,) and (R, M) of :func:`bootstrap.resampled_metrics`, or means of them.
        counts: Of :func:`count_groups`.
        confidence: How often the interval should hold the true value, between 0 and 1.
        extra: As for :func:`bootstrap.resampled_metrics`.

    Returns:
        An interval per name of ``metric_names(extra)``.

    Raises:
        OptionError: ``confidence`` out of range.

    Sources: Wilson, J. Am. Stat. Assoc. 22 (1927); effective numbers of samples after Korn & Graubard,
    Survey Methodology 24 (1998); skewness after Johnson, J. Am. Stat. Assoc. 73 (1978).

    Example:
        >>> ones = np.ones((3, len(METRIC_NAMES)))
        >>> intervals_of(ones[0], ones, GroupCounts(reals=10, fakes=30, every=40))["apcer"].text()
        '1.000 [0.886, 1.000]'
    """
    _check_confidence(confidence)
    return {
        name: _interval(name, float(value), resampled[:, column], counts, confidence)
        for column, (name, value) in enumerate(zip(metric_names(extra), values, strict=True))
    }


def difference_intervals(
    values: np.ndarray, resampled: np.ndarray, *, confidence: float = CONFIDENCE
) -> dict[str, Interval]:
    """Return the percentile interval of each difference of metrics.

    Args:
        values, resampled: (M,) and (R, M), differences of two of :func:`bootstrap.resampled_metrics`.
        confidence: Fraction of the resamples inside the interval, between 0 and 1.

    Returns:
        An interval per name of ``METRIC_NAMES``, over the resamples in which it is defined; without
        bounds where all resamples have the same difference, except 0.

    Raises:
        OptionError: ``confidence`` out of range.
    """
    _check_confidence(confidence)
    return {
        name: _with_bounds(float(value), *_percentiles(resampled[:, column], confidence))
        for column, (name, value) in enumerate(zip(METRIC_NAMES, values, strict=True))
    }


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise OptionError("confidence", f"is {confidence}", "must be between 0 and 1, such as 0.95")


def _interval(
    name: str, value: float, resampled: np.ndarray, counts: GroupCounts, confidence: float
) -> Interval:
    defined = resampled[~np.isnan(resampled)]
    if math.isnan(value) or len(defined) == 0 or _are_too_few(name, counts):
        return Interval(value, math.nan, math.nan)
    if name not in METRIC_NAMES:
        return _with_bounds(value, *_percentiles(defined, confidence))
    if name == "ece":
        low, high = _percentiles(defined, confidence)
        return Interval(value, min(low, value), max(high, value))
    groups = max(2, counts.every)
    variance = float(defined.var()) * groups / (groups - 1)  # resampling loses one degree of freedom
    upper = (1.0 + confidence) / 2.0
    if name in ("log_loss", "brier"):
        quantile = float(stdtrit(groups - 2, upper))
        one = _of_loss(value, defined, groups, quantile)
        # No losses from 0 to 1 vary more than those that are 0 or 1.
        low, high = (0.0, math.inf) if name == "log_loss" else _wilson(value, groups, quantile)
        return replace(one, low=max(one.low, low), high=min(one.high, high))
    quantile = float(ndtri(upper))
    if name == "partial_auc":  # the few reals above the limit decide it
        quantile = float(stdtrit(max(2.0, PARTIAL_AUC_MAX_FPR * counts.reals - 1.0), upper))
    low, high = _wilson(value, _effective_size(name, value, variance, counts), quantile)
    if name.startswith("tpr_at_"):
        least, most = _percentiles(defined, confidence)
        low, high = min(low, least), max(high, most)
    return Interval(value, low, high)


def _of_loss(value: float, resampled: np.ndarray, num_groups: int, quantile: float) -> Interval:
    """Return the interval of a mean loss: Student's of its logarithm, with the upper bound farther away where
    resamples are skewed, since sets without a large loss do not show that there are any.
    """
    if value <= 0.0 or resampled.std() < _NO_VARIANCE * value:
        return Interval(value, math.nan, math.nan)
    lost = math.sqrt(num_groups / (num_groups - 1))  # resampling loses one degree of freedom
    error = lost * float(np.log(np.maximum(resampled, np.finfo(np.float64).tiny)).std())
    skewness = float(np.mean((resampled - resampled.mean()) ** 3)) / float(resampled.std()) ** 3
    # Of the quantiles of a studentized mean; the logarithm accounts for part of it already.
    shift = skewness * (2.0 * quantile**2 + 1.0) / 6.0 - 0.25 * quantile**2 * error
    return Interval(
        value,
        value * math.exp(-error * quantile),
        value * math.exp(error * (quantile + max(0.0, float(shift)))),
    )


def _are_too_few(name: str, counts: GroupCounts) -> bool:
    if name in _FEWEST_OF_ALL:
        return counts.every < _FEWEST_OF_ALL[name]
    return _size(name, counts) < _FEWEST or counts.reals < _FEWEST_REALS.get(name, 0)


def _size(name: str, counts: GroupCounts) -> int:
    """Return the number of groups that limits a metric."""
    if name == "accuracy" or name not in METRIC_NAMES:
        return counts.every
    if name in ("apcer", "bpcer"):
        return counts.fakes if name == "apcer" else counts.reals
    return min(counts.reals, counts.fakes)


def _effective_size(name: str, value: float, variance: float, counts: GroupCounts) -> float:
    """Return how many independent samples would have the variance of the resamples."""
    if variance < _NO_VARIANCE or not 0.0 < value < 1.0:
        return _size(name, counts)
    # The precision at each fake varies little with the number of reals.
    size = counts.fakes if name == "average_precision" else _size(name, counts)
    return min(value * (1.0 - value) / variance, _MOST_PER_GROUP * size)


def _wilson(value: float, size: float, quantile: float) -> tuple[float, float]:
    square = quantile**2 / size
    middle = (value + square / 2.0) / (1.0 + square)
    half = math.sqrt(value * (1.0 - value) * square + square**2 / 4.0) / (1.0 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def _with_bounds(value: float, low: float, high: float) -> Interval:
    is_flat = low == high and not low == value == 0.0
    return Interval(value, math.nan, math.nan) if is_flat else Interval(value, low, high)


def _percentiles(resampled: np.ndarray, confidence: float) -> tuple[float, float]:
    defined = resampled[~np.isnan(resampled)]
    if len(defined) == 0:
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return float(low), float(high)
