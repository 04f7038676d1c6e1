"""Detectors on the videos common to all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from sklearn.metrics import roc_auc_score

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation import Coverage, ScoreTable
from deepfake_detect.evaluation.compare import NamedScores, compare_scores, holm
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.metrics import bootstrap_differences, delong_test


def scores(name, noise, *, videos=range(60), threshold=0.5, seed=0, flip=()):
    videos = np.asarray(videos)
    labels = videos % 2
    generator = np.random.default_rng(seed)
    shared = np.random.default_rng(9).normal(0, 0.15, 1000)[videos]
    values = np.clip(0.35 + 0.3 * labels + shared + generator.normal(0, noise, len(videos)), 0, 1)
    table = ScoreTable(
        video_id=np.array([f"v{number:03d}" for number in videos]),
        method=np.where(labels == 1, "fake", "real"),
        label=np.where(np.isin(videos, flip), 1 - labels, labels),
        track_id=np.zeros(len(videos), int),
        frame_index=np.zeros(len(videos), int),
        fake_probability=values,
    )
    return NamedScores(DecisionFacts(name, threshold), table)


def test_only_common_videos_are_measured_and_the_others_counted():
    first = scores("a", 0.05, videos=range(0, 50))
    second = scores("b", 0.3, videos=range(10, 60), seed=1, threshold=0.6)
    found = compare_scores([first, second], num_resamples=50)
    assert found.video_ids.tolist() == [f"v{number:03d}" for number in range(10, 50)]
    assert [one.num_left_out for one in found.detectors.values()] == [10, 10]
    labels = np.arange(10, 50) % 2
    a, b = first.table.fake_probability[10:], second.table.fake_probability[:40]
    assert found.detectors["a"].video.metrics["auc"].value == pytest.approx(roc_auc_score(labels, a))
    (pair,) = found.pairs
    assert pair.auc == delong_test(labels, a, b)
    assert pair.adjusted_p_value == pair.auc.p_value
    assert pair.differences == bootstrap_differences(
        labels, a, b, np.arange(40), thresholds=(0.5, 0.6), num_resamples=50
    )


def test_a_clear_difference_is_told_from_none():
    found = compare_scores([scores("good", 0.02), scores("bad", 0.9), scores("like good", 0.02, seed=4)])
    by_names = {(pair.first, pair.second): pair for pair in found.pairs}
    assert by_names["good", "bad"].adjusted_p_value < 0.01
    assert by_names["good", "bad"].differences["auc"].low > 0
    same = by_names["good", "like good"]
    assert same.adjusted_p_value > 0.1
    assert same.differences["auc"].low < 0 < same.differences["auc"].high


def test_json_is_plain():
    found = compare_scores([scores("a", 0.1), scores("b", 0.1, seed=1)], num_resamples=5).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == [
        *("num_videos", "detectors", "pairs", "num_draws", "seed"),
        *("resample", "num_videos_alone", "notes"),
    ]
    assert found["pairs"][0]["delong"]["difference"] == pytest.approx(
        found["pairs"][0]["differences"]["auc"]["value"]
    )


def test_one_class_has_no_test_but_the_rest():
    reals = range(0, 60, 2)
    (pair,) = compare_scores([scores("a", 0.1, videos=reals), scores("b", 0.1, videos=reals, seed=1)]).pairs
    assert pair.auc is None
    assert pair.adjusted_p_value is None
    assert np.isnan(pair.differences["auc"].value)
    assert not np.isnan(pair.differences["bpcer"].value)


def test_holm_is_never_below_the_false_discovery_rate_and_keeps_order():
    p_values = [0.001, 0.2, 0.012, 0.04, 0.9]
    adjusted = holm(p_values)
    assert adjusted == pytest.approx([0.005, 0.4, 0.048, 0.12, 0.9])
    assert (np.array(adjusted) >= false_discovery_control(p_values) - 1e-12).all()
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_what_cannot_be_compared_is_rejected():
    with pytest.raises(OptionError, match="detectors: are a; pass two or more, with different names"):
        compare_scores([scores("a", 0.1)])
    with pytest.raises(OptionError, match="detectors: are a, a; pass two or more"):
        compare_scores([scores("a", 0.1), scores("a", 0.2)])
    with pytest.raises(ManifestError, match="have no video in common; .* v000 and v030"):
        compare_scores([scores("a", 0.1, videos=range(30)), scores("b", 0.1, videos=range(30, 60))])
    with pytest.raises(ManifestError, match="video v004: has one label for a and another for b"):
        compare_scores([scores("a", 0.1), scores("b", 0.1, flip=[4])])


def test_what_limits_a_comparison_is_a_note():
    first, second = scores("a", 0.05, videos=range(0, 50)), scores("b", 0.3, videos=range(8, 58), seed=1)
    (note, other) = compare_scores([first, second], num_resamples=2).notes
    assert note == "a: the comparison has 42 of its 50 videos (50 scored): the others may be easier or harder"
    assert other.startswith("b: the comparison has 42 of its 50")
    # Expected videos count too, and those that a detector was trained on.
    failed = Coverage.of(42, {f"x{number}": "cut short" for number in range(10)})
    same = scores("a", 0.05, videos=range(8, 50))
    same = replace(same, coverage=failed, decision=replace(same.decision, seen=("m: trained on 3",)))
    near = scores("b", 0.3, videos=range(8, 50), seed=1)
    near = replace(near, decision=replace(near.decision, aggregation_rule="median"))
    found = compare_scores([same, near], num_resamples=2)
    assert found.notes == (
        "a: m: trained on 3",
        "a: the comparison has 42 of its 52 videos (42 scored): the others may be easier or harder",
        "the detectors use different aggregation rules (a mean, b median)",
    )
    stored = found.to_json()
    assert stored["notes"] == list(found.notes)
    assert stored["detectors"]["a"]["coverage"]["videos_failed"] == 10
    assert stored["detectors"]["a"]["seen"] == ["m: trained on 3"]
    assert stored["detectors"]["b"]["coverage"] is None
    assert compare_scores([scores("a", 0.1), scores("b", 0.2)], num_resamples=2).notes == ()


def test_people_can_be_resampled():
    first, second = scores("a", 0.2), scores("b", 0.3, seed=1)
    people = np.array([f"p{number // 6}" for number in range(60)], dtype=object)
    named = replace(first, table=replace(first.table, details={"identity": people}))
    found = compare_scores([second, named], num_resamples=50, resample="identities")
    labels = np.arange(60) % 2
    assert found.pairs[0].differences == bootstrap_differences(
        labels,
        second.table.fake_probability,
        first.table.fake_probability,
        np.arange(60) // 6,
        thresholds=(0.5, 0.5),
        num_resamples=50,
    )
    assert (found.resample, found.num_videos_alone) == ("identities", 0)
    with pytest.raises(OptionError, match="resample: is identities, and the scores name none"):
        compare_scores([first, second], resample="identities")


def test_a_difference_without_variance_has_no_p_value():
    ids = np.array([f"v{number}" for number in range(40)])
    labels = np.arange(40) % 2
    right, wrong = (
        NamedScores(DecisionFacts(name), ScoreTable(ids, ids, labels, labels * 0, labels * 0, values))
        for name, values in (("right", labels * 1.0), ("wrong", 1.0 - labels))
    )
    third = replace(right, decision=DecisionFacts("third"))
    found = compare_scores([right, wrong, third], num_resamples=5)
    assert [pair.adjusted_p_value for pair in found.pairs] == [None, 1.0, None]
    stored = found.to_json()["pairs"][0]["delong"]
    assert (stored["difference"], stored["p_value"], stored["low"]) == (1.0, None, None)
    json.dumps(found.to_json(), allow_nan=False)


def test_few_videos_have_no_p_values_and_a_note():
    for num_videos, note in ((38, "19 real and 19 fake common videos are too few for p-values"), (40, "")):
        detectors = [scores(name, 0.2, videos=range(num_videos), seed=ord(name)) for name in "ab"]
        found = compare_scores(detectors, num_resamples=20)
        assert [one.startswith(note) for one in found.notes] == [True] * bool(note)
        assert (found.pairs[0].auc is None) == (found.pairs[0].adjusted_p_value is None) == bool(note)
        assert found.pairs[0].differences["auc"].low <= found.pairs[0].differences["auc"].high


def test_another_layout_of_names_is_explained():
    first = scores("a", 0.1)
    other = replace(
        first,
        decision=DecisionFacts("b"),
        table=replace(first.table, video_id=first.table.video_id.astype(object) + "x"),
    )
    with pytest.raises(
        ManifestError,
        match="in common; .* the column compression if .* dataset/method/compression/video_id",
    ):
        compare_scores([first, other])
