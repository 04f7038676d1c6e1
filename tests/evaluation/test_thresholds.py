"""The threshold of an earlier evaluation, and gaps between groups."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.gaps import largest_gaps
from deepfake_detect.evaluation.options import EvaluationOptions
from deepfake_detect.evaluation.slices import UNKNOWN, SliceResult
from deepfake_detect.evaluation.thresholds import threshold_of_report
from deepfake_detect.metrics import GroupCounts, Interval, intervals_of, metric_names


def test_the_threshold_of_a_report_is_read_from_its_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"settings": {"threshold": 0.25}}')
    assert threshold_of_report(tmp_path) == threshold_of_report(tmp_path / "metrics.json") == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("[", "is not from an evaluation"),
        ("{}", "is not from an evaluation"),
        ("[]", "is not from an evaluation"),
        ('{"settings": {"threshold": 7}}', "has the threshold 7"),
        ('{"settings": {"threshold": true}}', "has the threshold True"),
    ],
)
def test_what_is_no_report_is_rejected(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ManifestError, match=message):
        threshold_of_report(tmp_path / "metrics.json")


def test_one_option_decides_the_threshold() -> None:
    with pytest.raises(OptionError, match="is set by `threshold` and `max_fpr`"):
        EvaluationOptions(threshold=0.5, max_fpr=0.1)


def test_groups_without_an_interval_have_no_gap() -> None:
    def group(name: str, low: float) -> SliceResult:
        return SliceResult(name, 9, 9, {"auc": Interval(0.8, low, 0.9), "bpcer": Interval(0.2, 0.1, 0.3)})

    found = largest_gaps([group("a", 0.7), group("b", math.nan), group(UNKNOWN, 0.7)])
    assert [(one.metric, one.highest, one.lowest) for one in found] == [("bpcer", "b", "a")]


def test_gaps_of_equal_groups_hold_zero_about_as_often_as_claimed() -> None:
    generator = np.random.default_rng(0)
    column = metric_names(()).index("bpcer")

    def group(name: str) -> SliceResult:
        values = np.full(len(metric_names(())), 0.5)
        values[column] = generator.binomial(40, 0.2) / 40
        resampled = np.tile(values, (200, 1))
        resampled[:, column] = generator.binomial(40, values[column], 200) / 40
        return SliceResult(name, 40, 40, intervals_of(values, resampled, GroupCounts(40, 40, 80)))

    gaps = [next(one for one in largest_gaps([group("a"), group("b")]) if one.metric == "bpcer").gap]
    for _ in range(399):
        gaps.append(next(one for one in largest_gaps([group("a"), group("b")]) if one.metric == "bpcer").gap)
    assert 0.92 <= np.mean([one.low <= 0 <= one.high for one in gaps]) <= 0.985
