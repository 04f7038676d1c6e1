"""Labels and scores -> numbers about a detector. Pure functions over arrays, numpy only.

    roc_curve, roc_auc, average_precision, equal_error_rate     depend on the order of scores only
    accuracy, balanced_accuracy                                 need a threshold
    log_loss, brier_score                                       need probabilities
    bootstrap_intervals                                         all seven, with percentile intervals

Fake is the positive class, 1. A sample is called fake when its score is *at or above* the
threshold. Samples of equal score are never put in an order: they enter a curve together.

Every function takes ``weights``: a sample of weight 3 counts as three equal samples, one of weight
0 as absent. A bootstrap draw is therefore nothing but weights, and samples are sorted only once.

A number that the samples leave undefined is NaN, never a made-up value: AUC, average precision,
equal error rate and balanced accuracy compare two classes and are NaN when one is absent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.errors import OptionError

METRIC_NAMES = ("auc", "accuracy", "balanced_accuracy", "eer", "log_loss", "average_precision", "brier")
CONFIDENCE = 0.95
# float32 networks saturate at 1 - 6e-8: a smaller clip would punish rounding, not an opinion.
PROBABILITY_EPSILON = 1e-7


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The receiver operating characteristic: one point per distinct score, from (0, 0) to (1, 1).

    Attributes:
        false_positive_rate: float64 (P,), share of reals called fake; rising. NaN without a real.
        true_positive_rate: float64 (P,), share of fakes called fake; rising. NaN without a fake.
        thresholds: float64 (P,), falling from +inf; a point's rates are those of ``score >= threshold``.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True)
class Interval:
    """A number with its percentile bootstrap interval; NaN where undefined.

    Attributes:
        value: The metric on the samples as they are.
        low, high: Ends of the interval; need not enclose ``value`` when the metric is skewed.
    """

    value: float
    low: float
    high: float

    def text(self) -> str:
        """Return the number and its interval to three decimals; ``n/a`` where undefined.

        Example:
            >>> Interval(0.8912, 0.8641, 0.917).text(), Interval(math.nan, math.nan, math.nan).text()
            ('0.891 [0.864, 0.917]', 'n/a')
        """
        if math.isnan(self.value):
            return "n/a"
        ends = "n/a" if math.isnan(self.low) else f"{self.low:.3f}, {self.high:.3f}"
        return f"{self.value:.3f} [{ends}]"


def roc_curve(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> RocCurve:
    """Return the whole ROC curve, with no point left out.

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
    samples = _check_samples(labels, scores, weights)
    ranking = _rank(samples.labels, samples.scores)
    false_positives, true_positives = _counts(ranking, samples.weights[ranking.order])
    return RocCurve(
        false_positive_rate=_rates(false_positives),
        true_positive_rate=_rates(true_positives),
        thresholds=np.concatenate([[np.inf], samples.scores[ranking.order][ranking.block_ends]]),
    )


def roc_auc(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the area under the ROC curve: P(fake scores above real), ties counting one half.

    Exact for whole-number weights, since it is a count of pairs.

    Args:
        labels, scores, weights: As for :func:`roc_curve`.

    Returns:
        0 to 1, or NaN when one class is absent.

    Raises:
        OptionError: As for :func:`roc_curve`.

    Source: Hanley & McNeil, Radiology 143 (1982): the area is the Mann-Whitney statistic.

    Example:
        >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        0.875
    """
    return _auc(*_checked_counts(labels, scores, weights))


def average_precision(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean precision over the recall steps, without interpolation.

    Depends on the share of fakes among the samples, unlike the AUC.

    Args:
        labels, scores, weights: As for :func:`roc_curve`.

    Returns:
        0 to 1, or NaN when one class is absent (without a real, precision is 1 by definition and
        says nothing of the detector).

    Raises:
        OptionError: As for :func:`roc_curve`.

    Source: sum over n of (R_n - R_{n-1}) P_n, as in scikit-learn's ``average_precision_score``.

    Example:
        >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
        0.8333
    """
    return _average_precision(*_checked_counts(labels, scores, weights))


def equal_error_rate(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the error rate where as large a share of reals as of fakes is called wrongly.

    Where no threshold makes them equal, the point lies on the straight line between the two
    neighbouring points of the ROC curve.

    Args:
        labels, scores, weights: As for :func:`roc_curve`.

    Returns:
        0 to 1, or NaN when one class is absent.

    Raises:
        OptionError: As for :func:`roc_curve`.

    Source: the crossing of the ROC curve with TPR = 1 - FPR, as in ISO/IEC 19795-1.

    Example:
        >>> equal_error_rate([0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.8, 0.4, 0.7, 0.9, 0.95])
        0.25
    """
    return _equal_error_rate(*_checked_counts(labels, scores, weights))


def accuracy(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float, weights: ArrayLike | None = None
) -> float:
    """Return the share of samples called rightly.

    Args:
        labels, scores, weights: As for :func:`roc_curve`.
        threshold: Finite; a score at or above it is called fake.

    Returns:
        0 to 1; defined for a single class too.

    Raises:
        OptionError: As for :func:`roc_curve`, or a threshold that is not finite.

    Source: weighted mean of ``(score >= threshold) == label``.

    Example:
        >>> accuracy([0, 1, 1, 1], [0.2, 0.5, 0.9, 0.4], threshold=0.5)
        0.75
    """
    samples = _check_samples(labels, scores, weights)
    return _mean(_correct(samples.labels, samples.scores, threshold), samples.weights)


def balanced_accuracy(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float, weights: ArrayLike | None = None
) -> float:
    """Return the mean of the two classes' accuracies, which does not depend on their sizes.

    Args:
        labels, scores, weights: As for :func:`roc_curve`.
        threshold: Finite; a score at or above it is called fake.

    Returns:
        0 to 1, 0.5 for a constant answer, or NaN when one class is absent.

    Raises:
        OptionError: As for :func:`accuracy`.

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010.

    Example:
        >>> balanced_accuracy([0, 1, 1, 1], [0.2, 0.5, 0.9, 0.9], threshold=0.6)
        0.8333333333333333
    """
    samples = _check_samples(labels, scores, weights)
    correct = _correct(samples.labels, samples.scores, threshold)
    return _balanced_accuracy(correct, samples.labels, samples.weights)


def log_loss(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    Probabilities are clipped to [1e-7, 1 - 1e-7] (``PROBABILITY_EPSILON``), so that one sure and
    wrong answer costs 16.1 nats and not infinity. A constant 0.5 gives 0.693.

    Args:
        labels, weights: As for :func:`roc_curve`.
        scores: (N,) probabilities of fake, 0 to 1.

    Returns:
        From 0; defined for a single class too.

    Raises:
        OptionError: As for :func:`roc_curve`, or scores outside 0 to 1.

    Source: Good, "Rational decisions", J. R. Stat. Soc. B 14 (1952); the DFDC challenge's measure.

    Example:
        >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
        0.6931
    """
    samples = _check_samples(labels, scores, weights)
    _check_probabilities(samples.scores)
    return _mean(_losses(samples.labels, samples.scores), samples.weights)


def brier_score(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean squared difference between the probability of fake and the label.

    Args:
        labels, weights: As for :func:`roc_curve`.
        scores: (N,) probabilities of fake, 0 to 1.

    Returns:
        0 to 1, 0.25 for a constant 0.5; defined for a single class too.

    Raises:
        OptionError: As for :func:`log_loss`.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Mon. Weather
    Rev. 78 (1950), for two classes.

    Example:
        >>> round(brier_score([0, 1], [0.1, 0.7]), 4)
        0.05
    """
    samples = _check_samples(labels, scores, weights)
    _check_probabilities(samples.scores)
    return _mean((samples.scores - samples.labels) ** 2, samples.weights)


def bootstrap_intervals(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    *,
    threshold: float,
    num_draws: int = 1000,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return every metric with a percentile interval from resampling whole groups.

    Frames of one video resemble each other, so a draw takes as many *groups* (videos), with
    replacement, as there are, each with all its samples. Draws in which a metric is undefined are
    left out of its interval; when all are, its ends are NaN. A single group gives intervals of no
    width: there is nothing to resample.

    Args:
        labels: (N,) of 0 = real and 1 = fake, N >= 1.
        scores: (N,) probabilities of fake, 0 to 1.
        groups: (N,) integers or text; samples of equal value are drawn together.
        threshold: For accuracy and balanced accuracy, finite.
        num_draws: Bootstrap draws, from 1.
        confidence: Share of draws inside the interval, between 0 and 1.
        seed: From 0; equal seeds give equal intervals.

    Returns:
        An interval per name of ``METRIC_NAMES``, in that order.

    Raises:
        OptionError: As for :func:`log_loss`; groups of another length; an option out of range.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13; clusters
    resampled whole after Davison & Hinkley (1997), section 3.8.

    Example:
        >>> intervals = bootstrap_intervals(
        ...     [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.4], ["a", "a", "b", "b"], threshold=0.5, num_draws=50)
        >>> intervals["accuracy"].value, intervals["auc"].low, intervals["auc"].high
        (0.75, 1.0, 1.0)
    """
    samples = _check_samples(labels, scores, None)
    _check_probabilities(samples.scores)
    _check_bootstrap_options(num_draws, confidence, seed)
    group_of_sample, num_groups = _check_groups(groups, len(samples.labels))

    prepared = _prepare(samples, threshold)
    group_of_sample = group_of_sample[prepared.ranking.order]
    generator = np.random.default_rng(seed)
    draws = np.empty((num_draws, len(METRIC_NAMES)))
    for draw in draws:
        times_drawn = np.bincount(generator.integers(num_groups, size=num_groups), minlength=num_groups)
        draw[:] = _all_metrics(prepared, times_drawn.astype(np.float64)[group_of_sample])
    values = _all_metrics(prepared, samples.weights)
    return {
        name: Interval(value, *_percentiles(draws[:, column], confidence))
        for column, (name, value) in enumerate(zip(METRIC_NAMES, values, strict=True))
    }


@dataclass(frozen=True, eq=False)
class _Samples:
    labels: np.ndarray  # float64 (N,): 0 or 1
    scores: np.ndarray  # float64 (N,)
    weights: np.ndarray  # float64 (N,)


@dataclass(frozen=True, eq=False)
class _Ranking:
    """Samples by falling score. ``block_ends`` is the last sample of each run of equal scores."""

    order: np.ndarray  # int64 (N,)
    labels: np.ndarray  # float64 (N,), in that order
    block_ends: np.ndarray  # int64 (B,)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """All that does not depend on the weights; every (N,) array in the order of the ranking."""

    ranking: _Ranking
    correct: np.ndarray  # float64 (N,)
    losses: np.ndarray  # float64 (N,), nats
    squared_errors: np.ndarray  # float64 (N,)


def _rank(labels: np.ndarray, scores: np.ndarray) -> _Ranking:
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return _Ranking(order, labels[order], last_of_ties)


def _prepare(samples: _Samples, threshold: float) -> _Prepared:
    ranking = _rank(samples.labels, samples.scores)
    scores = samples.scores[ranking.order]
    return _Prepared(
        ranking,
        correct=_correct(ranking.labels, scores, threshold),
        losses=_losses(ranking.labels, scores),
        squared_errors=(scores - ranking.labels) ** 2,
    )


def _all_metrics(prepared: _Prepared, weights: np.ndarray) -> tuple[float, ...]:
    """Return the metrics in the order of METRIC_NAMES; ``weights`` in the order of the ranking."""
    counts = _counts(prepared.ranking, weights)
    return (
        _auc(*counts),
        _mean(prepared.correct, weights),
        _balanced_accuracy(prepared.correct, prepared.ranking.labels, weights),
        _equal_error_rate(*counts),
        _mean(prepared.losses, weights),
        _average_precision(*counts),
        _mean(prepared.squared_errors, weights),
    )


def _checked_counts(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    samples = _check_samples(labels, scores, weights)
    ranking = _rank(samples.labels, samples.scores)
    return _counts(ranking, samples.weights[ranking.order])


def _counts(ranking: _Ranking, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positives with the threshold at each distinct score, each (B,)."""
    fake_weights = weights * ranking.labels
    # Two sums and no difference of sums: both stay monotone under rounding.
    false_positives = np.cumsum(weights - fake_weights)[ranking.block_ends]
    return false_positives, np.cumsum(fake_weights)[ranking.block_ends]


def _rates(counts: np.ndarray) -> np.ndarray:
    points = np.concatenate([[0.0], counts])
    return points / counts[-1] if counts[-1] > 0 else np.full(len(points), np.nan)


def _auc(false_positives: np.ndarray, true_positives: np.ndarray) -> float:
    num_pairs = false_positives[-1] * true_positives[-1]
    if num_pairs == 0:
        return math.nan
    tied_reals = np.diff(false_positives, prepend=0.0)
    tied_fakes = np.diff(true_positives, prepend=0.0)
    # Each real against the fakes above it, and half of those beside it.
    return float(np.dot(tied_reals, true_positives - 0.5 * tied_fakes) / num_pairs)


def _average_precision(false_positives: np.ndarray, true_positives: np.ndarray) -> float:
    if false_positives[-1] == 0 or true_positives[-1] == 0:
        return math.nan
    called_fake = false_positives + true_positives
    # Precision is 0 / 0 while only samples of weight 0 were seen; no fake is gained there.
    precision = np.divide(true_positives, called_fake, out=np.zeros_like(called_fake), where=called_fake > 0)
    return float(np.dot(np.diff(true_positives, prepend=0.0), precision) / true_positives[-1])


def _equal_error_rate(false_positives: np.ndarray, true_positives: np.ndarray) -> float:
    if false_positives[-1] == 0 or true_positives[-1] == 0:
        return math.nan
    # FPR - FNR rises along the curve from -1 at (0, 0) to 1 at (1, 1).
    excess = false_positives / false_positives[-1] + true_positives / true_positives[-1] - 1.0
    after = int(np.searchsorted(excess, 0.0))
    rate_after = false_positives[after] / false_positives[-1]
    excess_before, rate_before = -1.0, 0.0
    if after > 0:
        excess_before, rate_before = excess[after - 1], false_positives[after - 1] / false_positives[-1]
    share = -excess_before / (excess[after] - excess_before)
    return float(rate_before + share * (rate_after - rate_before))


def _balanced_accuracy(correct: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    fake_weights = weights * labels
    real_weights = weights - fake_weights
    if not fake_weights.any() or not real_weights.any():
        return math.nan
    return 0.5 * (_mean(correct, fake_weights) + _mean(correct, real_weights))


def _correct(labels: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    if not math.isfinite(threshold):
        raise OptionError("threshold", f"{threshold} is not a finite number", "pass a score to cut at")
    correct: np.ndarray = (scores >= threshold) == (labels == 1)
    return correct.astype(np.float64)


def _losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    of_label = np.where(labels == 1, probabilities, 1.0 - probabilities)
    losses: np.ndarray = -np.log(np.clip(of_label, PROBABILITY_EPSILON, 1.0 - PROBABILITY_EPSILON))
    return losses


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.dot(values, weights) / weights.sum())


def _percentiles(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    defined = draws[~np.isnan(draws)]
    if len(defined) == 0:
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return float(low), float(high)


def _check_samples(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> _Samples:
    label_array = _as_floats("labels", labels)
    score_array = _as_floats("scores", scores)
    shape = label_array.shape
    if len(shape) != 1 or score_array.shape != shape:
        raise OptionError(
            "scores",
            f"labels of shape {shape} and scores of shape {score_array.shape} do not pair up",
            "pass two arrays (N,), one label and one score per sample",
        )
    if shape[0] == 0:
        raise OptionError("scores", "there is no sample", "pass at least one label and its score")
    if not np.isin(label_array, (0.0, 1.0)).all():
        raise OptionError("labels", "hold values other than 0 and 1", "pass 0 for real and 1 for fake")
    if not np.isfinite(score_array).all():
        count = int((~np.isfinite(score_array)).sum())
        raise OptionError(
            "scores", f"{count} of {shape[0]} are NaN or infinite", "find the samples that were not scored"
        )
    return _Samples(label_array, score_array, _check_weights(weights, shape[0]))


def _as_floats(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(name, f"is no array of numbers ({error})", "pass numbers") from error


def _check_weights(weights: ArrayLike | None, num_samples: int) -> np.ndarray:
    if weights is None:
        return np.ones(num_samples)
    array = _as_floats("weights", weights)
    if array.shape != (num_samples,):
        raise OptionError(
            "weights", f"shape {array.shape} for {num_samples} samples", "pass one weight per sample"
        )
    if not (np.isfinite(array) & (array >= 0.0)).all() or not array.any():
        raise OptionError(
            "weights", "are negative, not finite or all 0", "pass how often each sample counts, 0 or more"
        )
    return array


def _check_probabilities(scores: np.ndarray) -> None:
    if scores.min() < 0.0 or scores.max() > 1.0:
        raise OptionError(
            "scores",
            f"reach from {scores.min():.4g} to {scores.max():.4g} and are no probabilities",
            "pass probabilities of fake, 0 to 1 (the sigmoid of logits)",
        )


def _check_groups(groups: ArrayLike, num_samples: int) -> tuple[np.ndarray, int]:
    """Return the group's number, from 0, of each sample, and how many groups there are."""
    array = np.asarray(groups)
    if array.shape != (num_samples,):
        raise OptionError(
            "groups", f"shape {array.shape} for {num_samples} samples", "pass one group per sample"
        )
    names, numbers = np.unique(array, return_inverse=True)
    return numbers, len(names)


def _check_bootstrap_options(num_draws: int, confidence: float, seed: int) -> None:
    if num_draws < 1:
        raise OptionError("num_draws", f"{num_draws} draws give no interval", "pass 1 or more, usually 1000")
    if not 0.0 < confidence < 1.0:
        raise OptionError("confidence", f"{confidence} is not between 0 and 1", "pass a share such as 0.95")
    if seed < 0:
        raise OptionError("seed", f"{seed} is negative", "pass a whole number from 0")
