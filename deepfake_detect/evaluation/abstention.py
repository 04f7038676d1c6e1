"""What is gained by saying "uncertain" to the least sure: error rate against share of verdicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit

from deepfake_detect.errors import OptionError
from deepfake_detect.metrics import PROBABILITY_EPSILON, accuracy


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The error rate of the nms verdicts, for every share of verdicts given.

    Attributes:
        coverage: float64 (K,), share of samples that get a verdict; rising to 1.
        risk: float64 (K,), share of wrong verdicts among them.
        area: Mean risk over all coverages, 0 to 1: the lower the better.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float


@dataclass(frozen=True)
class Abstention:
    """What a band of "uncertain" leaves.

    Attributes:
        uncertain_low, uncertain_high: Probabilities strictly between get no verdict.
        share_certain: Share of samples that get one, 0 to 1.
        accuracy_certain: Share of right verdicts among them; NaN where none gets one.
        accuracy_all: Share of right verdicts were all to get one.
    """

    uncertain_low: float
    uncertain_high: float
    share_certain: float
    accuracy_certain: float
    accuracy_all: float


def risk_coverage(labels: ArrayLike, probabilities: ArrayLike, *, threshold: float) -> RiskCoverage:
    """Return the risk-coverage curve; sureness is the distance from the threshold in logits.

    Samples of equal sureness get a verdict together, as the band of :func:`choose_uncertain_band`
    has it.

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
    accuracy(labels, probabilities, threshold=threshold)  # refuses what is no sample
    if not 0.0 < threshold < 1.0:
        raise OptionError("threshold", f"{threshold} is not between 0 and 1", "pass one such as 0.5")
    values = np.asarray(probabilities, dtype=np.float64)
    clipped = np.clip(values, PROBABILITY_EPSILON, 1.0 - PROBABILITY_EPSILON)
    sureness = np.abs(logit(clipped) - logit(threshold))
    order = np.argsort(-sureness, kind="stable")
    wrong = (values >= threshold) != (np.asarray(labels) == 1)
    ends = np.append(np.flatnonzero(np.diff(sureness[order])), len(order) - 1)
    num_given = ends + 1
    risk = np.cumsum(wrong[order])[ends] / num_given
    steps = np.diff(num_given, prepend=0) / len(order)
    return RiskCoverage(num_given / len(order), risk, float(np.dot(steps, risk)))


def abstain(
    labels: ArrayLike, probabilities: ArrayLike, *, threshold: float, band: tuple[float, float]
) -> Abstention:
    """Return what a band of "uncertain" gains.

    Args:
        labels, probabilities: As for :func:`risk_coverage`.
        threshold: Finite; at or above it is fake.
        band: Low and high end; strictly between them is uncertain.

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
