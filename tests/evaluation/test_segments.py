"""Stretches of a person's frames that stand out from the rest."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detect.evaluation.segments import refined_stretch, stretch_seconds, suspicious_stretches


def noisy(levels: list[tuple[float, int]], *, seed: int = 0) -> np.ndarray:
    """Return probabilities around levels of the logit, each held for a number of frames."""
    logits = np.concatenate([np.full(count, level) for level, count in levels])
    logits = logits + np.random.default_rng(seed).normal(0, 0.6, len(logits))
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("seed", range(5))
def test_a_forged_stretch_is_found_with_its_borders(seed: int) -> None:
    (found,) = suspicious_stretches(noisy([(-3.5, 12), (1.5, 8), (-3.5, 12)], seed=seed))
    assert (found.start, found.stop) == (12, 20)
    assert found.is_forged
    assert found.level == pytest.approx(1.5, abs=0.7)
    assert found.base == pytest.approx(-3.5, abs=0.7)


def test_two_forged_stretches_are_two() -> None:
    found = suspicious_stretches(noisy([(1.5, 6), (-3.5, 8), (1.5, 6), (-3.5, 12)]))
    assert [(one.start, one.stop) for one in found] == [(0, 6), (14, 20)]


@pytest.mark.parametrize("level", [-4.0, 0.0, 4.0])
def test_one_level_has_no_stretch_that_stands_out(level: float) -> None:
    assert suspicious_stretches(noisy([(level, 32)])) == []


def test_a_small_step_is_not_suspicious() -> None:
    assert suspicious_stretches(noisy([(-2.0, 16), (1.0, 16)])) == []


def test_a_step_to_a_low_probability_is_not_suspicious() -> None:
    assert suspicious_stretches(noisy([(-6.0, 16), (-1.5, 16)])) == []


def test_touching_stretches_are_one() -> None:
    (found,) = suspicious_stretches(noisy([(-5.0, 10), (1.0, 8), (5.0, 8), (-5.0, 10)]))
    assert (found.start, found.stop) == (10, 26)


def test_a_single_frame_is_suspicious_but_not_forged() -> None:
    (found,) = suspicious_stretches([0.01] * 10 + [0.99] + [0.01] * 10)
    assert (found.start, found.stop, found.is_forged) == (10, 11, False)


@pytest.mark.parametrize("probabilities", [[], [0.9], [0.1, 0.9]])
def test_few_frames_have_no_stretch(probabilities: list[float]) -> None:
    assert suspicious_stretches(probabilities) == []


def test_certain_frames_are_finite() -> None:
    (found,) = suspicious_stretches([0.0] * 10 + [1.0] * 5)
    assert np.isfinite([found.level, found.base]).all()


def test_refining_moves_the_borders_within_the_window() -> None:
    probabilities = [0.02] * 4 + [0.9, 0.8, 0.95, 0.9] + [0.02] * 4
    found = refined_stretch(probabilities, (2, 10), level=2.0, base=-3.9)
    assert found is not None
    assert (found.start, found.stop) == (4, 8)


def test_refining_finds_nothing_where_no_frame_is_near_the_level() -> None:
    assert refined_stretch([0.02] * 12, (2, 10), level=2.0, base=-3.9) is None


def test_seconds_are_midway_between_frames() -> None:
    assert stretch_seconds([0.0, 1.0, 2.0, 3.0], 1, 3, end_seconds=4.0) == (0.5, 2.5)
    assert stretch_seconds([0.0, 1.0, 2.0, 3.0], 0, 4, end_seconds=4.0) == (0.0, 4.0)
