"""How far a generator's images are from real ones: distances of two clouds of features.

The features are a network's, and the distances are in its terms: figures from two networks cannot
be compared, so whoever states one states the network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.errors import OptionError


class KernelDistance(NamedTuple):
    """Kernel distance over random subsets.

    Attributes:
        mean: Of the subsets' distances; around 0 for equal sources, and below as often as above.
        deviation: Standard deviation of the subsets' distances.
    """

    mean: float
    deviation: float


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Return the Fréchet distance of the normal distributions of two clouds (FID).

    It is biased upwards, the more the fewer samples: compare figures from equal numbers alone.

    Args:
        first, second: (N, F) and (M, F) features, at least two samples each.

    Returns:
        0 or more; 0 for equal means and covariances.

    Raises:
        OptionError: A cloud is no finite matrix of two rows or more, or their widths differ.

    Source: Heusel et al. 2017, arXiv:1706.08500.

    Example:
        >>> cloud = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(frechet_distance(cloud, cloud + [3.0, 0.0, 4.0]), 6)
        25.0
    """
    one, other = _checked(first, second)
    shift = one.mean(axis=0) - other.mean(axis=0)
    covariance, other_covariance = (np.atleast_2d(np.cov(cloud, rowvar=False)) for cloud in (one, other))
    # The trace of (A B)^(1/2) by way of A^(1/2) B A^(1/2), which is symmetric: no complex roots.
    root = _square_root(covariance)
    mixed = np.linalg.eigvalsh(root @ other_covariance @ root)
    overlap = np.sqrt(np.clip(mixed, 0, None)).sum()
    spread = np.trace(covariance) + np.trace(other_covariance) - 2 * overlap
    return float(max(0.0, shift @ shift + spread))


def kernel_distance(
    first: ArrayLike, second: ArrayLike, *, subset_size: int = 1000, num_subsets: int = 100, seed: int = 0
) -> KernelDistance:
    """Return the squared maximum mean discrepancy of two clouds with a cubic kernel (KID).

    Unbiased, so that clouds of any number of samples can be compared.

    Args:
        first, second: (N, F) and (M, F) features, at least two samples each.
        subset_size: Samples of each cloud in a subset; all of the smaller cloud where it has fewer.
        num_subsets: Subsets drawn, each without putting back.
        seed: Of the draws.

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
            raise OptionError(option, f"is {value}", f"pass {least} or more")
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
    """Return the unbiased estimate for two clouds of the same size."""
    size, width = one.shape
    within = [(cloud @ cloud.T / width + 1) ** 3 for cloud in (one, other)]
    between = (one @ other.T / width + 1) ** 3
    apart = sum((kernel.sum() - np.trace(kernel)) / (size * (size - 1)) for kernel in within)
    return float(apart - 2 * between.mean())


def _square_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    root: np.ndarray = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def _checked(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    clouds = [np.asarray(cloud, dtype=np.float64) for cloud in (first, second)]
    for name, cloud in zip(("first", "second"), clouds, strict=True):
        if cloud.ndim != 2 or len(cloud) < 2 or not np.isfinite(cloud).all():
            raise OptionError(name, f"is no finite matrix of samples {cloud.shape}", "pass (N, F), N from 2")
    one, other = clouds
    if one.shape[1] != other.shape[1]:
        cause = f"has {other.shape[1]} features, the first {one.shape[1]}"
        raise OptionError("second", cause, "take both from one network")
    return one, other
