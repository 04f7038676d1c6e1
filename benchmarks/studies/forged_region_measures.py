"""Figures of the study of forged regions: maps against regions, families, intervals by person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deepfake_detect.metrics import expected_calibration_error, resample_groups, roc_auc

_NUM_RESAMPLES = 1000
_NUM_THRESHOLDS = 50


def pixel_aucs(maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Return of each map (N, h, w) how well it orders changed before unchanged positions: float (N,).

    NaN where all or none is changed.
    """
    found = np.full(len(maps), np.nan)
    for number, (one, region) in enumerate(zip(maps, regions, strict=True)):
        if 0 < region.sum() < region.size:
            found[number] = roc_auc(region.ravel().astype(int), one.ravel())
    return found


def overlaps(marked: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Return the IoU of each mask (N, h, w) with its region: float (N,); 0 where both are empty."""
    both = (marked & regions).sum((1, 2))
    either = (marked | regions).sum((1, 2))
    ious: np.ndarray = both / np.maximum(either, 1)
    return ious


def best_threshold(maps: np.ndarray, regions: np.ndarray) -> float:
    """Return from which value on a position counts as changed for the highest mean IoU."""
    candidates = np.unique(np.quantile(maps, np.linspace(0.01, 0.99, _NUM_THRESHOLDS)))
    return float(max(candidates, key=lambda value: overlaps(maps >= value, regions).mean()))


def by_person(values: np.ndarray, people: Sequence[str]) -> dict[str, Any]:
    """Return the mean of values (N,), NaN left out, with its 95% interval from resampling people."""
    values, names = np.asarray(values, float), np.asarray(people)
    names, values = names[~np.isnan(values)], values[~np.isnan(values)]
    if not len(values):
        return {"value": None, "low": None, "high": None, "n": 0, "people": 0}
    known, numbers = np.unique(names, return_inverse=True)
    low, high = None, None
    if len(known) > 2:
        counts = resample_groups(len(known), num_resamples=_NUM_RESAMPLES, seed=0).astype(float)
        sums, sizes = np.bincount(numbers, values), np.bincount(numbers)
        low, high = np.quantile((counts @ sums) / (counts @ sizes), [0.025, 0.975]).round(4).tolist()
    value = round(float(values.mean()), 4)
    return {"value": value, "low": low, "high": high, "n": len(values), "people": len(known)}


def family_figures(
    probabilities: np.ndarray, families: np.ndarray, classes: Sequence[str], people: Sequence[str]
) -> dict[str, Any]:
    """Return how well probabilities (N, classes) name families (N,), with intervals by person."""
    truth = np.array([list(classes).index(family) for family in families])
    chosen = probabilities.argmax(1)
    is_right = (chosen == truth).astype(float)
    losses = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-6))
    return {
        "accuracy": by_person(is_right, people),
        "recall": {
            name: by_person(is_right[truth == number], np.asarray(people)[truth == number])
            for number, name in enumerate(classes)
        },
        "log_loss": by_person(losses, people),
        "calibration_error": round(expected_calibration_error(is_right.astype(int), probabilities.max(1)), 4),
    }


def mean_by(keys: Sequence[str], values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the different keys, in order, and the mean of the values (N, ...) of each."""
    known, numbers = np.unique(np.asarray(keys), return_inverse=True)
    means = np.stack([values[numbers == number].mean(0) for number in range(len(known))])
    return known.tolist(), means


def folds_of(people: Sequence[frozenset[str]], count: int) -> np.ndarray:
    """Return a fold (N,) for each sample so that no person is in two, int."""
    groups: list[set[str]] = []
    for named in people:
        touching = [group for group in groups if group & named]
        groups = [group for group in groups if not group & named]
        groups.append(set(named).union(*touching))
    ordered = sorted(groups, key=min)
    fold = {person: number % count for number, group in enumerate(ordered) for person in group}
    return np.array([fold[min(named)] for named in people])


def out_of_fold(
    folds: np.ndarray, fit: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]], features: np.ndarray
) -> np.ndarray:
    """Return predictions of each sample by what was fitted on the other folds.

    Args:
        folds: int (N,).
        fit: A mask (N,) of samples to a function from features to predictions (M, K).
        features: (N, F).
    """
    found = [fit(folds != fold)(features[folds == fold]) for fold in np.unique(folds)]
    order = np.concatenate([np.flatnonzero(folds == fold) for fold in np.unique(folds)])
    joined: np.ndarray = np.concatenate(found)[np.argsort(order)]
    return joined
