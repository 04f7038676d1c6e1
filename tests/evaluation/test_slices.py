"""Results by the value of a column."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation import Coverage, ScoreTable, evaluate_scores


def evaluated(details, *, slice_by=(), num_videos=24, faces=2):
    """Measure videos of alternating label, two faces each; every third video is judged wrongly."""
    numbers = np.repeat(np.arange(num_videos), faces)
    labels = numbers % 2
    wrong = numbers % 3 == 0
    table = ScoreTable(
        video_id=np.array([f"v{number:02d}" for number in numbers]),
        method=np.where(labels == 1, "Deepfakes", "youtube"),
        label=labels,
        track_id=np.zeros(len(numbers), int),
        frame_index=np.tile(np.arange(faces), num_videos),
        fake_probability=np.where(wrong, 0.9 - 0.8 * labels, 0.1 + 0.8 * labels),
        details={name: np.asarray(make(numbers)) for name, make in details.items()},
    )
    coverage = Coverage(num_videos, num_videos, 0, 0, ())
    return evaluate_scores(
        table, coverage, threshold=0.5, aggregation_rule="mean", num_resamples=20, slice_by=slice_by
    )


def rows(evaluation, column):
    return [(one.value, one.num_videos_real, one.num_videos_fake) for one in evaluation.slices[column]]


def test_small_faces_and_poor_detections_are_shown_by_default():
    evaluation = evaluated(
        {
            "native_size": lambda n: 60 + 20 * n,
            "detection_score": lambda n: 1 - n / 100,
            "path": lambda n: np.full(len(n), "x"),
        }
    )
    assert list(evaluation.slices) == ["native_size", "detection_score"]
    assert rows(evaluation, "native_size") == [
        ("below 100", 1, 1),
        ("100 to 200", 3, 2),
        ("200 to 300", 2, 3),
        ("from 300", 6, 6),
    ]
    assert [value for value, *_ in rows(evaluation, "detection_score")] == [
        "below 0.9",
        "0.9 to 0.99",
        "0.99 to 0.999",
        "from 0.999",
    ]


def test_each_slice_is_measured_alone():
    evaluation = evaluated({"camera": lambda n: np.where(n % 3 == 0, "bad", "good")}, slice_by=("camera",))
    bad, good = evaluation.slices["camera"]
    assert (bad.value, good.value) == ("bad", "good")
    assert (bad.metrics["auc"].value, good.metrics["auc"].value) == (0.0, 1.0)
    found = evaluation.to_json()["slices"]["camera"][0]
    assert found["value"] == "bad"
    assert found["num_videos_real"] == 4
    assert found["video"]["accuracy"]["value"] == 0.0


def test_numbers_of_many_values_are_cut_at_their_quartiles_and_few_are_kept():
    evaluation = evaluated(
        {"blur": lambda n: n.astype(float), "crf": lambda n: np.where(n < 8, 23, 40)},
        slice_by=("blur", "crf"),
    )
    assert [value for value, *_ in rows(evaluation, "blur")] == [
        "below 5.75",
        "5.75 to 11.5",
        "11.5 to 17.25",
        "from 17.25",
    ]
    assert rows(evaluation, "crf") == [("23", 4, 4), ("40", 8, 8)]


def test_absent_values_are_a_slice_of_their_own():
    evaluation = evaluated(
        {
            "native_size": lambda n: np.where(n < 4, np.nan, 150.0 + n),
            "compression": lambda n: np.where(n < 2, None, "c23").astype(object),
        }
    )
    assert rows(evaluation, "native_size") == [("100 to 200", 10, 10), ("unknown", 2, 2)]
    assert rows(evaluation, "compression") == [("c23", 11, 11), ("unknown", 1, 1)]


def test_a_video_counts_once_by_the_median_of_its_faces():
    evaluation = evaluated({"native_size": lambda n: np.tile([50.0, 50.0, 400.0], 24)}, faces=3)
    assert rows(evaluation, "native_size") == [("below 100", 12, 12)]


def test_a_column_that_tells_nothing_apart_is_left_out_unless_asked_for():
    assert evaluated({"dataset": lambda n: np.full(len(n), "DFDC")}).slices == {}
    asked = evaluated({"dataset": lambda n: np.full(len(n), "DFDC")}, slice_by=("dataset",))
    assert rows(asked, "dataset") == [("DFDC", 12, 12)]


def test_an_unknown_column_is_named():
    with pytest.raises(OptionError, match="slice_by: is 'age'; must be one of blur"):
        evaluated({"blur": lambda n: n}, slice_by=("age",))


def test_every_column_can_slice():
    evaluation = evaluated({}, slice_by=("method", "label", "method"))
    assert list(evaluation.slices) == ["method", "label"]
    assert rows(evaluation, "method") == [("Deepfakes", 0, 12), ("youtube", 12, 0)]
    assert rows(evaluation, "label") == [("0", 12, 0), ("1", 0, 12)]
    assert evaluation.slices["method"][0].metrics["apcer"].value == pytest.approx(1 / 3)


def test_of_many_texts_the_commonest_are_kept():
    def camera(numbers):
        return np.array([f"camera {max(0, number - 9):02d}" for number in numbers])

    evaluation = evaluated({"camera": camera}, slice_by=("camera",), num_videos=80)
    found = rows(evaluation, "camera")
    assert len(found) == 50
    assert found[0] == ("camera 00", 5, 5)
    assert found[-1] == ("(others)", 11, 11)
