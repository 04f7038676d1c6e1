"""From faces to people to a clip."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import trim_mean

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import (
    AGGREGATION_RULES,
    aggregate_clip,
    clip_faces,
    clip_features,
)
from deepfake_detect.records import TrackScore

WEIGHTS = (0.25, 0.5, 0.25, 1.0, -0.5)


def faces(*tracks):
    """Return track_ids and probabilities of tracks given as (track_id, probabilities)."""
    ids = np.concatenate([np.full(len(values), track_id) for track_id, values in tracks])
    return ids, np.concatenate([values for _, values in tracks])


def test_the_person_most_likely_forged_decides_by_default():
    clip = aggregate_clip(*faces((0, [0.125, 0.375, 0.25]), (1, [0.75, 0.5]), (2, [0.5, 0.5])))
    assert (clip.fake_probability, clip.deciding_track_id) == (0.625, 1)
    assert clip.tracks == (
        TrackScore(0, 3, 0.25, decides=False),
        TrackScore(1, 2, 0.625, decides=True),
        TrackScore(2, 2, 0.5, decides=False),
    )


def test_one_false_detection_beside_a_person_never_decides():
    clip = aggregate_clip(*faces((0, [0.1] * 32), (1, [1.0])))
    assert clip.deciding_track_id == 0
    assert clip.fake_probability == pytest.approx(0.1)
    assert [track.decides for track in clip.tracks] == [True, False]


@pytest.mark.parametrize(("num_faces", "decider"), [(7, 0), (8, 1)])
def test_a_quarter_of_the_longest_track_is_long_enough(num_faces, decider):
    assert aggregate_clip(*faces((0, [0.1] * 32), (1, [0.9] * num_faces))).deciding_track_id == decider


def test_a_clip_of_one_frame_has_a_verdict():
    clip = aggregate_clip([4], np.array([0.75], dtype=np.float32))
    assert (clip.fake_probability, clip.deciding_track_id) == (0.75, 4)
    crowd = aggregate_clip([0, 1, 2], [0.25, 0.875, 0.5])
    assert (crowd.fake_probability, crowd.deciding_track_id) == (0.875, 1)


def test_mean_weighs_every_face_alike_and_nobody_decides():
    clip = aggregate_clip(*faces((0, [0.0, 0.0, 0.25]), (1, [1.0])), rule="mean")
    assert (clip.fake_probability, clip.deciding_track_id) == (0.3125, None)
    assert not any(track.decides for track in clip.tracks)


def test_longest_track_ignores_shorter_ones():
    clip = aggregate_clip(*faces((0, [0.25] * 5), (1, [1.0] * 4)), rule="longest_track")
    assert (clip.fake_probability, clip.deciding_track_id) == (0.25, 0)


def test_ties_of_longest_track_go_to_the_larger_mean_then_the_lower_number():
    assert (
        aggregate_clip(*faces((0, [0.25] * 2), (1, [0.5] * 2)), rule="longest_track").deciding_track_id == 1
    )
    assert aggregate_clip(*faces((7, [0.5] * 2), (3, [0.5] * 2)), rule="longest_track").deciding_track_id == 3


def test_ties_of_most_suspicious_track_go_to_the_longer_then_the_lower_number():
    assert aggregate_clip(*faces((0, [0.5] * 2), (1, [0.5] * 3))).deciding_track_id == 1
    assert aggregate_clip(*faces((7, [0.5] * 2), (3, [0.5] * 2))).deciding_track_id == 3


@pytest.mark.parametrize("rule", AGGREGATION_RULES)
def test_the_order_of_the_faces_does_not_matter_to_the_last_bit(rule):
    generator = np.random.default_rng(0)
    ids, values, frames = (
        generator.integers(3, size=90),
        generator.random(90),
        generator.integers(30, size=90),
    )
    expected = aggregate_clip(ids, values, rule=rule, frame_indices=frames, weights=WEIGHTS)
    for _ in range(20):
        order = generator.permutation(90)
        options = {"frame_indices": frames[order], "weights": WEIGHTS}
        assert aggregate_clip(ids[order], values[order], rule=rule, **options) == expected


def test_equal_tracks_tie_exactly_whatever_their_order():
    # 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1 in plain floating point.
    clip = aggregate_clip(*faces((1, [0.1, 0.2, 0.3]), (0, [0.3, 0.2, 0.1])))
    assert clip.deciding_track_id == 0


@pytest.mark.parametrize("rule", AGGREGATION_RULES)
def test_sure_faces_stay_within_one(rule):
    options = {"frame_indices": range(49), "weights": WEIGHTS}
    probability = aggregate_clip([0] * 49, [1.0] * 49, rule=rule, **options).fake_probability
    assert probability == 1.0 if rule != "logistic" else 0.99 < probability <= 1.0


def value_of(rule, *tracks, **options):
    return aggregate_clip(*faces(*tracks), rule=rule, **options).fake_probability


def test_median_and_trimmed_mean_do_not_feel_odd_faces():
    scores = [0.25] * 9 + [1.0]
    assert value_of("median", (0, scores)) == 0.25
    assert value_of("trimmed_mean", (0, scores)) == 0.25
    assert value_of("trimmed_mean", (0, [0.0, 0.5, 1.0])) == 0.5  # a tenth of three is none
    squares = np.linspace(0, 1, 21) ** 2
    assert value_of("trimmed_mean", (0, [*squares])) == pytest.approx(trim_mean(squares, 0.1))


def test_top_k_is_the_highest_quarter_rounded_up():
    assert value_of("top_k_mean", (0, [0.5, 0.25, 1.0, 0.0, 0.125])) == 0.75
    assert value_of("top_k_mean", (0, [0.375])) == 0.375


def test_the_most_suspicious_face_of_each_frame():
    # Frames 0 and 1 show both people, frame 2 the second one alone.
    tracks = ((0, [0.25, 0.75]), (1, [0.5, 0.25, 1.0]))
    assert value_of("frame_maxima", *tracks, frame_indices=[0, 1, 0, 1, 2]) == (0.5 + 0.75 + 1.0) / 3


@pytest.mark.parametrize(
    ("num_sure", "num_rest", "expected"),
    [
        (13, 19, "sure"),  # 13 > 32 / 2.5 and > 11
        (12, 20, "all"),
        (11, 0, "all"),  # more than 11 are needed, whatever their share
    ],
)
def test_confident_takes_the_sure_fakes_where_there_are_enough(num_sure, num_rest, expected):
    scores = [*np.linspace(0.85, 0.95, num_sure), *[0.5] * num_rest]
    wanted = np.mean(scores if expected == "all" else scores[:num_sure])
    assert value_of("confident", (0, scores)) == pytest.approx(wanted)


def test_confident_takes_the_sure_reals_where_almost_all_are():
    assert value_of("confident", (0, [0.125] * 10 + [0.75])) == 0.125
    assert value_of("confident", (0, [0.125] * 9 + [0.75])) == pytest.approx(0.1875)


def test_the_learned_rule_is_a_logistic_regression_on_the_features():
    clip = clip_faces(*faces((0, [0.2, 0.4, 0.9]), (1, [0.6])))
    values = np.array([0.525, 0.5, 0.6, 0.9])
    np.testing.assert_allclose(clip_features(clip), np.log(values / (1 - values)))
    expected = 1 / (1 + np.exp(-(WEIGHTS[0] + np.dot(WEIGHTS[1:], clip_features(clip)))))
    assert value_of("logistic", (0, [0.2, 0.4, 0.9]), (1, [0.6]), weights=WEIGHTS) == pytest.approx(expected)


def test_rules_that_need_more_name_it():
    with pytest.raises(OptionError, match="is frame_maxima, which needs the frame of each face"):
        aggregate_clip([0], [0.5], rule="frame_maxima")
    with pytest.raises(OptionError, match="is logistic, which needs 5 weights, and there are 0; fit"):
        aggregate_clip([0], [0.5], rule="logistic")
    with pytest.raises(OptionError, match=r"frame_indices: have shape \(2,\) for 1 face"):
        aggregate_clip([0], [0.5], frame_indices=[0, 1])


@pytest.mark.parametrize(
    ("track_ids", "probabilities", "rule", "message"),
    [
        ([], [], "mean", "a clip without a face has no probability"),
        ([0, 1], [0.5], "mean", r"have shape \(2,\), probabilities \(1,\)"),
        ([[0]], [[0.5]], "mean", r"have shape \(1, 1\), probabilities"),
        ([0.0], [0.5], "mean", "track_ids: are float64; must be integers"),
        ([0], [math.nan], "mean", "probabilities: are NaN or outside 0 to 1"),
        ([0], [1.01], "mean", "probabilities: are NaN or outside 0 to 1"),
        ([0], [0.5], "max", "'max' is unknown; must be one of most_suspicious_track, mean, median"),
    ],
)
def test_bad_faces_are_rejected(track_ids, probabilities, rule, message):
    with pytest.raises(OptionError, match=message):
        aggregate_clip(track_ids, probabilities, rule=rule)
