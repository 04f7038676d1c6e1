"""Forged segments found in the scores of a manifest."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detect.evaluation.score_table import ScoreTable
from deepfake_detect.evaluation.segment_metrics import measure_segments


def table_of(series: dict[str, list[float]]) -> ScoreTable:
    """Return one frame a second for each video."""
    names = [name for name, values in series.items() for _ in values]
    frames = np.array([frame for values in series.values() for frame in range(len(values))])
    return ScoreTable(
        video_id=np.array(names),
        method=np.array(["m"] * len(names)),
        label=np.array([int(name.startswith("f")) for name in names]),
        track_id=np.zeros(len(names), int),
        frame_index=frames,
        fake_probability=np.array([value for values in series.values() for value in values]),
        details={"time_seconds": frames.astype(float)},
    )


def measure(series: dict[str, list[float]], truth: dict[str, tuple[tuple[float, float], ...]]):
    groups = {name: number for number, name in enumerate(series)}
    return measure_segments(table_of(series), truth, groups, threshold=0.5, num_resamples=20, seed=0)


def test_known_segments_are_found() -> None:
    part = [0.03] * 8 + [0.9] * 5 + [0.03] * 8
    found = measure({"f1": part, "r1": [0.03] * 20}, {"f1": ((7.5, 12.5),), "r1": ()})
    assert (found.num_videos, found.num_segments) == (2, 1)
    assert found.metrics["ap@0.95"].value == 1.0
    assert found.baseline["ap@0.95"].value == 1.0


def test_a_noisy_real_lowers_the_baseline_only() -> None:
    series = {"f1": [0.03] * 8 + [0.9] * 5 + [0.03] * 8, "r1": [0.2, 0.95, 0.2] * 7}
    found = measure(series, {"f1": ((7.5, 12.5),), "r1": ()})
    assert found.metrics["ap@0.5"].value == 1.0
    assert found.baseline["ap@0.5"].value == pytest.approx(1 / 8)


def test_a_person_who_is_forged_throughout_is_one_segment() -> None:
    found = measure({"f1": [0.9] * 10}, {"f1": ((0.0, 9.5),)})
    assert found.metrics["ap@0.95"].value == 1.0


def test_videos_without_known_segments_do_not_count() -> None:
    found = measure({"f1": [0.9] * 10, "f2": [0.1] * 10}, {"f1": ((0.0, 9.5),)})
    assert (found.num_videos, found.num_segments) == (1, 1)


def test_few_videos_have_no_interval() -> None:
    found = measure({"f1": [0.9] * 10}, {"f1": ((0.0, 9.5),)})
    assert found.metrics["ap@0.5"].text() == "1.000 [too few]"
