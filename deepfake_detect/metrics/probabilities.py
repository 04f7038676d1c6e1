"""Metrics of probabilities: whether 80% of the samples scored 0.8 are fake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.metrics.samples import Samples, check_probabilities, check_samples, ratio

# float32 networks saturate at 1 - 6e-8: a smaller value would penalize rounding.
PROBABILITY_EPSILON = 1e-7
NUM_RELIABILITY_BINS = 15
_BISECTIONS = 30
_MOST_DRAWN = 1 << 20  # labels at a time


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Samples in bins of equal width by their probability of fake, 0 to 1.

    Attributes:
        edges: float64 (K + 1,), rising from 0 to 1; a probability at an edge is in the upper bin.
        weight: float64 (K,), weight of the samples of a bin.
        mean_probability: float64 (K,), NaN in an empty bin.
        share_fake: float64 (K,), weight of the fakes over that of the bin; NaN in an empty bin.
    """

    edges: np.ndarray
    weight: np.ndarray
    mean_probability: np.ndarray
    share_fake: np.ndarray


def log_loss(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    Probabilities are clipped to [1e-7, 1 - 1e-7] (``PROBABILITY_EPSILON``), so that a confident
    and wrong prediction costs 16.1 nats rather than infinity. A constant 0.5 gives 0.693.

    Args:
        labels, weights: As for :func:`ranking.roc_curve`.
        scores: (N,) probabilities of fake, 0 to 1.

    Returns:
        From 0; defined for a single class too.

    Raises:
        OptionError: As for :func:`ranking.roc_curve`, or scores outside 0 to 1.

    Source: Good, "Rational decisions", J. R. Stat. Soc. B 14 (1952); the DFDC challenge's measure.

    Example:
        >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
        0.6931
    """
    samples = _checked(labels, scores, weights)
    return float(np.average(losses(samples.labels, samples.scores), weights=samples.weights))


def brier_score(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the mean squared difference between the probability of fake and the label.

    Args, Raises:
        As for :func:`log_loss`.

    Returns:
        0 to 1, 0.25 for a constant 0.5; defined for a single class too.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Mon. Weather
    Rev. 78 (1950), for two classes.

    Example:
        >>> round(brier_score([0, 1], [0.1, 0.7]), 4)
        0.05
    """
    samples = _checked(labels, scores, weights)
    return float(np.average((samples.scores - samples.labels) ** 2, weights=samples.weights))


def reliability_bins(
    labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None
) -> ReliabilityBins:
    """Return how often samples of similar probability are fake.

    Args, Raises:
        As for :func:`log_loss`.

    Returns:
        ``NUM_RELIABILITY_BINS`` bins of equal width.

    Source: reliability diagram, DeGroot & Fienberg, The Statistician 32 (1983).

    Example:
        >>> bins = reliability_bins([0, 1, 1], [0.02, 0.95, 0.97])
        >>> bins.weight[[0, -1]].tolist(), bins.share_fake[[0, -1]].tolist()
        ([1.0, 2.0], [0.0, 1.0])
    """
    samples = _checked(labels, scores, weights)
    weight, probability, fakes = _bin_sums(samples)
    edges = np.linspace(0.0, 1.0, NUM_RELIABILITY_BINS + 1)
    return ReliabilityBins(edges, weight, ratio(probability, weight), ratio(fakes, weight))


def expected_calibration_error(
    labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None
) -> float:
    """Return the mean distance between probability and fraction of fakes over :func:`reliability_bins`.

    It uses the probability of *fake*, so that errors on both sides count, not the probability of the
    predicted class, as for networks of many classes. Few samples raise it by chance.

    Args, Raises:
        As for :func:`log_loss`.

    Returns:
        0 to 1; defined for a single class too.

    Source: Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI
    2015, with 15 bins as in Guo et al., ICML 2017.

    Example:
        >>> round(expected_calibration_error([0, 1, 1, 1], [0.75, 0.75, 0.75, 0.75]), 4)
        0.0
    """
    weight, probability, fakes = _bin_sums(_checked(labels, scores, weights))
    # The weight of a bin times its distance is the distance of its two sums.
    return float(np.abs(probability - fakes).sum() / weight.sum())


def corrected_calibration_errors(deviations: np.ndarray, totals: np.ndarray, num_groups: int) -> np.ndarray:
    """Return resamples of the true calibration error, whose percentiles are an interval of it.

    Chance alone makes the mean distance of few samples positive, and resampling adds chance to chance:
    the errors of resamples lie above the error, which lies above the true one. So a resample answers
    another question: which multiple of the deviations found would, with the resample's chance added,
    have given the error found? (This inverts the bootstrap test of each multiple.)

    Args:
        deviations: (R + 1, K) sums over the bins of probability less label; the samples, then resamples.
        totals: (R + 1, 1) number of samples of each.
        num_groups: Number of resampled groups, G.

    Returns:
        float64 (R,), from 0; NaN for a resample without samples.
    """
    found = np.divide(deviations, totals, out=np.full(deviations.shape, np.nan), where=totals > 0)
    error = float(np.abs(found[0]).sum())
    if error == 0.0 or num_groups < 2:
        return np.where(totals[1:, 0] > 0, error, np.nan)
    chance = (found[1:] - found[0]) * np.sqrt(num_groups / (num_groups - 1))
    of_chance = np.abs(chance).sum(axis=1)
    low, high = np.zeros(len(chance)), np.where(of_chance < error, 1.0 + of_chance / error, 0.0)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        is_above = np.abs(middle[:, None] * found[0] + chance).sum(axis=1) > error
        low, high = np.where(is_above, low, middle), np.where(is_above, middle, high)
    # Exactly 0 where chance alone exceeds what was found.
    errors: np.ndarray = np.where(np.isnan(of_chance), np.nan, low * error)
    return errors


def calibrated_errors(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Return calibration errors that a calibrated detector with these probabilities would have by chance.

    Samples of one group and label, such as the faces of a video, have their label together.

    Args:
        labels, scores: (N,) as for :func:`log_loss`.
        groups: int (N,).
        count: Number of random sets of labels.

    Returns:
        float64 (count,), from 0.
    """
    _, unit = np.unique(2 * groups + labels.astype(np.int64), return_inverse=True)
    num_units, cell = unit.max() + 1, unit * NUM_RELIABILITY_BINS + bin_of(scores)
    shape = (num_units, NUM_RELIABILITY_BINS)
    sizes, sums = (
        np.bincount(cell, weights=weights, minlength=num_units * NUM_RELIABILITY_BINS).reshape(shape)
        for weights in (None, scores)
    )
    probability = sums.sum(axis=1) / sizes.sum(axis=1)
    generator, errors = np.random.default_rng(0), np.empty(count)
    step = max(1, _MOST_DRAWN // num_units)
    for start in range(0, count, step):
        part = errors[start : start + step]
        are_fake = generator.random((len(part), num_units)) < probability
        part[:] = np.abs(sums.sum(axis=0) - are_fake @ sizes).sum(axis=1) / len(scores)
    return errors


def bin_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the index of each probability's bin."""
    numbers = np.floor(probabilities * NUM_RELIABILITY_BINS).astype(np.int64)
    kept: np.ndarray = np.minimum(numbers, NUM_RELIABILITY_BINS - 1)  # 1.0 is in the last bin
    return kept


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the log loss of each sample, in nats."""
    of_label = np.where(labels == 1, probabilities, 1.0 - probabilities)
    nats: np.ndarray = -np.log(np.clip(of_label, PROBABILITY_EPSILON, 1.0 - PROBABILITY_EPSILON))
    return nats


def _bin_sums(samples: Samples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weight, the sum of probabilities and the weight of fakes of each bin, each (K,)."""
    numbers = bin_of(samples.scores)
    factors = (1.0, samples.scores, samples.labels)
    sums = [
        np.bincount(numbers, weights=samples.weights * factor, minlength=NUM_RELIABILITY_BINS)
        for factor in factors
    ]
    return sums[0], sums[1], sums[2]


def _checked(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> Samples:
    samples = check_samples(labels, scores, weights)
    check_probabilities(samples.scores)
    return samples
