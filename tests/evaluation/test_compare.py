"""Detectors on the videos common to all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from sklearn.metrics import roc_auc_score

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation import ScoreTable
from deepfake_detect.evaluation.compare import NamedScores, compare_scores, holm
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
    return NamedScores(name, table, threshold, "mean")


def test_only_common_videos_are_measured_and_the_others_counted():
    first = scores("a", 0.05, videos=range(0, 50))
    second = scores("b", 0.3, videos=range(10, 60), seed=1, threshold=0.6)
    found = compare_scores([first, second], num_draws=50)
    assert found.video_ids.tolist() == [f"v{number:03d}" for number in range(10, 50)]
    assert [one.num_left_out for one in found.detectors.values()] == [10, 10]
    labels = np.arange(10, 50) % 2
    a, b = first.table.fake_probability[10:], second.table.fake_probability[:40]
    assert found.detectors["a"].video.metrics["auc"].value == pytest.approx(roc_auc_score(labels, a))
    (pair,) = found.pairs
    assert pair.auc == delong_test(labels, a, b)
    assert pair.adjusted_p_value == pair.auc.p_value
    assert pair.differences == bootstrap_differences(
        labels, a, b, np.arange(40), thresholds=(0.5, 0.6), num_draws=50
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
    found = compare_scores([scores("a", 0.1), scores("b", 0.1, seed=1)], num_draws=5).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == ["num_videos", "detectors", "pairs", "num_draws", "seed"]
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


def test_refuses_what_cannot_be_compared():
    with pytest.raises(OptionError, match="detectors: are a; pass two or more of different names"):
        compare_scores([scores("a", 0.1)])
    with pytest.raises(OptionError, match="detectors: are a, a; pass two or more"):
        compare_scores([scores("a", 0.1), scores("a", 0.2)])
    with pytest.raises(ManifestError, match="no video is common to all.* such as v000 and v030"):
        compare_scores([scores("a", 0.1, videos=range(30)), scores("b", 0.1, videos=range(30, 60))])
    with pytest.raises(ManifestError, match="video v004: has one label for a and another for b"):
        compare_scores([scores("a", 0.1), scores("b", 0.1, flip=[4])])
