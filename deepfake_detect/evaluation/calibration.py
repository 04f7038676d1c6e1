"""Validation scores -> calibrated probabilities, threshold, aggregation rule and uncertain band.

All are fitted on validation samples, never on test samples, and stored with the detector. They define
the verdict: *uncertain* strictly inside the band, outside it *fake* at or above the threshold and
*real* below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import expit

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import (
    AGGREGATION_RULES,
    LEARNED_RULE,
    ClipFaces,
    clip_features,
)
from deepfake_detect.metrics import PROBABILITY_EPSILON, roc_auc
from deepfake_detect.models.config import IsotonicCalibration, PlattCalibration
from deepfake_detect.plurals import counted

# A rate that equals the limit up to the rounding of a product is not above it.
_ROUNDING = 1e-9
# Of each class; a fifth of them evaluate the learned rule in each fold.
_MIN_VIDEOS_TO_LEARN = 25
# In units of the mean absolute logit: beyond these every probability is 0 or 1, or 0.5.
_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 1e-3, 1e3


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the T > 0 for which ``sigmoid(logit / T)`` has the least log loss.

    Above 1 the network was overconfident, below 1 underconfident. The order of the samples, and with it
    the AUC, does not change.

    Args:
        logits: (N,) finite raw outputs of the network, above 0 for fake.
        labels: (N,) of 0 = real and 1 = fake, both present.

    Returns:
        Temperature, proportional to the scale of the logits.

    Raises:
        OptionError: Arrays differ in length, values are not finite, labels are not 0 and 1, or a class
            is absent; logits are correct for every sample (the loss keeps falling with T) or wrong so
            often that it falls as T grows.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.

    Example:
        >>> logits = np.array([-4.0, -4.0, -4.0, 4.0, 4.0, 4.0, 4.0, -4.0])
        >>> temperature = fit_temperature(logits, [0, 0, 0, 1, 1, 1, 0, 1])  # right in 6 of 8
        >>> round(1 / (1 + math.exp(-4.0 / temperature)), 3)
        0.75
    """
    label_array, logit_array = _check("logits", labels, logits)
    # Positive where the logit is on the correct side.
    margins = np.where(label_array == 1, logit_array, -logit_array)
    scale = float(np.abs(margins).mean())
    if _slope(margins, _HIGHEST_TEMPERATURE * scale) >= 0.0:
        raise OptionError(
            "logits",
            "are wrong so often that no temperature helps",
            "train longer, or check that label 1 means fake",
        )
    if _slope(margins, _LOWEST_TEMPERATURE * scale) <= 0.0:
        raise OptionError(
            "logits",
            "are correct for (almost) every sample, so that no temperature is best",
            "calibrate on more or harder samples, or keep temperature 1",
        )
    found = minimize_scalar(
        lambda log_temperature: float(np.logaddexp(0.0, -margins / math.exp(log_temperature)).mean()),
        bounds=(math.log(_LOWEST_TEMPERATURE * scale), math.log(_HIGHEST_TEMPERATURE * scale)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return math.exp(float(found.x))


def fit_platt(logits: ArrayLike, labels: ArrayLike) -> PlattCalibration:
    """Return the linear function of the logit whose sigmoid has the least log loss.

    Unlike a temperature it also shifts the logits, for a detector that is biased to one class.

    Raises:
        OptionError: As for :func:`fit_temperature`, except that the logits may be correct for every
            sample (a small ridge keeps the slope finite); the slope is negative.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999.

    Example:
        >>> fit_platt([-3.0, -2.0, -1.0, 1.0, 0.0, 2.0, 3.0, -1.0], [0, 0, 0, 0, 1, 1, 1, 1]).slope > 0
        True
    """
    label_array, logit_array = _check("logits", labels, logits)
    model = _logistic_regression().fit(logit_array[:, None], label_array)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0.0:
        raise OptionError(
            "logits", "are higher for reals than for fakes", "check that label 1 means fake, or train longer"
        )
    return PlattCalibration(slope, intercept)


def fit_isotonic(logits: ArrayLike, labels: ArrayLike) -> IsotonicCalibration:
    """Return the nondecreasing function from logit to probability that fits the labels best.

    It can follow any nondecreasing curve, and needs about a thousand samples for that. Samples tie where
    it is constant, which may cost a little AUC. Probabilities are clipped to at least ``1 / (N + 2)``
    from 0 and 1: N samples cannot support more.

    Raises:
        OptionError: As for :func:`fit_temperature`, except that any finite logits are allowed.

    Source: Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability
    estimates", KDD 2002.

    Example:
        >>> fit_isotonic([-2.0, -1.0, 1.0, 2.0], [0, 1, 0, 1]).logits
        (-2.0, -1.0, 1.0, 2.0)
    """
    from sklearn.isotonic import IsotonicRegression

    label_array, logit_array = _check("logits", labels, logits)
    model = IsotonicRegression(out_of_bounds="clip").fit(logit_array, label_array)
    edge = 1.0 / (len(label_array) + 2)
    return IsotonicCalibration(
        logits=tuple(model.X_thresholds_.tolist()),
        probabilities=tuple(np.clip(model.y_thresholds_, edge, 1.0 - edge).tolist()),
    )


def choose_aggregation(clips: Sequence[ClipFaces], labels: ArrayLike) -> tuple[str, list[float]]:
    """Return the rule of highest AUC over validation videos, and the weights of the learned one, else none.

    Ties: the first of ``AGGREGATION_RULES``.

    Raises:
        OptionError: Labels and clips differ in number, or a class is absent.
    """
    return best_aggregation(aggregation_aucs(clips, labels), clips, labels)


def best_aggregation(
    areas: Mapping[str, float], clips: Sequence[ClipFaces], labels: ArrayLike
) -> tuple[str, list[float]]:
    """Return the result of :func:`choose_aggregation` for known AUCs."""
    best = max(areas, key=lambda rule: areas[rule])
    return best, fit_clip_weights(clips, labels) if best == LEARNED_RULE else []


def aggregation_aucs(clips: Sequence[ClipFaces], labels: ArrayLike) -> dict[str, float]:
    """Return the AUC over validation videos of each aggregation rule.

    The learned rule is evaluated by 5-fold cross-validation over the videos, and only with at least 25
    videos of each class.

    Args, Raises:
        As for :func:`choose_aggregation`.

    Example:
        >>> from deepfake_detect.evaluation.aggregation import clip_faces
        >>> clips = [clip_faces([0, 0], faces, frame_indices=[0, 1]) for faces in ([.2, .3], [.1, .9])]
        >>> aggregation_aucs(clips, [0, 1])["mean"]
        1.0
    """
    from sklearn.model_selection import cross_val_predict

    label_array, _ = _check("clips", labels, np.zeros(len(clips)))
    areas = {
        rule: roc_auc(label_array, [function(faces)[0] for faces in clips])
        for rule, function in AGGREGATION_RULES.items()
        if rule != LEARNED_RULE
    }
    features = np.stack([clip_features(faces) for faces in clips])
    if np.bincount(label_array).min() >= _MIN_VIDEOS_TO_LEARN:
        model = _logistic_regression(ridge=1.0)
        held_out = cross_val_predict(model, features, label_array, cv=5, method="decision_function")
        areas[LEARNED_RULE] = roc_auc(label_array, held_out)
    return areas


def fit_clip_weights(clips: Sequence[ClipFaces], labels: ArrayLike) -> list[float]:
    """Return the weights of the rule ``"logistic"``: intercept, then one per feature.

    Args, Raises:
        As for :func:`choose_aggregation`.
    """
    label_array, _ = _check("clips", labels, np.zeros(len(clips)))
    features = np.stack([clip_features(faces) for faces in clips])
    model = _logistic_regression(ridge=1.0).fit(features, label_array)
    return [float(model.intercept_[0]), *model.coef_[0].tolist()]


def choose_threshold(labels: ArrayLike, probabilities: ArrayLike, *, max_fpr: float | None = None) -> float:
    """Return the best threshold: ``probability >= threshold`` is fake.

    It has the highest balanced accuracy, or finds most fakes with a false positive rate of at most
    ``max_fpr`` (ties: the fewest false positives).

    Candidates are the midpoints between neighboring distinct probabilities. Ties: the nearest to 0.5,
    then the lower. If none has so few false positives, it is the midpoint between the highest
    probability and 1, above all samples.

    Args:
        labels: (N,) of 0 = real and 1 = fake, both present.
        probabilities: (N,), 0 to 1.
        max_fpr: Highest false positive rate, 0 to 1; ``None`` for balanced accuracy.

    Returns:
        Threshold, 0 to 1.

    Raises:
        OptionError: Arrays differ in length, labels are not 0 and 1, a class is absent, probabilities are
            outside 0 to 1, or all equal; no threshold has so few false positives, because a real has
            the probability 1.

    Source: the maximum of Youden's J (Cancer 3, 1950), which is 2 * balanced accuracy - 1.

    Example:
        >>> choose_threshold([0, 0, 1, 1], [0.125, 0.25, 0.75, 0.875])
        0.5
    """
    label_array, values = _check("probabilities", labels, probabilities)
    _check_range(values)
    order = np.argsort(values, kind="stable")
    ordered, ordered_labels = values[order], label_array[order]
    cuts = np.flatnonzero(np.diff(ordered))
    if len(cuts) == 0:
        raise OptionError("probabilities", f"are all {ordered[0]:.4g}", "check the detector's outputs")
    midpoints = _midpoints(ordered[cuts], ordered[cuts + 1])
    fakes_below = np.cumsum(ordered_labels)[cuts]
    num_fakes, num_reals = int(label_array.sum()), int((1 - label_array).sum())
    fakes_found, reals_below = num_fakes - fakes_below, cuts + 1 - fakes_below
    if max_fpr is None:
        # Balanced accuracy times 2 * fakes * reals is an integer, so that ties are exact.
        quality = fakes_found * num_reals + reals_below * num_fakes
    else:
        quality = fakes_found * (num_reals + 1) + reals_below
        quality[num_reals - reals_below > max_fpr * num_reals * (1.0 + _ROUNDING)] = -1
        if quality.max() < 0 and ordered[-1] < 1.0:
            return float(_midpoints(ordered[-1:], np.ones(1))[0])
        if quality.max() < 0:
            raise OptionError(
                "max_fpr",
                f"every threshold calls more than {max_fpr:.4g} of the {counted(num_reals, 'real')} fake",
                "allow more, or validate on more reals",
            )
    best = midpoints[quality == quality.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def choose_uncertain_band(
    labels: ArrayLike, probabilities: ArrayLike, *, threshold: float, target_accuracy: float = 0.9
) -> tuple[float, float]:
    """Return the narrowest band around the threshold outside of which the accuracy is high enough.

    The band is symmetric *in logits*, so that it never leaves (0, 1). Its bounds lie midway between the
    distances of two samples; it grows until the accuracy of the samples outside is at least
    ``target_accuracy``. That accuracy may be over few samples.

    Args:
        labels: (N,) of 0 = real and 1 = fake, both present.
        probabilities: (N,), 0 to 1; clipped to [1e-7, 1 - 1e-7] to measure distances.
        threshold: Between 0 and 1, both exclusive.
        target_accuracy: Above 0, at most 1.

    Returns:
        ``(low, high)`` around the threshold; strictly inside is uncertain. Both are ``threshold`` if the
        accuracy of all samples reaches the target.

    Raises:
        OptionError: As for :func:`choose_threshold`; an option is out of range; no band reaches
            the target, because even the most confident samples are wrong too often.

    Source: the reject option at a fixed risk, as in El-Yaniv & Wiener, "On the Foundations of
    Noise-free Selective Classification", JMLR 11 (2010).

    Example:
        >>> low, high = choose_uncertain_band(
        ...     [0, 0, 1, 0, 1, 1], [0.02, 0.1, 0.4, 0.6, 0.9, 0.98], threshold=0.5)
        >>> round(low, 3), round(high, 3)
        (0.214, 0.786)
    """
    label_array, values = _check("probabilities", labels, probabilities)
    _check_range(values)
    if not 0.0 < threshold < 1.0:
        raise OptionError("threshold", f"is {threshold}", "must be between 0 and 1, such as 0.5")
    if not 0.0 < target_accuracy <= 1.0:
        raise OptionError("target_accuracy", f"is {target_accuracy}", "must be above 0 and at most 1")

    center = float(_logit(np.array(threshold)))
    distances = np.unique(np.abs(_logit(values) - center))
    half_widths = (distances[:-1] + distances[1:]) / 2.0
    lows = np.append(threshold, expit(center - half_widths))
    highs = np.append(threshold, expit(center + half_widths))
    good_enough = _accuracy_outside(label_array, values, threshold, lows, highs) >= target_accuracy
    if not good_enough.any():
        raise OptionError(
            "target_accuracy",
            f"is {target_accuracy:.4g}, which no band around {threshold:.4g} reaches",
            "lower the target or improve the detector",
        )
    narrowest = int(good_enough.argmax())
    return float(lows[narrowest]), float(highs[narrowest])


def _accuracy_outside(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, lows: np.ndarray, highs: np.ndarray
) -> np.ndarray:
    """Return the accuracy of the samples outside each band; 0 if there are none."""
    order = np.argsort(probabilities, kind="stable")
    ordered = probabilities[order]
    fakes_before = np.concatenate([[0], np.cumsum(labels[order])])
    # A sample at the lower bound is real, except that one at the threshold is fake.
    num_below = np.minimum(
        np.searchsorted(ordered, lows, side="right"), np.searchsorted(ordered, threshold, side="left")
    )
    num_not_above = np.searchsorted(ordered, highs, side="left")
    correct = (num_below - fakes_before[num_below]) + (fakes_before[-1] - fakes_before[num_not_above])
    outside = num_below + len(labels) - num_not_above
    accuracies: np.ndarray = np.divide(correct, outside, out=np.zeros(len(lows)), where=outside > 0)
    return accuracies


def _logistic_regression(*, ridge: float = 1e-4) -> Any:
    # scikit-learn takes a second to import.
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0 / ridge, max_iter=1000)


def _slope(margins: np.ndarray, temperature: float) -> float:
    """Return the derivative of the log loss with respect to 1 / T, in which it is convex; 0 at T = 0."""
    return float(-(margins * expit(-margins / temperature)).mean()) if temperature > 0.0 else 0.0


def _midpoints(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    middle = (below + above) / 2.0
    # Between two adjacent floats the mean may round down to the lower one, which belongs below.
    return np.where(middle > below, middle, above)


def _logit(probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(probabilities, PROBABILITY_EPSILON, 1.0 - PROBABILITY_EPSILON)
    logits: np.ndarray = np.log(clipped) - np.log1p(-clipped)
    return logits


def _check(name: str, labels: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as int64 (N,) and values as float64 (N,)."""
    label_array, value_array = np.asarray(labels), np.asarray(values, dtype=np.float64)
    if label_array.ndim != 1 or value_array.shape != label_array.shape:
        raise OptionError(
            name,
            f"have shape {value_array.shape}, labels {label_array.shape}",
            "pass two arrays (N,), one value and one label per sample",
        )
    if set(np.unique(label_array).tolist()) != {0, 1}:
        raise OptionError("labels", "are not 0 and 1, both present", "calibrate on reals (0) and fakes (1)")
    if not np.isfinite(value_array).all():
        raise OptionError(name, "have NaN or infinity", "remove the samples without a score")
    return label_array.astype(np.int64), value_array


def _check_range(probabilities: np.ndarray) -> None:
    if probabilities.min() < 0.0 or probabilities.max() > 1.0:
        raise OptionError("probabilities", "are outside 0 to 1", "pass the sigmoid of the logits")
