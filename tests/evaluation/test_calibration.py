"""Temperature, threshold and band against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import balanced_accuracy_score

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.calibration import choose_threshold, choose_uncertain_band, fit_temperature
from deepfake_detect.metrics import log_loss


def random_probabilities(seed, size=40, digits=2):
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=size)
    labels[:2] = 0, 1
    return labels, np.round(np.clip(generator.normal(0.35 + 0.3 * labels, 0.25), 0, 1), digits)


# --- temperature ---------------------------------------------------------------------------------


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_recovers_the_temperature_that_made_the_labels(true_temperature):
    generator = np.random.default_rng(0)
    calibrated = generator.normal(0, 2, size=20000)
    labels = (generator.random(20000) < expit(calibrated)).astype(int)
    fitted = fit_temperature(calibrated * true_temperature, labels)
    assert fitted == pytest.approx(true_temperature, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_no_temperature_of_a_fine_grid_is_better(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=200)
    logits = generator.normal(2.0 * (2 * labels - 1), 4.0)
    fitted = fit_temperature(logits, labels)
    least = log_loss(labels, expit(logits / fitted))
    for temperature in np.geomspace(0.02, 50, 400):
        assert least <= log_loss(labels, expit(logits / temperature)) + 1e-12
    assert fit_temperature(3.0 * logits, labels) == pytest.approx(3.0 * fitted, rel=1e-5)


def test_a_few_sure_samples_have_a_known_answer():
    # Right in 4 of 5 at a logit of 8: the best probability is 4/5, so 8 / T = log 4.
    temperature = fit_temperature([8.0, 8.0, 8.0, 8.0, -8.0], [1, 1, 1, 0, 0])
    assert temperature == pytest.approx(8.0 / math.log(4.0), rel=1e-6)


@pytest.mark.parametrize("size", [1e-5, 2000.0, 1e9])
def test_tiny_and_huge_logits_are_no_trouble(size):
    temperature = fit_temperature(np.array([1, 1, 1, -1]) * size, [1, 1, 0, 0])
    assert temperature == pytest.approx(size / math.log(3.0), rel=1e-6)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_logits_that_are_all_correct_are_rejected(scale):
    with pytest.raises(OptionError, match=r"are correct for \(almost\) every sample"):
        fit_temperature(np.array([-3.0, -1.0, 2.0]) * scale, [0, 0, 1])


@pytest.mark.parametrize("logits", [[3.0, 1.0, -2.0, 0.5], [0.0] * 4, [1.0] * 4])
def test_logits_that_are_wrong_or_constant_are_rejected(logits):
    with pytest.raises(OptionError, match="wrong so often that no temperature helps"):
        fit_temperature(logits, [0, 0, 1, 1])


# --- threshold -----------------------------------------------------------------------------------


def brute_force_threshold(labels, probabilities):
    distinct = np.unique(probabilities)
    candidates = [(low + high) / 2 for low, high in zip(distinct[:-1], distinct[1:], strict=True)]
    qualities = [balanced_accuracy_score(labels, probabilities >= cut) for cut in candidates]
    best = [cut for cut, q in zip(candidates, qualities, strict=True) if q > max(qualities) - 1e-12]
    return min(best, key=lambda cut: (abs(cut - 0.5), cut))


@pytest.mark.parametrize("seed", range(20))
def test_threshold_equals_brute_force(seed):
    labels, probabilities = random_probabilities(seed, digits=seed % 3 + 1)
    assert choose_threshold(labels, probabilities) == brute_force_threshold(labels, probabilities)


def test_equally_good_thresholds_go_to_the_one_nearest_to_one_half():
    # Below 0.25 and above 0.25 are equally good (one error each way).
    labels, probabilities = [0, 1, 0, 1], [0.125, 0.25, 0.5, 0.75]
    assert choose_threshold(labels, probabilities) == 0.625
    mirrored = [0.875, 0.75, 0.5, 0.25]
    assert choose_threshold([1, 0, 1, 0], mirrored) == 0.375
    # 0.375 and 0.625 are equally far from 0.5: the lower.
    assert choose_threshold([0, 1, 0, 1], [0.25, 0.5, 0.5, 0.75]) == 0.375


def test_a_threshold_between_neighboring_floats_still_splits_them():
    first = 0.3
    second = np.nextafter(first, 1)
    third = np.nextafter(second, 1)
    # The mean rounds up for one of the pairs and down for the other.
    for low, high in [(first, second), (second, third)]:
        assert low < choose_threshold([0, 1], [low, high]) <= high


def test_a_threshold_needs_two_distinct_probabilities():
    with pytest.raises(OptionError, match=r"probabilities: are all 0.5; check"):
        choose_threshold([0, 1], [0.5, 0.5])


# --- band ----------------------------------------------------------------------------------------


def accuracy_outside(labels, probabilities, threshold, low, high):
    outside = ~((probabilities > low) & (probabilities < high))
    return ((probabilities >= threshold) == labels)[outside].mean() if outside.any() else 0.0


@pytest.mark.parametrize("seed", range(20))
def test_band_meets_its_target_and_no_narrower_one_does(seed):
    labels, probabilities = random_probabilities(seed, size=80)
    threshold, target = 0.45, 0.9
    low, high = choose_uncertain_band(labels, probabilities, threshold=threshold, target_accuracy=target)
    assert accuracy_outside(labels, probabilities, threshold, low, high) >= target
    assert logit(high) - logit(threshold) == pytest.approx(logit(threshold) - logit(low), abs=1e-6)

    distances = np.unique(np.abs(logit(np.clip(probabilities, 1e-7, 1 - 1e-7)) - logit(threshold)))
    widths = [0.0, *((distances[:-1] + distances[1:]) / 2)]
    for width in widths:
        narrower = expit(logit(threshold) - width), expit(logit(threshold) + width)
        if narrower[1] < high - 1e-9:
            assert accuracy_outside(labels, probabilities, threshold, *narrower) < target


def test_band_has_no_width_when_the_target_is_met_already():
    assert choose_uncertain_band([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], threshold=0.4) == (0.4, 0.4)
    labels, probabilities = [0] * 9 + [1] * 11, [0.1] * 9 + [0.4] + [0.9] * 10
    assert choose_uncertain_band(labels, probabilities, threshold=0.5, target_accuracy=0.95) == (0.5, 0.5)


def test_a_sample_at_the_threshold_is_fake_and_counts_once():
    band = choose_uncertain_band([0, 1, 1], [0.2, 0.5, 0.9], threshold=0.5, target_accuracy=1.0)
    assert band == (0.5, 0.5)


def test_the_ends_lie_midway_between_two_distances():
    # Distances in logits from 0.5: 1 (wrong), 1 (wrong), 3 (right), 3 (right).
    probabilities = expit(np.array([-1.0, 1.0, -3.0, 3.0]))
    low, high = choose_uncertain_band([1, 0, 0, 1], probabilities, threshold=0.5)
    assert (logit(low), logit(high)) == pytest.approx((-2.0, 2.0))


def test_sure_probabilities_of_zero_and_one_stay_outside_the_band():
    labels, probabilities = [0, 1, 0, 1], [0.0, 0.4, 0.6, 1.0]
    low, high = choose_uncertain_band(labels, probabilities, threshold=0.5, target_accuracy=1.0)
    assert 0.0 < low < 0.4
    assert 0.6 < high < 1.0


def test_a_band_needs_a_target_within_reach():
    with pytest.raises(OptionError, match="is 0.9, which no band around 0.5 reaches"):
        choose_uncertain_band([0, 1, 0, 1], [0.9, 0.1, 0.3, 0.6], threshold=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold: is 0.0; must be between"),
        ({"threshold": 1.0}, "threshold: is 1.0; must be between"),
        ({"threshold": 0.5, "target_accuracy": 0.0}, "target_accuracy: is 0.0; must be above"),
        ({"threshold": 0.5, "target_accuracy": 1.1}, "target_accuracy: is 1.1; must be above"),
    ],
)
def test_bad_options_of_a_band_are_rejected(options, message):
    with pytest.raises(OptionError, match=message):
        choose_uncertain_band([0, 1], [0.1, 0.9], **options)


# --- shared checks -------------------------------------------------------------------------------


def fit(labels, values):
    return fit_temperature(values, labels)


def band(labels, values):
    return choose_uncertain_band(labels, values, threshold=0.5)


@pytest.mark.parametrize("function", [fit, choose_threshold, band])
@pytest.mark.parametrize(
    ("labels", "values", "message"),
    [
        ([0, 1], [0.5], r"have shape \(1,\), labels \(2,\)"),
        ([[0, 1]], [[0.5, 0.6]], r"have shape \(1, 2\), labels"),
        ([1, 1], [0.5, 0.6], "labels: are not 0 and 1, both present"),
        ([], [], "labels: are not 0 and 1, both present"),
        ([0, 2], [0.5, 0.6], "labels: are not 0 and 1, both present"),
        ([0, 1], [0.5, math.nan], "have NaN or infinity"),
        ([0, 1], [-math.inf, 0.5], "have NaN or infinity"),
    ],
)
def test_bad_samples_are_rejected(function, labels, values, message):
    with pytest.raises(OptionError, match=message):
        function(labels, values)


@pytest.mark.parametrize("function", [choose_threshold, band])
@pytest.mark.parametrize("values", [[-0.1, 0.5], [0.5, 1.1]])
def test_refuses_what_is_no_probability(function, values):
    with pytest.raises(OptionError, match="probabilities: are outside 0 to 1"):
        function([0, 1], values)
