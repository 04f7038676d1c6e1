"""All metrics over many bootstrap resamples at once.

A resample takes as many groups (videos or people), with replacement, as there are. Nothing is copied:
a resample is a count per group. Means over samples follow from the sums of each group by one matrix
product, metrics of the order of scores from two cumulative sums over the samples, which are sorted
once. Registered metrics are called once per resample. :mod:`intervals` makes intervals of them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.errors import OptionError
from deepfake_detect.metrics import decisions, probabilities, ranking
from deepfake_detect.metrics.intervals import (
    CONFIDENCE,
    Interval,
    count_groups,
    difference_intervals,
    intervals_of,
)
from deepfake_detect.metrics.probabilities import NUM_RELIABILITY_BINS
from deepfake_detect.metrics.registry import METRIC_NAMES, METRICS, metric_names
from deepfake_detect.metrics.samples import (
    Samples,
    check_groups,
    check_probabilities,
    check_samples,
    ratio,
)

# Resamples are measured in portions of about this many weights, which stay in the cache.
_PORTION = 1 << 16
# Random sets of labels that show which calibration error is chance.
_MOST_CALIBRATED = 400

_FROM_ORDER: dict[str, Callable[[ranking.Counts], np.ndarray]] = {
    "auc": ranking.auc_of,
    "eer": ranking.equal_error_rate_of,
    "average_precision": ranking.average_precision_of,
}
# These need only the start of the curve, up to the highest false positive rate.
_FROM_START: dict[str, Callable[[ranking.Counts], np.ndarray]] = {
    "partial_auc": lambda counts: ranking.partial_auc_of(counts, ranking.PARTIAL_AUC_MAX_FPR),
    "tpr_at_1pct_fpr": lambda counts: ranking.tpr_at_fpr_of(counts, 0.01),
    "tpr_at_5pct_fpr": lambda counts: ranking.tpr_at_fpr_of(counts, 0.05),
}


def bootstrap_intervals(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    *,
    threshold: float,
    num_resamples: int = 1000,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the built-in metrics with intervals from resampling whole groups.

    Frames of one video resemble each other, so a resample takes as many *groups* (videos), with
    replacement, as there are, each with all its samples. :func:`intervals.intervals_of` says which
    interval a metric has, and from how many groups on.

    Args:
        labels: (N,) of 0 = real and 1 = fake, N >= 1.
        scores: (N,) probabilities of fake, 0 to 1.
        groups: (N,) integers or text; samples of equal value are resampled together.
        threshold: For metrics of verdicts, finite.
        num_resamples: Bootstrap resamples, 1 or more.
        confidence: Fraction of the resamples inside the interval, between 0 and 1.
        seed: 0 or more; equal seeds give equal intervals.

    Returns:
        An interval per name of ``METRIC_NAMES``, in that order.

    Raises:
        OptionError: As for :func:`probabilities.log_loss`; groups of another length; an option out of
            range.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13; clusters
    resampled whole after Davison & Hinkley (1997), section 3.8.

    Example:
        >>> found = bootstrap_intervals(
        ...     [0, 1] * 10, [0.1, 0.9] * 10, range(20), threshold=0.5, num_resamples=50)
        >>> found["auc"].text(), found["ece"].text()  # as if one of so few reals might be wrong
        ('1.000 [0.722, 1.000]', '0.100 [too few]')
    """
    samples = check_samples(labels, scores, None)
    numbers, num_groups = check_groups(groups, len(samples.labels))
    resample_counts = resample_groups(num_groups, num_resamples=num_resamples, seed=seed)
    found = resampled_metrics(labels, scores, numbers, resample_counts, threshold=threshold)
    return intervals_of(*found, count_groups(labels, numbers), confidence=confidence)


def bootstrap_differences(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    *,
    thresholds: tuple[float, float],
    num_resamples: int = 1000,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return how much each metric of one detector exceeds another's on the same samples.

    Both detectors are measured on the same resamples, so samples that are hard for both do not widen
    the interval. An interval that contains 0 means that the samples do not separate the two.

    Args:
        labels, groups, num_resamples, confidence, seed: As for :func:`bootstrap_intervals`.
        first, second: (N,) probabilities of fake, 0 to 1, of the two detectors.
        thresholds: Of the first and of the second.

    Returns:
        First less second, per name of ``METRIC_NAMES``. For error rates and losses below 0 is better.

    Raises:
        OptionError: As for :func:`bootstrap_intervals`.

    Source: the bootstrap for two paired samples, Efron & Tibshirani (1993), chapter 10.

    Example:
        >>> better = bootstrap_differences(
        ...     [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [0.9, 0.2, 0.8, 0.9], [0, 1, 2, 3],
        ...     thresholds=(0.5, 0.5), num_resamples=50)
        >>> better["auc"].value
        0.375
    """
    samples = check_samples(labels, first, None)
    numbers, num_groups = check_groups(groups, len(samples.labels))
    resample_counts = resample_groups(num_groups, num_resamples=num_resamples, seed=seed)
    (value, resampled), (other_value, other_resampled) = (
        resampled_metrics(labels, scores, numbers, resample_counts, threshold=threshold)
        for scores, threshold in zip((first, second), thresholds, strict=True)
    )
    return difference_intervals(value - other_value, resampled - other_resampled, confidence=confidence)


def resample_groups(num_groups: int, *, num_resamples: int, seed: int) -> np.ndarray:
    """Return how often each group is in each resample, uint8 (R, G).

    A count above 255 has a probability below 1e-500, for any number of groups.

    Raises:
        OptionError: ``num_resamples`` below 1 or ``seed`` below 0.

    Example:
        >>> resample_groups(3, num_resamples=2, seed=0).sum(axis=1).tolist()
        [3, 3]
    """
    if num_resamples < 1:
        raise OptionError("num_resamples", f"is {num_resamples}", "must be 1 or more, usually 1000")
    if seed < 0:
        raise OptionError("seed", f"is {seed}", "must be 0 or more")
    generator = np.random.default_rng(seed)
    resample_counts = np.empty((num_resamples, num_groups), np.uint8)
    for counts in resample_counts:
        counts[:] = np.bincount(generator.integers(num_groups, size=num_groups), minlength=num_groups)
    return resample_counts


def resampled_metrics(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    resample_counts: np.ndarray,
    *,
    threshold: float,
    extra: tuple[str, ...] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Return the metrics of the original samples and of each resample.

    Passing the same resamples for several sets of samples (methods, slices, detectors) makes their
    numbers comparable resample by resample.

    Args:
        labels: (N,) of 0 = real and 1 = fake, N >= 1.
        scores: (N,) probabilities of fake, 0 to 1.
        groups: int (N,), column of ``resample_counts`` of each sample; columns may be left out.
        resample_counts: (R, G) of :func:`resample_groups`.
        threshold: For metrics of verdicts, finite.
        extra: Registered metrics in addition to the built-in ones.

    Returns:
        float64 (M,) and (R, M), in the order of ``metric_names(extra)``; NaN where undefined. Of a
        resample, ``ece`` is that of :func:`probabilities.corrected_calibration_errors`, or 0.

    Raises:
        OptionError: As for :func:`probabilities.log_loss`; a threshold that is not finite; groups
            of another length; an unknown metric, or one that fails.

    Example:
        >>> values, resampled = resampled_metrics(
        ...     [0, 1], [0.2, 0.9], [0, 1], resample_groups(2, num_resamples=5, seed=0), threshold=0.5)
        >>> float(values[0]), resampled.shape[0]
        (1.0, 5)
    """
    samples = check_samples(labels, scores, None)
    check_probabilities(samples.scores)
    # Only groups that hold a sample, so that a small slice of many groups costs little.
    numbers, _ = check_groups(groups, len(samples.labels))
    present = np.unique(groups)
    columns = _columns(samples, threshold)
    sums_of_group = np.stack(
        [np.bincount(numbers, weights=column, minlength=len(present)) for column in columns], axis=1
    )
    order = ranking.rank(samples)
    group_in_order = numbers[order.order]
    counts = np.concatenate([np.ones((1, len(present)), np.uint8), resample_counts[:, present]])
    # The original samples alone: the last bit of a sum may depend on the size of its portion.
    starts = [0, *range(1, len(counts), max(1, _PORTION // len(samples.labels)))]
    portions = [
        _portion(order, group_in_order, sums_of_group, counts[start:stop])
        for start, stop in pairwise([*starts, len(counts)])
    ]
    found = np.concatenate(portions)
    found, totals, deviations = np.split(found, [len(METRIC_NAMES), len(METRIC_NAMES) + 1], axis=1)
    ece = METRIC_NAMES.index("ece")
    corrected = probabilities.corrected_calibration_errors(deviations, totals, len(present))
    found[1:, ece] = _zero_by_chance(corrected, found[0, ece], samples, numbers)
    names = metric_names(extra)[len(METRIC_NAMES) :]
    if names:
        more = [_registered(name, samples, numbers, counts, threshold) for name in names]
        found = np.column_stack([found, *more])
    return found[0], found[1:]


def _zero_by_chance(errors: np.ndarray, found: float, samples: Samples, groups: np.ndarray) -> np.ndarray:
    """Return resamples (R,) of the true calibration error, as many of them 0, the smallest, as calibrated
    detectors have the error found, or a larger one, by chance.

    Errors that are rare, as those of a nearly perfect detector, are missing in the resamples.
    """
    count = min(_MOST_CALIBRATED, len(errors))
    if not found or not count:
        return errors
    by_chance = probabilities.calibrated_errors(samples.labels, samples.scores, groups, count)
    defined = np.flatnonzero(~np.isnan(errors))
    num_zero = int(np.mean(by_chance >= found) * len(defined))
    zeroed = errors.copy()
    zeroed[defined[np.argsort(errors[defined], kind="stable")[:num_zero]]] = 0.0
    return zeroed


def _columns(samples: Samples, threshold: float) -> list[np.ndarray]:
    """Return what is summed over the samples of a resample: verdicts, losses, and deviations by bin."""
    labels, scores = samples.labels, samples.scores
    verdicts = decisions.verdict_columns(labels, scores, threshold)
    means = [probabilities.losses(labels, scores), (scores - labels) ** 2]
    bins = probabilities.bin_of(scores)
    deviations = [np.where(bins == number, scores - labels, 0.0) for number in range(NUM_RELIABILITY_BINS)]
    return [*verdicts, *means, *deviations]


def _portion(
    order: ranking.Ranking, group_in_order: np.ndarray, sums_of_group: np.ndarray, portion: np.ndarray
) -> np.ndarray:
    """Return the metrics of some resamples (r, G), float64 (r, M) in the order of METRIC_NAMES, then the
    number of samples and the deviations by bin.
    """
    resample_counts = portion.astype(np.float64)
    counts = ranking.count(order, np.take(resample_counts, group_in_order, axis=1))
    start = ranking.up_to(counts, ranking.PARTIAL_AUC_MAX_FPR)
    sums = resample_counts @ sums_of_group
    verdicts = decisions.Verdicts(*(sums[:, column] for column in range(4)))
    total = verdicts.num_reals + verdicts.num_fakes
    found = {
        **{name: metric(counts) for name, metric in _FROM_ORDER.items()},
        **{name: metric(start) for name, metric in _FROM_START.items()},
        **{name: metric(verdicts) for name, metric in decisions.VERDICT_METRICS.items()},
        "log_loss": ratio(sums[:, 4], total),
        "brier": ratio(sums[:, 5], total),
        "ece": ratio(np.abs(sums[:, -NUM_RELIABILITY_BINS:]).sum(axis=1), total),
    }
    return np.column_stack([*(found[name] for name in METRIC_NAMES), total, sums[:, -NUM_RELIABILITY_BINS:]])


def _registered(
    name: str, samples: Samples, groups: np.ndarray, counts: np.ndarray, threshold: float
) -> np.ndarray:
    """Return a registered metric of each resample, float64 (r,)."""
    metric = METRICS.find(name)
    labels = samples.labels.astype(np.int64)
    found = np.empty(len(counts))
    for number, count in enumerate(counts):
        rows = np.repeat(np.arange(len(labels)), count[groups])
        try:
            found[number] = metric(labels[rows], samples.scores[rows], threshold=threshold)
        except Exception as error:  # a plug-in's function may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            remedy = "return NaN where it is undefined"
            raise OptionError("metrics", f"{name} fails ({reason})", remedy) from error
    return found
