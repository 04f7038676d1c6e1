"""Average precision and recall of segments in time."""

from __future__ import annotations

import math

import pytest

from deepfake_detect.metrics.segments import (
    average_precision_of_segments,
    average_recall_of_segments,
    segment_iou,
)

TRUTH = {"a": [(1.0, 3.0), (6.0, 8.0)], "b": [], "c": [(0.0, 4.0)]}


def test_iou() -> None:
    assert segment_iou((0, 4), (2, 6)) == pytest.approx(2 / 6)
    assert segment_iou((0, 1), (1, 2)) == 0
    assert segment_iou((0, 1), (3, 4)) == 0
    assert segment_iou((0, 4), (1, 2)) == pytest.approx(0.25)


def test_perfect_proposals() -> None:
    proposals = {video: [(*one, 0.9) for one in segments] for video, segments in TRUTH.items()}
    assert average_precision_of_segments(TRUTH, proposals, iou=0.95) == 1.0
    assert average_recall_of_segments(TRUTH, proposals, num_proposals=5) == 1.0


def test_a_false_alarm_of_highest_score_lowers_the_precision() -> None:
    proposals = {"a": [(1.0, 3.0, 0.5), (6.0, 8.0, 0.4)], "b": [(0.0, 2.0, 0.9)]}
    # Precision 1/2 and 2/3 at recall 1/3 and 2/3; interpolated, both are 2/3.
    assert average_precision_of_segments(TRUTH, proposals, iou=0.5) == pytest.approx(2 / 3 * 2 / 3)


def test_a_second_proposal_of_one_segment_is_wrong() -> None:
    proposals = {"c": [(0.0, 4.0, 0.9), (0.0, 3.9, 0.8)], "a": [(1.0, 3.0, 0.7)]}
    assert average_precision_of_segments(TRUTH, proposals, iou=0.5) == pytest.approx((1 + 2 / 3) / 3)


def test_recall_counts_the_best_proposals_of_a_video() -> None:
    proposals = {"a": [(1.0, 3.0, 0.3), (4.0, 5.0, 0.9)]}
    assert average_recall_of_segments({"a": [(1.0, 3.0)]}, proposals, num_proposals=1) == 0.0
    assert average_recall_of_segments({"a": [(1.0, 3.0)]}, proposals, num_proposals=2) == 1.0


def test_recall_is_the_mean_over_ious() -> None:
    # IoU .75 counts at .5, .55, .6, .65, .7 and .75 of ten thresholds.
    found = average_recall_of_segments({"a": [(0.0, 4.0)]}, {"a": [(0.0, 3.0, 1.0)]}, num_proposals=5)
    assert found == pytest.approx(0.6)


def test_without_a_forged_segment_there_is_no_figure() -> None:
    assert math.isnan(average_precision_of_segments({"b": []}, {}, iou=0.5))
    assert math.isnan(average_recall_of_segments({"b": []}, {}, num_proposals=5))


def test_without_proposals_nothing_is_found() -> None:
    assert average_precision_of_segments(TRUTH, {}, iou=0.5) == 0.0
    assert average_recall_of_segments(TRUTH, {}, num_proposals=5) == 0.0
