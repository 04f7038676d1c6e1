"""Checked input of every metric: labels, scores, weights and groups of one length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.errors import OptionError


@dataclass(frozen=True, eq=False)
class Samples:
    """Labels (0 or 1), scores and weights, each float64 (N,)."""

    labels: np.ndarray
    scores: np.ndarray
    weights: np.ndarray


def check_samples(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> Samples:
    """Return checked samples; :func:`ranking.roc_curve` lists the errors."""
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
        raise OptionError("scores", "is empty", "pass at least one label and its score")
    if not np.isin(label_array, (0.0, 1.0)).all():
        raise OptionError("labels", "contain values other than 0 and 1", "pass 0 for real and 1 for fake")
    if not np.isfinite(score_array).all():
        count = int((~np.isfinite(score_array)).sum())
        raise OptionError(
            "scores", f"{count} of {shape[0]} are NaN or infinite", "find the samples that were not scored"
        )
    return Samples(label_array, score_array, _check_weights(weights, shape[0]))


def check_probabilities(scores: np.ndarray) -> None:
    """Raise OptionError where scores are outside 0 to 1."""
    if scores.min() < 0.0 or scores.max() > 1.0:
        raise OptionError(
            "scores",
            f"range from {scores.min():.4g} to {scores.max():.4g} and are not probabilities",
            "pass probabilities of fake, 0 to 1 (the sigmoid of logits)",
        )


def check_threshold(threshold: float) -> None:
    """Raise OptionError where a threshold is not finite."""
    if not math.isfinite(threshold):
        raise OptionError("threshold", f"is {threshold}", "must be a finite number")


def check_groups(groups: ArrayLike, num_samples: int) -> tuple[np.ndarray, int]:
    """Return the number of each sample's group, from 0, and the number of groups."""
    array = np.asarray(groups)
    if array.shape != (num_samples,):
        raise OptionError(
            "groups", f"shape {array.shape} for {num_samples} samples", "pass one group per sample"
        )
    try:
        names, numbers = np.unique(array, return_inverse=True)
    except TypeError as error:
        raise OptionError(
            "groups", f"cannot be sorted ({error})", "pass integers or text, and no missing ones"
        ) from error
    return numbers, len(names)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return ``part / whole``, NaN where ``whole`` is 0."""
    quotient: np.ndarray = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return quotient


def _as_floats(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(name, f"is not an array of numbers ({error})", "pass numbers") from error


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
