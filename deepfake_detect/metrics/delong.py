"""DeLong's test: whether the AUCs of two detectors on the same samples differ by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from deepfake_detect.errors import OptionError
from deepfake_detect.metrics.samples import check_samples

# Below these only rounding is left.
_NO_VARIANCE, _NO_DIFFERENCE = 1e-18, 1e-12


@dataclass(frozen=True)
class AucDifference:
    """Two AUCs on the same samples.

    Attributes:
        first, second: The AUCs, 0 to 1.
        difference: First less second.
        low, high: 95% interval of the difference, by the normal approximation; NaN where they
            differ and the samples have no variance.
        p_value: Two-sided, of the AUCs being equal. 1 where the two order all pairs alike; NaN where
            they differ and the samples have no variance.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float


def delong_test(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> AucDifference:
    """Compare the AUCs of two detectors on the same independent samples.

    For videos, not for frames: frames of one video are not independent, and the test would call
    chance differences significant (use :func:`bootstrap.bootstrap_differences` with groups).

    Args:
        labels: (N,) of 0 = real and 1 = fake, at least two of each.
        first, second: (N,) finite scores of the two detectors, higher = more likely fake; their
            scales need not agree.

    Returns:
        The difference, its interval and the p-value.

    Raises:
        OptionError: As for :func:`ranking.roc_curve`; fewer than two reals or two fakes.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), by the midranks of Sun & Xu,
    IEEE Signal Processing Letters 21 (2014).

    Example:
        >>> found = delong_test([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], [1, 5, 3, 2, 4, 6])
        >>> found.first, round(found.second, 3), round(found.p_value, 3)
        (1.0, 0.667, 0.221)
    """
    pairs = [check_samples(labels, scores, None) for scores in (first, second)]
    is_fake = pairs[0].labels == 1
    if min(is_fake.sum(), (~is_fake).sum()) < 2:
        raise OptionError("labels", "contain fewer than two reals or two fakes", "compare on more videos")
    placements = [_placements(is_fake, samples.scores) for samples in pairs]
    of_fakes = np.stack([fakes for fakes, _ in placements])  # (2, F): fraction of reals below each fake
    of_reals = np.stack([reals for _, reals in placements])  # (2, R): fraction of fakes above each real
    areas = of_fakes.mean(axis=1)
    covariance = np.cov(of_fakes) / of_fakes.shape[1] + np.cov(of_reals) / of_reals.shape[1]
    # Rounding may make a variance of 0 slightly negative.
    variance = max(0.0, float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1]))
    difference = float(areas[0] - areas[1])
    # Such as two perfect detectors, one of them inverted: so few samples cannot rule out chance.
    unknown = variance < _NO_VARIANCE and abs(difference) > _NO_DIFFERENCE
    half_width = math.nan if unknown else float(ndtri(0.975)) * math.sqrt(variance)
    p_value = math.nan if unknown else 1.0
    if variance >= _NO_VARIANCE:
        p_value = float(2.0 * ndtr(-abs(difference) / math.sqrt(variance)))
    return AucDifference(
        float(areas[0]),
        float(areas[1]),
        difference,
        difference - half_width,
        difference + half_width,
        p_value,
    )


def _placements(is_fake: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each fake the fraction of reals below it, and for each real that of fakes above it."""
    # scipy.stats takes most of a second to import, which no other metric needs.
    from scipy.stats import rankdata

    fakes, reals = scores[is_fake], scores[~is_fake]
    among_all = rankdata(np.concatenate([fakes, reals]))
    below = (among_all[: len(fakes)] - rankdata(fakes)) / len(reals)
    above = 1.0 - (among_all[len(fakes) :] - rankdata(reals)) / len(fakes)
    return below, above
