"""Error rate against the fraction of videos that get a verdict, the least confident left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit

from deepfake_detect.errors import OptionError
from deepfake_detect.metrics import PROBABILITY_EPSILON, accuracy


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Error rate of the most confident verdicts, for every coverage.

    Attributes:
        coverage: float64 (K,), fraction of samples that get a verdict; rising to 1.
        risk: float64 (K,), fraction of wrong verdicts among them.
        area: Mean risk over all coverages, 0 to 1; lower is better.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float


@dataclass(frozen=True)
class Abstention:
    """Effect of the uncertain band.

    Attributes:
        uncertain_low, uncertain_high: Probabilities strictly between get no verdict.
        share_certain: Fraction of samples that get a verdict, 0 to 1.
        accuracy_certain: Accuracy on them; NaN if there are none.
        accuracy_all: Accuracy if all samples get a verdict.
    """

    uncertain_low: float
    uncertain_high: float
    share_certain: float
    accuracy_certain: float
    accuracy_all: float


def risk_coverage(labels: ArrayLike, probabilities: ArrayLike, *, threshold: float) -> RiskCoverage:
    """Return the risk-coverage curve; confidence is the distance from the threshold in logits.

    Samples of equal confidence get a verdict together, as with the band of
    :func:`choose_uncertain_band`.

    Args:
        labels: (N,) of 0 = real and 1 = fake, N >= 1.
        probabilities: (N,), 0 to 1.
        threshold: Between 0 and 1, both excluded; at or above it is fake.

    Raises:
        OptionError: As for ``metrics.accuracy``; a threshold out of range.

    Source: El-Yaniv & Wiener, JMLR 11 (2010); area as in Geifman & El-Yaniv, ICLR 2019.

    Example:
        >>> curve = risk_coverage([0, 1, 1, 0], [0.02, 0.9, 0.4, 0.3], threshold=0.5)
        >>> curve.coverage.tolist(), curve.risk.tolist()
        ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.0, 0.25])
    """
    accuracy(labels, probabilities, threshold=threshold)  # checks the samples
    if not 0.0 < threshold < 1.0:
        raise OptionError("threshold", f"is {threshold}", "must be between 0 and 1, such as 0.5")
    values = np.asarray(probabilities, dtype=np.float64)
    clipped = np.clip(values, PROBABILITY_EPSILON, 1.0 - PROBABILITY_EPSILON)
    confidence = np.abs(logit(clipped) - logit(threshold))
    order = np.argsort(-confidence, kind="stable")
    wrong = (values >= threshold) != (np.asarray(labels) == 1)
    ends = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    num_given = ends + 1
    risk = np.cumsum(wrong[order])[ends] / num_given
    steps = np.diff(num_given, prepend=0) / len(order)
    return RiskCoverage(num_given / len(order), risk, float(np.dot(steps, risk)))


def abstain(
    labels: ArrayLike, probabilities: ArrayLike, *, threshold: float, band: tuple[float, float]
) -> Abstention:
    """Return the effect of an uncertain band; probabilities strictly between its bounds are uncertain.

    Raises:
        OptionError: As for ``metrics.accuracy``.

    Example:
        >>> found = abstain([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.3], threshold=0.5, band=(0.35, 0.6))
        >>> found.share_certain, found.accuracy_certain, found.accuracy_all
        (0.75, 1.0, 0.75)
    """
    values = np.asarray(probabilities, dtype=np.float64)
    of_all = accuracy(labels, values, threshold=threshold)
    certain = ~((values > band[0]) & (values < band[1]))
    of_certain = np.nan
    if certain.any():
        of_certain = accuracy(np.asarray(labels)[certain], values[certain], threshold=threshold)
    return Abstention(band[0], band[1], float(certain.mean()), of_certain, of_all)
