"""Each metric against scikit-learn, and where ties and weights matter against a slow obvious twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binomtest, norm
from sklearn import metrics as sk

from deepfake_detect import metrics
from deepfake_detect.errors import OptionError

THRESHOLD = 0.45

METRICS: dict[str, Callable[..., float]] = {
    "auc": metrics.roc_auc,
    "accuracy": partial(metrics.accuracy, threshold=THRESHOLD),
    "balanced_accuracy": partial(metrics.balanced_accuracy, threshold=THRESHOLD),
    "eer": metrics.equal_error_rate,
    "log_loss": metrics.log_loss,
    "average_precision": metrics.average_precision,
    "brier": metrics.brier_score,
    "partial_auc": metrics.partial_auc,
    "tpr_at_1pct_fpr": partial(metrics.tpr_at_fpr, max_fpr=0.01),
    "tpr_at_5pct_fpr": partial(metrics.tpr_at_fpr, max_fpr=0.05),
    "apcer": partial(metrics.apcer, threshold=THRESHOLD),
    "bpcer": partial(metrics.bpcer, threshold=THRESHOLD),
    "acer": partial(metrics.acer, threshold=THRESHOLD),
    "ece": metrics.expected_calibration_error,
}
ALWAYS_DEFINED = ("accuracy", "log_loss", "brier", "ece")
# Of a metric that one class alone defines, that class.
NEEDS_ONE_CLASS = {"apcer": 1, "bpcer": 0}


def is_defined(name, label):
    """Return whether a metric has a value where all samples have one label."""
    return name in ALWAYS_DEFINED or NEEDS_ONE_CLASS.get(name) == label


def called_fake(scores):
    return (np.asarray(scores) >= THRESHOLD).astype(int)


def sk_equal_error_rate(labels, scores, sample_weight=None):
    false_positive, true_positive, _ = sk.roc_curve(
        labels, scores, sample_weight=sample_weight, drop_intermediate=False
    )
    # Parametrized by the length along the curve, so that vertical parts are found as well.
    position = np.concatenate([[0.0], np.cumsum(np.diff(false_positive) + np.diff(true_positive))])

    def excess(at):
        return np.interp(at, position, false_positive) + np.interp(at, position, true_positive) - 1.0

    return np.interp(brentq(excess, 0.0, 2.0, xtol=1e-14), position, false_positive)


def sk_tpr_at_fpr(labels, scores, max_fpr, sample_weight=None):
    false_positive, true_positive, _ = sk.roc_curve(
        labels, scores, sample_weight=sample_weight, drop_intermediate=False
    )
    return true_positive[false_positive <= max_fpr + 1e-12].max()


def sk_recall(labels, scores, kind, sample_weight=None):
    return sk.recall_score(labels, called_fake(scores), pos_label=kind, sample_weight=sample_weight)


def slow_calibration_error(labels, scores, sample_weight=None):
    weights = np.ones(len(labels)) if sample_weight is None else sample_weight
    error = 0.0
    for number in range(15):
        upper = scores <= 1 if number == 14 else scores < (number + 1) / 15
        inside = (scores >= number / 15) & upper
        if weights[inside].sum():
            distance = np.average(scores[inside] - labels[inside], weights=weights[inside])
            error += weights[inside].sum() / weights.sum() * abs(distance)
    return error


REFERENCES: dict[str, Callable[..., float]] = {
    "auc": sk.roc_auc_score,
    "accuracy": lambda y, s, **kw: sk.accuracy_score(y, called_fake(s), **kw),
    "balanced_accuracy": lambda y, s, **kw: sk.balanced_accuracy_score(y, called_fake(s), **kw),
    "eer": sk_equal_error_rate,
    "log_loss": lambda y, s, **kw: sk.log_loss(y, np.clip(s, 1e-7, 1 - 1e-7), **kw),
    "average_precision": sk.average_precision_score,
    "brier": sk.brier_score_loss,
    "partial_auc": partial(sk.roc_auc_score, max_fpr=metrics.PARTIAL_AUC_MAX_FPR),
    "tpr_at_1pct_fpr": partial(sk_tpr_at_fpr, max_fpr=0.01),
    "tpr_at_5pct_fpr": partial(sk_tpr_at_fpr, max_fpr=0.05),
    "apcer": lambda y, s, **kw: 1 - sk_recall(y, s, 1, **kw),
    "bpcer": lambda y, s, **kw: 1 - sk_recall(y, s, 0, **kw),
    "acer": lambda y, s, **kw: 1 - sk.balanced_accuracy_score(y, called_fake(s), **kw),
    "ece": slow_calibration_error,
}


def random_samples(seed, size=60):
    """Labels and scores with many ties, and 0 and 1 among the scores."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=size)
    labels[:2] = 0, 1
    scores = np.round(np.clip(generator.normal(0.35 + 0.3 * labels, 0.3), 0, 1), seed % 3 + 1)
    return labels, scores, generator.integers(0, 4, size=size) + (np.arange(size) < 2)


def test_every_metric_is_tested_here():
    assert tuple(METRICS) == metrics.METRIC_NAMES == tuple(REFERENCES)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(12))
def test_equals_scikit_learn(name, seed):
    labels, scores, weights = random_samples(seed)
    # 1 - (1 - 1e-7) is not 1e-7 to the last digits, which the logarithm of the reference feels.
    tolerance = 1e-9 if name == "log_loss" else 1e-12
    assert METRICS[name](labels, scores) == pytest.approx(REFERENCES[name](labels, scores), abs=tolerance)
    expected = REFERENCES[name](labels, scores, sample_weight=weights)
    assert METRICS[name](labels, scores, weights=weights) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(6))
def test_a_weight_is_a_sample_repeated_and_zero_is_absent(name, seed):
    labels, scores, weights = random_samples(seed)
    repeated = METRICS[name](np.repeat(labels, weights), np.repeat(scores, weights))
    assert METRICS[name](labels, scores, weights=weights) == pytest.approx(repeated, abs=1e-13)


@pytest.mark.parametrize("name", METRICS)
def test_order_of_samples_and_scale_of_weights_do_not_matter(name):
    labels, scores, weights = random_samples(1)
    order = np.random.default_rng(0).permutation(len(labels))
    expected = METRICS[name](labels, scores, weights=weights)
    shuffled = METRICS[name](labels[order], scores[order], weights=weights[order] / 7.0)
    assert shuffled == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("seed", range(8))
def test_auc_is_the_fraction_of_ordered_pairs_to_the_last_bit(seed):
    labels, scores, weights = random_samples(seed, size=25)
    won = pairs = 0.0
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero(labels == 0):
            weight = float(weights[i] * weights[j])
            pairs += weight
            won += weight * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    assert metrics.roc_auc(labels, scores, weights=weights) == won / pairs


def test_all_scores_equal_is_chance():
    labels, scores = [0, 1, 1, 0, 1], [0.3] * 5
    assert metrics.roc_auc(labels, scores) == 0.5
    assert metrics.equal_error_rate(labels, scores) == 0.5
    assert metrics.average_precision(labels, scores) == 0.6
    assert metrics.balanced_accuracy(labels, scores, threshold=0.5) == 0.5


def test_perfect_and_reversed_scores():
    labels, scores = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.7, 0.8, 0.9])
    assert (metrics.roc_auc(labels, scores), metrics.equal_error_rate(labels, scores)) == (1.0, 0.0)
    assert (metrics.roc_auc(labels, 1 - scores), metrics.equal_error_rate(labels, 1 - scores)) == (0.0, 1.0)


def test_a_score_at_the_threshold_is_fake():
    assert metrics.accuracy([1, 0], [0.5, np.nextafter(0.5, 0)], threshold=0.5) == 1.0


def test_ranking_and_threshold_metrics_take_logits():
    labels, logits = [0, 1, 0, 1], [-3.0, 2.0, 4.0, 9.0]
    assert metrics.roc_auc(labels, logits) == 0.75
    assert metrics.accuracy(labels, logits, threshold=0.0) == 0.75


def test_log_loss_of_a_confident_and_wrong_score_is_the_documented_clip():
    assert metrics.log_loss([1], [0.0]) == pytest.approx(-math.log(1e-7))
    assert metrics.log_loss([0], [1.0]) == pytest.approx(-math.log(1e-7))
    assert 0.0 < metrics.log_loss([1], [1.0]) < 1.1e-7


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("name", METRICS)
def test_a_single_class_is_nan_only_where_two_are_compared(name, label):
    scores = np.array([0.2, 0.6, 0.6])
    value = METRICS[name]([label] * 3, scores)
    assert math.isnan(value) != is_defined(name, label)
    # The other class is there, but weighs nothing.
    weighed = METRICS[name]([label] * 3 + [1 - label], [*scores, 0.4], weights=[0.1, 0.1, 0.1, 0.0])
    assert weighed == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("seed", range(4))
def test_roc_curve_equals_scikit_learn(seed):
    labels, scores, weights = random_samples(seed)
    curve = metrics.roc_curve(labels, scores, weights=weights)
    expected = sk.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    # scikit-learn leaves out samples of weight 0; here they only repeat a point.
    known = np.isin(curve.thresholds, expected[2])
    np.testing.assert_allclose(curve.false_positive_rate[known], expected[0], atol=1e-15)
    np.testing.assert_allclose(curve.true_positive_rate[known], expected[1], atol=1e-15)
    np.testing.assert_array_equal(curve.thresholds[known], expected[2])


def test_roc_curve_rises_in_spite_of_rounding_and_is_nan_for_an_absent_class():
    generator = np.random.default_rng(5)
    labels, scores, weights = generator.integers(2, size=5000), generator.random(5000), generator.random(5000)
    curve = metrics.roc_curve(labels, scores, weights=weights)
    for rates in (curve.false_positive_rate, curve.true_positive_rate):
        assert rates[0] == 0.0
        assert rates[-1] == 1.0
        assert (np.diff(rates) >= 0.0).all()
    one_class = metrics.roc_curve([1, 1], [0.2, 0.3])
    assert np.isnan(one_class.false_positive_rate).all()
    assert one_class.true_positive_rate.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("max_fpr", [0.02, 0.1, 0.37, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_partial_auc_equals_scikit_learn(seed, max_fpr):
    labels, scores, weights = random_samples(seed)
    expected = sk.roc_auc_score(labels, scores, max_fpr=max_fpr)
    assert metrics.partial_auc(labels, scores, max_fpr=max_fpr) == pytest.approx(expected, abs=1e-12)


def test_a_rate_is_not_read_between_two_thresholds():
    labels = np.array([0] * 10 + [1] * 2)
    scores = np.array([*np.linspace(0, 0.5, 9), 0.8, 0.7, 0.9])
    assert metrics.tpr_at_fpr(labels, scores, max_fpr=0.09) == 0.5
    assert metrics.tpr_at_fpr(labels, scores, max_fpr=0.1) == 1.0
    assert metrics.tpr_at_fpr(labels, 1 - scores, max_fpr=0.0) == 0.0


def test_reliability_bins_separate_probability_and_fraction():
    bins = metrics.reliability_bins([0, 0, 1, 1, 1], [0.0, 0.03, 0.5, 0.52, 1.0])
    assert bins.weight[[0, 7, 14]].tolist() == [2, 2, 1]
    assert bins.mean_probability[[0, 7, 14]] == pytest.approx([0.015, 0.51, 1.0])
    assert bins.share_fake[[0, 7, 14]].tolist() == [0, 1, 1]
    assert np.isnan(bins.share_fake[1])
    assert (bins.edges[0], bins.edges[-1], len(bins.edges)) == (0.0, 1.0, 16)


def test_rates_out_of_range_are_rejected():
    with pytest.raises(OptionError, match="max_fpr: is 0; must be above 0"):
        metrics.partial_auc([0, 1], [0.1, 0.2], max_fpr=0)
    with pytest.raises(OptionError, match="max_fpr: is 1.5; must be 0 to 1"):
        metrics.tpr_at_fpr([0, 1], [0.1, 0.2], max_fpr=1.5)


# --- intervals ---------------------------------------------------------------------------------


def grouped_samples(num_groups=15, size=6, seed=0):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), size)
    labels = (np.arange(num_groups) % 2)[groups]
    of_group = generator.normal(0.4 + 0.2 * (np.arange(num_groups) % 2), 0.2)
    scores = np.round(np.clip(of_group[groups] + generator.normal(0, 0.02, len(groups)), 0, 1), 2)
    order = generator.permutation(len(groups))
    return labels[order], scores[order], groups[order]


def corrected_calibration_error(labels, scores, rows, num_groups):
    """Return the multiple of the deviations by bin which, with a resample's chance added, gives their sum."""

    def deviations(some):
        bins = np.minimum((scores[some] * 15).astype(int), 14)
        return np.array([(scores[some] - labels[some])[bins == one].sum() for one in range(15)]) / len(some)

    found = deviations(np.arange(len(labels)))
    chance = (deviations(rows) - found) * math.sqrt(num_groups / (num_groups - 1))
    error = np.abs(found).sum()

    def excess(multiple):
        return np.abs(multiple * found + chance).sum() - error

    return error * brentq(excess, 0.0, 99.0) if excess(0.0) < 0 else 0.0


def test_resamples_equal_a_loop_that_copies_the_samples_of_each_resampled_group():
    labels, scores, groups = grouped_samples()
    counts = metrics.resample_groups(15, num_resamples=40, seed=3)
    values, resampled = metrics.resampled_metrics(labels, scores, groups, counts, threshold=THRESHOLD)
    generator = np.random.default_rng(3)
    for number in range(40):
        chosen = generator.integers(15, size=15)
        rows = np.concatenate([np.flatnonzero(groups == group) for group in chosen])
        for name, metric in METRICS.items():
            found = resampled[number, metrics.METRIC_NAMES.index(name)]
            if name == "ece":
                expected = corrected_calibration_error(labels, scores, rows, 15)
                assert found in (0.0, pytest.approx(expected, abs=1e-7))  # 0 where chance explains it
            else:
                assert found == pytest.approx(metric(labels[rows], scores[rows]), abs=1e-12, nan_ok=True)
    for name, value in zip(metrics.METRIC_NAMES, values, strict=True):
        assert value == pytest.approx(METRICS[name](labels, scores), abs=1e-13)


def test_intervals_of_fractions_of_videos_are_those_of_wilson():
    labels = np.arange(400) % 2
    scores = np.where(np.random.default_rng(0).random(400) < 0.8, labels, 1 - labels) * 0.8 + 0.1
    found = metrics.bootstrap_intervals(labels, scores, np.arange(400), threshold=0.5, num_resamples=2000)
    sizes = {"accuracy": 400, "apcer": 200, "bpcer": 200}
    for name, size in sizes.items():
        expected = binomtest(round(found[name].value * size), size).proportion_ci(method="wilson")
        assert (found[name].low, found[name].high) == pytest.approx(tuple(expected), abs=0.006)


def test_a_perfect_detector_has_the_interval_of_its_number_of_videos():
    labels = np.repeat([0, 1], [10, 30])
    found = metrics.bootstrap_intervals(
        labels, 0.1 + 0.8 * labels, np.arange(40), threshold=0.5, num_resamples=20
    )
    for name, size in {"auc": 10, "eer": 10, "accuracy": 40, "apcer": 30, "bpcer": 10}.items():
        bounds = binomtest(round(found[name].value * size), size).proportion_ci(method="wilson")
        assert (found[name].low, found[name].high) == pytest.approx(tuple(bounds))


def test_where_nearly_all_resamples_are_perfect_the_interval_stays_wide():
    labels, scores = np.repeat([0, 1], 40), np.repeat([0.2, 0.8], 40)
    scores[0] = 0.81  # one real above nearly all fakes
    scores[-1] = 0.9
    auc = metrics.bootstrap_intervals(labels, scores, np.arange(80), threshold=0.5, num_resamples=300)["auc"]
    assert 0.85 < auc.low < 0.9 < auc.value < auc.high < 1.0


@pytest.mark.parametrize(
    ("num_reals", "num_fakes", "without"),
    [
        (2, 2, {*METRICS} - {"accuracy"}),
        (2, 30, {"auc", "eer", "average_precision", "balanced_accuracy", "acer", "bpcer"}),
        (30, 2, {"auc", "eer", "average_precision", "balanced_accuracy", "acer", "apcer"}),
        (3, 46, {"brier"}),
        (3, 47, set()),
        (99, 60, {"tpr_at_5pct_fpr", "partial_auc"}),
        (100, 60, set()),
        (196, 3, {"ece"}),
        (200, 3, set()),
    ],
)
def test_too_few_videos_have_no_interval(num_reals, num_fakes, without):
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [num_reals, num_fakes])
    scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    found = metrics.bootstrap_intervals(
        labels, scores, np.arange(len(labels)), threshold=0.5, num_resamples=60
    )
    fewest_reals = {"partial_auc": 100, "tpr_at_1pct_fpr": 200, "tpr_at_5pct_fpr": 100}
    fewest_of_all = {"brier": 50, "log_loss": 100, "ece": 200}
    without = without | {name for name, fewest in fewest_reals.items() if num_reals < fewest}
    without |= {name for name, fewest in fewest_of_all.items() if len(labels) < fewest}
    assert {name for name, one in found.items() if one.text().endswith("[too few]")} == without
    assert all(one.low < one.high for name, one in found.items() if name not in without)


def test_true_positive_rates_enclose_their_percentiles_and_ece_its_value():
    labels, scores, groups = grouped_samples(num_groups=200, size=1)
    counts = metrics.resample_groups(200, num_resamples=200, seed=0)
    values, resampled = metrics.resampled_metrics(labels, scores, groups, counts, threshold=0.5)
    found = metrics.intervals_of(values, resampled, metrics.count_groups(labels, groups))
    low, high = np.percentile(resampled[:, metrics.METRIC_NAMES.index("tpr_at_5pct_fpr")], [2.5, 97.5])
    assert found["tpr_at_5pct_fpr"].low <= low < high <= found["tpr_at_5pct_fpr"].high
    least, most = np.percentile(resampled[:, metrics.METRIC_NAMES.index("ece")], [2.5, 97.5])
    assert found["ece"].low == min(least, found["ece"].value)
    assert found["ece"].high == max(most, found["ece"].value)


def test_the_upper_bound_of_a_mean_loss_is_farther_away_where_large_losses_are_rare():
    labels = np.arange(100) % 2
    even, rare = np.tile([0.3, 0.3, 0.4, 0.4], 25), np.append(np.full(99, 0.02), 0.97)
    widths = {}
    for kind, losses in (("even", even), ("rare", rare)):
        scores = np.where(labels == 1, 1 - losses, losses)
        found = metrics.bootstrap_intervals(labels, scores, np.arange(100), threshold=0.5)
        one = found["log_loss"]
        assert 0 < one.low < one.value < one.high
        widths[kind] = np.log(one.high / one.value) / np.log(one.value / one.low)
    assert widths["even"] == pytest.approx(1, abs=0.05)
    assert widths["rare"] > 1.2
    # One of a hundred squared losses is near 1: as wide as for one wrong verdict in a hundred.
    assert found["brier"].high < binomtest(1, 100).proportion_ci(method="wilson").high * 1.1


def test_the_error_of_a_calibrated_detector_with_rare_errors_may_be_chance():
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(60):
        labels = np.arange(200) % 2
        evidence = generator.normal(3.3 * labels, 1) - 1.65
        scores = 1 / (1 + np.exp(-3.3 * evidence))
        run = partial(metrics.bootstrap_intervals, labels, scores, np.arange(200), threshold=0.5, seed=seed)
        held += run(num_resamples=100)["ece"].low == 0.0
    assert held >= 55


def test_an_error_that_chance_does_not_explain_is_above_zero():
    labels = np.arange(400) % 2
    scores = np.where(np.random.default_rng(0).random(400) < 0.7, labels, 1 - labels) * 0.9 + 0.05
    ece = metrics.bootstrap_intervals(labels, scores, np.arange(400), threshold=0.5)["ece"]
    assert 0.2 < ece.low < 0.3 < ece.high < 0.4


def test_the_interval_of_the_calibration_error_holds_that_of_a_calibrated_detector():
    generator, held = np.random.default_rng(0), 0
    for seed in range(40):
        scores = generator.beta(0.5, 0.5, 200)
        labels = (generator.random(200) < scores).astype(int)
        ece = metrics.bootstrap_intervals(
            labels, scores, np.arange(200), threshold=0.5, num_resamples=100, seed=seed
        )["ece"]
        held += ece.low <= 0.002
    assert held >= 35


def test_names_of_groups_do_not_matter_and_seeds_repeat():
    labels, scores, groups = grouped_samples()
    run = partial(metrics.bootstrap_intervals, labels, scores, threshold=0.5, num_resamples=30)
    named = np.array([f"video {group:03d}" for group in groups], dtype=object)
    assert run(groups, seed=1) == run(named, seed=1)
    assert run(groups, seed=1) != run(groups, seed=2)


def test_resampled_videos_give_wider_intervals_than_independent_frames():
    labels, scores, groups = grouped_samples(num_groups=30, size=20)
    run = partial(metrics.bootstrap_intervals, labels, scores, threshold=0.5, num_resamples=200)
    by_video, by_frame = run(groups)["auc"], run(np.arange(len(labels)))["auc"]
    assert by_video.value == by_frame.value
    assert by_video.high - by_video.low > 2 * (by_frame.high - by_frame.low)


def test_intervals_cover_the_true_value_about_as_often_as_claimed():
    covered = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        labels = np.arange(80) % 2
        scores = generator.random(80)  # no information: the true AUC is 0.5
        auc = metrics.bootstrap_intervals(
            labels, scores, np.arange(80), threshold=0.5, num_resamples=120, confidence=0.8, seed=seed
        )["auc"]
        covered += auc.low <= 0.5 <= auc.high
    assert 0.66 <= covered / 60 <= 0.92


def test_resamples_that_leave_a_metric_undefined_are_left_out():
    # Of three reals and three fakes, one resample in 32 holds a single class.
    labels, scores, groups = np.repeat([0, 1], 3), np.repeat([0.1, 0.9], 3), np.arange(6)
    counts = metrics.resample_groups(6, num_resamples=100, seed=0)
    found = metrics.resampled_metrics(labels, scores, groups, counts, threshold=0.5)
    assert np.isnan(found[1][:, 0]).any()
    assert not np.isnan(found[1][:, 1]).any()
    auc = metrics.intervals_of(*found, metrics.count_groups(labels, groups))["auc"]
    assert (auc.value, auc.high) == (1.0, 1.0)
    assert 0.4 < auc.low < 0.5


def test_a_metric_undefined_in_every_resample_has_no_bounds():
    resampled = np.ones((5, len(metrics.METRIC_NAMES)))
    resampled[:, 0] = np.nan
    values, counts = np.ones(len(metrics.METRIC_NAMES)), metrics.GroupCounts(9, 9, 18)
    intervals = metrics.intervals_of(values, resampled, counts)
    assert intervals["auc"].value == 1.0
    assert math.isnan(intervals["auc"].low)
    assert math.isnan(intervals["auc"].high)
    assert intervals["auc"].text() == "1.000 [too few]"
    assert not math.isnan(intervals["accuracy"].low)


def test_one_class_keeps_the_metrics_that_do_not_compare():
    scores = np.random.default_rng(0).random(200)
    intervals = metrics.bootstrap_intervals(
        np.ones(200), scores, np.arange(200), threshold=0.5, num_resamples=50
    )
    for name, interval in intervals.items():
        undefined = [math.isnan(number) for number in (interval.value, interval.low, interval.high)]
        assert undefined == [not is_defined(name, 1)] * 3


def test_a_slice_measured_on_the_resamples_of_the_whole_leaves_out_groups_without_samples():
    labels, scores, groups = grouped_samples()
    resample_counts = metrics.resample_groups(15, num_resamples=30, seed=0)
    chosen = groups % 4 < 2
    values, resampled = metrics.resampled_metrics(
        labels[chosen], scores[chosen], groups[chosen], resample_counts, threshold=THRESHOLD
    )
    for column, (name, metric) in enumerate(METRICS.items()):
        assert values[column] == pytest.approx(metric(labels[chosen], scores[chosen]), abs=1e-12), name
        weights = resample_counts[3][groups[chosen]]
        expected = metric(labels[chosen], scores[chosen], weights=weights)
        if name == "ece":
            rows, num_groups = np.repeat(np.arange(len(weights)), weights), len(np.unique(groups[chosen]))
            expected = corrected_calibration_error(labels[chosen], scores[chosen], rows, num_groups)
        assert resampled[3, column] == pytest.approx(expected, abs=1e-7 if name == "ece" else 1e-12), name


def test_a_resample_without_any_sample_of_a_slice_has_no_number():
    values, resampled = metrics.resampled_metrics(
        [0, 1], [0.1, 0.9], [0, 1], np.zeros((1, 2), np.uint8), threshold=0.5
    )
    assert not np.isnan(values).any()
    assert np.isnan(resampled).all()


# --- two detectors --------------------------------------------------------------------------------


def two_detectors(seed, size=40):
    generator = np.random.default_rng(seed)
    labels = np.arange(size) % 2
    easy = generator.normal(0.4 + 0.2 * labels, 0.2)
    scores = [np.round(np.clip(easy + generator.normal(0, noise, size), 0, 1), 2) for noise in (0.1, 0.3)]
    return labels, scores[0], scores[1]


def slow_delong_variance(labels, first, second):
    """Return the variance of the difference from every pair of a fake and a real."""

    def kernel(scores):
        fakes, reals = scores[labels == 1][:, None], scores[labels == 0][None]
        return (fakes > reals) + 0.5 * (fakes == reals)

    difference = kernel(first) - kernel(second)
    of_fakes, of_reals = difference.mean(axis=1), difference.mean(axis=0)
    return of_fakes.var(ddof=1) / len(of_fakes) + of_reals.var(ddof=1) / len(of_reals)


@pytest.mark.parametrize("seed", range(6))
def test_delong_equals_the_count_of_all_pairs(seed):
    labels, first, second = two_detectors(seed)
    found = metrics.delong_test(labels, first, second)
    assert found.first == pytest.approx(sk.roc_auc_score(labels, first))
    assert found.difference == pytest.approx(
        sk.roc_auc_score(labels, first) - sk.roc_auc_score(labels, second)
    )
    error = math.sqrt(slow_delong_variance(labels, first, second))
    assert found.high - found.low == pytest.approx(2 * 1.959963985 * error)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(found.difference) / error))


def test_delong_ignores_scale_and_has_no_p_value_without_variance():
    labels, first, _ = two_detectors(0)
    same = metrics.delong_test(labels, first, 5 * first - 40)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    # Two and two samples without any variance prove nothing.
    opposite = metrics.delong_test([0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0])
    assert opposite.difference == 1.0
    assert np.isnan([opposite.p_value, opposite.low, opposite.high]).all()


def test_delong_rejects_a_true_null_about_as_often_as_claimed():
    rejected = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        labels = np.arange(60) % 2
        shared = generator.normal(labels, 1)
        first, second = (shared + generator.normal(0, 1, 60) for _ in range(2))
        rejected += metrics.delong_test(labels, first, second).p_value < 0.1
    assert 0.05 <= rejected / 200 <= 0.16


def test_groups_without_an_order_are_rejected():
    with pytest.raises(OptionError, match="groups: cannot be sorted .*; pass integers or text, and"):
        metrics.bootstrap_intervals([0, 1], [0.1, 0.9], ["a", None], threshold=0.5, num_resamples=2)


def test_delong_needs_two_of_each():
    with pytest.raises(OptionError, match="labels: contain fewer than two reals or two fakes"):
        metrics.delong_test([0, 1, 1], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3])


def test_differences_use_the_same_resamples():
    labels, first, second = two_detectors(1)
    groups = np.arange(40) // 2
    found = metrics.bootstrap_differences(
        labels, first, second, groups, thresholds=(0.45, 0.6), num_resamples=60, confidence=0.8, seed=2
    )
    generator = np.random.default_rng(2)
    resampled: dict[str, list[float]] = {"auc": [], "accuracy": []}
    for _ in range(60):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in generator.integers(20, size=20)])
        y, a, b = labels[rows], first[rows], second[rows]
        resampled["auc"].append(metrics.roc_auc(y, a) - metrics.roc_auc(y, b))
        right = [metrics.accuracy(y, s, threshold=t) for s, t in ((a, 0.45), (b, 0.6))]
        resampled["accuracy"].append(right[0] - right[1])
    for name, values in resampled.items():
        assert (found[name].low, found[name].high) == pytest.approx(tuple(np.percentile(values, [10, 90])))
    assert found["auc"].value == pytest.approx(
        metrics.roc_auc(labels, first) - metrics.roc_auc(labels, second)
    )
    itself = metrics.bootstrap_differences(
        labels, first, first, groups, thresholds=(0.5, 0.5), num_resamples=9
    )
    assert all(one == metrics.Interval(0.0, 0.0, 0.0) for one in itself.values())


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [metrics.roc_curve, *METRICS.values()])
@pytest.mark.parametrize(
    ("labels", "scores", "weights", "message"),
    [
        ([], [], None, "scores: is empty"),
        ([0, 1], [0.5], None, r"labels of shape \(2,\) and scores of shape \(1,\) do not pair up"),
        ([[0, 1]], [[0.5, 0.5]], None, "do not pair up"),
        ([0, 2], [0.5, 0.5], None, "labels: contain values other than 0 and 1"),
        ([0, math.nan], [0.5, 0.5], None, "labels: contain values other than 0 and 1"),
        ([0, 1], [0.5, math.nan], None, "scores: 1 of 2 are NaN or infinite"),
        ([0, 1], [-math.inf, math.inf], None, "scores: 2 of 2 are NaN or infinite"),
        (["real", "fake"], [0.5, 0.5], None, "labels: is not an array of numbers"),
        ([0, 1], [0.5, 0.5], [1.0], r"weights: shape \(1,\) for 2 samples"),
        ([0, 1], [0.5, 0.5], [1.0, -1.0], "weights: are negative, not finite or all 0"),
        ([0, 1], [0.5, 0.5], [1.0, math.nan], "weights: are negative, not finite or all 0"),
        ([0, 1], [0.5, 0.5], [0.0, 0.0], "weights: are negative, not finite or all 0"),
    ],
)
def test_bad_samples_are_rejected(metric, labels, scores, weights, message):
    with pytest.raises(OptionError, match=message):
        metric(labels, scores, weights=weights)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.log_loss,
        metrics.brier_score,
        metrics.expected_calibration_error,
        metrics.reliability_bins,
        partial(
            metrics.resampled_metrics, groups=[0, 1], resample_counts=np.ones((1, 2), np.uint8), threshold=0.5
        ),
    ],
)
@pytest.mark.parametrize("scores", [[-0.1, 0.5], [0.5, 1.1]])
def test_probabilities_are_needed_where_they_mean_something(metric, scores):
    with pytest.raises(OptionError, match="are not probabilities"):
        metric([0, 1], scores)


@pytest.mark.parametrize(
    "metric", [metrics.accuracy, metrics.balanced_accuracy, metrics.apcer, metrics.bpcer, metrics.acer]
)
def test_a_threshold_is_finite(metric):
    with pytest.raises(OptionError, match="threshold: is nan; must be a finite number"):
        metric([0, 1], [0.1, 0.9], threshold=math.nan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_resamples": 0}, "num_resamples: is 0; must be 1 or more"),
        ({"confidence": 1.0}, "confidence: is 1.0; must be between 0 and 1"),
        ({"confidence": 0.0}, "confidence: is 0.0; must be between 0 and 1"),
        ({"seed": -1}, "seed: is -1; must be 0 or more"),
        ({"threshold": math.inf}, "threshold: is inf; must be a finite number"),
        ({"groups": [0]}, r"groups: shape \(1,\) for 2 samples"),
        ({"scores": [0.5, 3.0]}, "are not probabilities"),
    ],
)
def test_bad_options_of_the_bootstrap_are_rejected(options, message):
    arguments = {"labels": [0, 1], "scores": [0.1, 0.9], "groups": [0, 1], "threshold": 0.5, **options}
    with pytest.raises(OptionError, match=message):
        metrics.bootstrap_intervals(**arguments)


# --- registered metrics ----------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch):
    """Register two metrics for one test."""
    for name in ("_parts", "_modules"):
        monkeypatch.setattr(metrics.METRICS, name, dict(getattr(metrics.METRICS, name)))
    metrics.register_metric("mean_score", lambda labels, scores: scores.mean())
    metrics.register_metric(
        "hits", lambda labels, scores, threshold: (scores >= threshold).sum(), title="Hits"
    )
    return ("mean_score", "hits")


def test_registered_metrics_follow_the_built_in_ones(registered):
    labels, scores, groups = grouped_samples()
    counts = metrics.resample_groups(15, num_resamples=20, seed=0)
    options = {"threshold": THRESHOLD, "extra": registered}
    values, resampled = metrics.resampled_metrics(labels, scores, groups, counts, **options)
    plain = metrics.resampled_metrics(labels, scores, groups, counts, threshold=THRESHOLD)
    np.testing.assert_array_equal(resampled[:, :-2], plain[1])
    for number, count in enumerate(counts):
        rows = np.repeat(np.arange(len(labels)), count[groups])
        assert resampled[number, -2:].tolist() == [scores[rows].mean(), (scores[rows] >= THRESHOLD).sum()]
    sizes = metrics.count_groups(labels, groups)
    intervals = metrics.intervals_of(values, resampled, sizes, extra=registered)
    assert tuple(intervals) == (*metrics.METRIC_NAMES, *registered)
    assert intervals["mean_score"].low < intervals["mean_score"].value == scores.mean()


def test_a_resample_without_samples_has_no_registered_metric(registered):
    found = metrics.resampled_metrics(
        [0, 1], [0.1, 0.9], [0, 1], np.zeros((1, 2), np.uint8), threshold=0.5, extra=registered
    )
    assert np.isnan(found[1][0, -2:]).all()


def test_unknown_taken_and_failing_metrics_are_named(registered):
    with pytest.raises(
        OptionError, match="metrics: 'f2' is unknown; must be one of auc, .*, mean_score, hits"
    ):
        metrics.metric_names(("f2",))
    with pytest.raises(OptionError, match="metrics: 'auc' is registered already"):
        metrics.register_metric("auc", lambda labels, scores: 0.0)
    with pytest.raises(OptionError, match="metrics: is a built-in metric"):
        metrics.METRICS.find("auc")(np.ones(1), np.ones(1), threshold=0.5)
    metrics.register_metric("broken", lambda labels, scores: 1 / 0)
    samples = ([0, 1], [0.1, 0.9], [0, 1], np.ones((1, 2), np.uint8))
    with pytest.raises(OptionError, match=r"broken fails \(ZeroDivisionError: .*; return NaN where it is"):
        metrics.resampled_metrics(*samples, threshold=0.5, extra=("broken",))
