"""From faces to people to a clip."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES, aggregate_clip
from deepfake_detect.records import TrackScore


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
    ids, values = generator.integers(3, size=90), generator.random(90)
    expected = aggregate_clip(ids, values, rule=rule)
    for _ in range(20):
        order = generator.permutation(90)
        assert aggregate_clip(ids[order], values[order], rule=rule) == expected


def test_equal_tracks_tie_exactly_whatever_their_order():
    # 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1 in plain floating point.
    clip = aggregate_clip(*faces((1, [0.1, 0.2, 0.3]), (0, [0.3, 0.2, 0.1])))
    assert clip.deciding_track_id == 0


@pytest.mark.parametrize("rule", AGGREGATION_RULES)
def test_sure_faces_stay_within_one(rule):
    assert aggregate_clip([0] * 49, [1.0] * 49, rule=rule).fake_probability == 1.0


@pytest.mark.parametrize(
    ("track_ids", "probabilities", "rule", "message"),
    [
        ([], [], "mean", "a clip without a face has no probability"),
        ([0, 1], [0.5], "mean", r"shape \(2,\) and probabilities of shape \(1,\) do not pair up"),
        ([[0]], [[0.5]], "mean", "do not pair up"),
        ([0.0], [0.5], "mean", "track_ids: are float64 and not integers"),
        ([0], [math.nan], "mean", "probabilities: are NaN or outside 0 to 1"),
        ([0], [1.01], "mean", "probabilities: are NaN or outside 0 to 1"),
        ([0], [0.5], "max", "there is no 'max'; choose one of: most_suspicious_track, mean, longest_track"),
    ],
)
def test_refuses(track_ids, probabilities, rule, message):
    with pytest.raises(OptionError, match=message):
        aggregate_clip(track_ids, probabilities, rule=rule)
