"""Average precision and recall of segments in time."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detect.metrics.segments import segment_iou, segment_metrics

TRUTH = {"a": [(1.0, 3.0), (6.0, 8.0)], "b": [], "c": [(0.0, 4.0)]}


def measured(truth, proposals, name: str) -> float:
    return float(segment_metrics(truth, proposals)[name][0])


def test_iou() -> None:
    assert segment_iou((0, 4), (2, 6)) == pytest.approx(2 / 6)
    assert segment_iou((0, 1), (1, 2)) == 0
    assert segment_iou((0, 1), (3, 4)) == 0
    assert segment_iou((0, 4), (1, 2)) == pytest.approx(0.25)


def test_perfect_proposals() -> None:
    proposals = {video: [(*one, 0.9) for one in segments] for video, segments in TRUTH.items()}
    assert {float(value[0]) for value in segment_metrics(TRUTH, proposals).values()} == {1.0}


def test_a_false_alarm_of_highest_score_lowers_the_precision() -> None:
    proposals = {"a": [(1.0, 3.0, 0.5), (6.0, 8.0, 0.4)], "b": [(0.0, 2.0, 0.9)]}
    # Precision 1/2 and 2/3 at recall 1/3 and 2/3; interpolated, both are 2/3.
    assert measured(TRUTH, proposals, "ap@0.5") == pytest.approx(2 / 3 * 2 / 3)


def test_a_second_proposal_of_one_segment_is_wrong() -> None:
    proposals = {"c": [(0.0, 4.0, 0.9), (0.0, 3.9, 0.8)], "a": [(1.0, 3.0, 0.7)]}
    assert measured(TRUTH, proposals, "ap@0.5") == pytest.approx((1 + 2 / 3) / 3)


def test_recall_counts_the_best_proposals_of_a_video() -> None:
    wrong = [(10.0 + n, 10.5 + n, 0.9) for n in range(5)]
    proposals = {"a": [(1.0, 3.0, 0.3), *wrong]}
    assert measured({"a": [(1.0, 3.0)]}, proposals, "ar@5") == 0.0
    assert measured({"a": [(1.0, 3.0)]}, proposals, "ar@10") == 1.0


def test_recall_is_the_mean_over_ious() -> None:
    # IoU .75 counts at .5, .55, .6, .65, .7 and .75 of ten thresholds.
    assert measured({"a": [(0.0, 4.0)]}, {"a": [(0.0, 3.0, 1.0)]}, "ar@5") == pytest.approx(0.6)


def test_without_a_forged_segment_there_is_no_figure() -> None:
    assert all(np.isnan(value).all() for value in segment_metrics({"b": []}, {}).values())


def test_without_proposals_nothing_is_found() -> None:
    assert {float(value[0]) for value in segment_metrics(TRUTH, {}).values()} == {0.0}


def test_weights_are_repeated_videos() -> None:
    proposals = {"a": [(1.0, 3.0, 0.5), (6.0, 8.0, 0.4)], "b": [(0.0, 2.0, 0.45)], "c": [(1.0, 4.0, 0.3)]}
    repeated = {
        f"{video}{copy}": TRUTH[video]
        for video, count in zip("abc", (2, 0, 3), strict=True)
        for copy in range(count)
    }
    copied = {name: proposals[name[0]] for name in repeated}
    weighted = segment_metrics(TRUTH, proposals, weights=np.array([[1, 1, 1], [2, 0, 3]]))
    for name, values in segment_metrics(repeated, copied).items():
        assert weighted[name][1] == pytest.approx(float(values[0])), name
