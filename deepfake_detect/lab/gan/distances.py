"""Distances between generated and real images: FID and KID between two sets of features.

Distances in the features of different networks cannot be compared, so a report has to name the network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.errors import OptionError


class KernelDistance(NamedTuple):
    """Kernel distance over random subsets.

    Attributes:
        mean: Of the subsets' distances; around 0 for equal sources, and negative as often as positive.
        deviation: Standard deviation of the subsets' distances.
    """

    mean: float
    deviation: float


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Return the Fréchet distance of normal distributions fitted to two sets of features (FID).

    It is biased upwards, more so for fewer samples: compare only figures of equal numbers of samples.

    Args:
        first, second: (N, F) and (M, F) features, at least two samples each.

    Returns:
        0 or more; 0 for equal means and covariances.

    Raises:
        OptionError: A set is no finite matrix of two rows or more, or their numbers of features differ.

    Source: Heusel et al. 2017, arXiv:1706.08500.

    Example:
        >>> cloud = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(frechet_distance(cloud, cloud + [3.0, 0.0, 4.0]), 6)
        25.0
    """
    one, other = _checked(first, second)
    shift = one.mean(axis=0) - other.mean(axis=0)
    covariance, other_covariance = (
        np.atleast_2d(np.cov(features, rowvar=False)) for features in (one, other)
    )
    # The trace of (A B)^(1/2) from A^(1/2) B A^(1/2), which is symmetric: no complex roots.
    root = _square_root(covariance)
    mixed = np.linalg.eigvalsh(root @ other_covariance @ root)
    overlap = np.sqrt(np.clip(mixed, 0, None)).sum()
    spread = np.trace(covariance) + np.trace(other_covariance) - 2 * overlap
    return float(max(0.0, shift @ shift + spread))


def kernel_distance(
    first: ArrayLike, second: ArrayLike, *, subset_size: int = 1000, num_subsets: int = 100, seed: int = 0
) -> KernelDistance:
    """Return the squared maximum mean discrepancy of two sets of features with a cubic kernel (KID).

    It is unbiased, so that sets of any number of samples can be compared.

    Args:
        first, second: (N, F) and (M, F) features, at least two samples each.
        subset_size: Samples of each set in a subset; at most those of the smaller set.
        num_subsets: Number of random subsets, each without replacement.
        seed: Of the subsets.

    Raises:
        OptionError: As for :func:`frechet_distance`; ``subset_size`` is below 2 or ``num_subsets``
            below 1.

    Source: Bińkowski et al. 2018, arXiv:1801.01401.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> near = kernel_distance(rng.normal(size=(300, 4)), rng.normal(size=(300, 4)))
        >>> far = kernel_distance(rng.normal(size=(300, 4)), rng.normal(2, 1, size=(300, 4)))
        >>> abs(near.mean) < 0.1 < 10 < far.mean
        True
    """
    one, other = _checked(first, second)
    for option, value, least in (("subset_size", subset_size, 2), ("num_subsets", num_subsets, 1)):
        if value < least:
            raise OptionError(option, f"is {value}", f"must be {least} or more")
    rng = np.random.default_rng(seed)
    size = min(subset_size, len(one), len(other))
    found = [
        _discrepancy(
            one[rng.choice(len(one), size, replace=False)], other[rng.choice(len(other), size, replace=False)]
        )
        for _ in range(num_subsets)
    ]
    return KernelDistance(float(np.mean(found)), float(np.std(found)))


def _discrepancy(one: np.ndarray, other: np.ndarray) -> float:
    """Return the unbiased estimate for two sets of the same size."""
    size, width = one.shape
    within = [(features @ features.T / width + 1) ** 3 for features in (one, other)]
    between = (one @ other.T / width + 1) ** 3
    apart = sum((kernel.sum() - np.trace(kernel)) / (size * (size - 1)) for kernel in within)
    return float(apart - 2 * between.mean())


def _square_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    root: np.ndarray = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def _checked(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    sets = [np.asarray(features, dtype=np.float64) for features in (first, second)]
    for name, features in zip(("first", "second"), sets, strict=True):
        if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
            cause = f"is not a finite matrix of samples {features.shape}"
            raise OptionError(name, cause, "must be (N, F) with N of 2 or more")
    one, other = sets
    if one.shape[1] != other.shape[1]:
        cause = f"has {other.shape[1]} features, the first {one.shape[1]}"
        raise OptionError("second", cause, "use features of one network")
    return one, other
