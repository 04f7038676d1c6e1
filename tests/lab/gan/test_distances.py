from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from deepfake_detect.errors import OptionError
from deepfake_detect.lab.gan.distances import frechet_distance, kernel_distance


def clouds(seed: int, count: int = 40, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) @ rng.normal(size=(width, width)), rng.normal(1, 2, (count, width))


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance_agrees_with_the_formula(seed: int) -> None:
    """The published formula with scipy's matrix square root of the plain product."""
    one, other = clouds(seed)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    shift = ((one.mean(0) - other.mean(0)) ** 2).sum()
    slow = shift + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)
    assert frechet_distance(one, other) == pytest.approx(slow, rel=1e-8)
    assert frechet_distance(other, one) == pytest.approx(slow, rel=1e-8)


def test_frechet_distance_of_known_normals() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, (200_000, 2)), rng.normal([1, 0], [3, 1], (200_000, 2))
    assert frechet_distance(one, other) == pytest.approx(1 + (3 - 1) ** 2, rel=0.02)


def test_frechet_distance_with_fewer_samples_than_features() -> None:
    one, other = clouds(1, count=6, width=30)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(one, other) > 1
    assert frechet_distance(one[:, :1], one[:, :1]) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_agrees_with_loops() -> None:
    one, other = clouds(2, count=9, width=4)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 4 + 1) ** 3)

    pairs = [(i, j) for i in range(9) for j in range(9)]
    within = [np.mean([kernel(c[i], c[j]) for i, j in pairs if i != j]) for c in (one, other)]
    slow = sum(within) - 2 * np.mean([kernel(one[i], other[j]) for i, j in pairs])
    found = kernel_distance(one, other, subset_size=100, num_subsets=2)
    assert found.mean == pytest.approx(slow)
    assert found.deviation == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_unbiased_and_frechet_distance_is_not() -> None:
    rng = np.random.default_rng(4)
    twins = [(rng.normal(size=(30, 8)), rng.normal(size=(30, 8))) for _ in range(200)]
    kernels = [kernel_distance(*pair, num_subsets=1).mean for pair in twins]
    error = np.std(kernels) / np.sqrt(len(kernels))
    assert abs(np.mean(kernels)) < 4 * error
    assert np.mean(np.array(kernels) < 0) > 0.3
    assert np.mean([frechet_distance(*pair) for pair in twins]) > 1


def test_subsets_depend_on_the_seed() -> None:
    one, other = clouds(5, count=60)
    found = [kernel_distance(one, other, subset_size=20, num_subsets=5, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0].deviation > 0


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (np.zeros((1, 2)), np.zeros((2, 2)), r"first: is not a finite matrix of samples \(1, 2\)"),
        (np.zeros((2, 2)), np.zeros(2), r"second: is not a finite matrix of samples \(2,\)"),
        (np.zeros((2, 2)), np.full((2, 2), np.nan), "second: is not a finite matrix"),
        (
            np.zeros((2, 3)),
            np.zeros((2, 2)),
            "second: has 2 features, the first 3; use features of one network",
        ),
    ],
)
def test_invalid_features_are_rejected(one: np.ndarray, other: np.ndarray, message: str) -> None:
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(OptionError, match=message):
            distance(one, other)


@pytest.mark.parametrize(("option", "least"), [("subset_size", 2), ("num_subsets", 1)])
def test_invalid_subsets_are_rejected(option: str, least: int) -> None:
    with pytest.raises(OptionError, match=f"{option}: is {least - 1}; must be {least} or more"):
        kernel_distance(*clouds(0), **{option: least - 1})
