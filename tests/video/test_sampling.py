"""Sampling policies against plain definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.records import VideoMetadata
from deepfake_detect.video import AllFrames, ByRate, EvenlySpaced, EveryKth


def clip(num_frames: int, frames_per_second: float = 25.0) -> VideoMetadata:
    duration = num_frames / frames_per_second if frames_per_second else 0.0
    return VideoMetadata(
        path=Path("clip.mp4"),
        codec="h264",
        pixel_format="yuv420p",
        width=64,
        height=48,
        rotation_degrees=0,
        frames_per_second=frames_per_second,
        num_frames=num_frames,
        num_frames_declared=num_frames,
        duration_seconds=duration,
        is_truncated=False,
    )


def test_all_frames_takes_every_index() -> None:
    assert list(AllFrames().frame_indices(clip(4))) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [
        (4, 10, [0, 3, 6, 9]),
        (2, 300, [0, 299]),
        (3, 300, [0, 150, 299]),
        (1, 5, [2]),
        (1, 4, [1]),
        (1, 1, [0]),
        (8, 8, list(range(8))),
        (9, 8, list(range(8))),
        (2, 1, [0]),
    ],
)
def test_evenly_spaced_spans_the_clip(wanted: int, available: int, expected: list[int]) -> None:
    assert EvenlySpaced(wanted).frame_indices(clip(available)) == expected


def test_evenly_spaced_for_every_small_case_is_unique_even_and_holds_both_ends() -> None:
    for available in range(2, 60):
        for wanted in range(2, available + 1):
            indices = EvenlySpaced(wanted).frame_indices(clip(available))
            assert len(indices) == wanted
            assert (indices[0], indices[-1]) == (0, available - 1)
            gaps = np.diff(indices)
            assert gaps.min() >= 1
            assert gaps.max() - gaps.min() <= 1 + (available - 1) % (wanted - 1) % 2 + 1
            ideal = np.arange(wanted) * (available - 1) / (wanted - 1)
            assert np.abs(indices - ideal).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("step", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (4, [0, 4]), (9, [0])])
def test_every_kth(step: int, expected: list[int]) -> None:
    assert list(EveryKth(step).frame_indices(clip(5))) == expected


def on_screen(times: list[float], end: float, rate: float) -> list[int]:
    """Walk the clock tick by tick: the slow and obvious twin of ByRate."""
    shown: list[int] = []
    tick = 0
    while tick / rate < end - 1e-3:
        index = max(k for k, time in enumerate(times) if time <= tick / rate + 1e-3)
        if index not in shown:
            shown.append(index)
        tick += 1
    return shown


@pytest.mark.parametrize("rate", [0.1, 1, 2, 3, 7.5, 10, 24, 25, 30, 1e9])
@pytest.mark.parametrize("frames_per_second", [25.0, 30000 / 1001, 12.5])
def test_by_rate_follows_the_clock(rate: float, frames_per_second: float) -> None:
    metadata = clip(70, frames_per_second)
    times = [index / frames_per_second for index in range(70)]
    expected = on_screen(times, metadata.duration_seconds, min(rate, 1000))
    assert ByRate(rate).frame_indices(metadata) == expected
    assert ByRate(rate).frame_indices(metadata, times_seconds=times) == expected


def test_by_rate_uses_real_times_of_a_variable_rate() -> None:
    times = [0.0, 0.04, 0.05, 0.9, 1.0, 3.2]
    metadata = VideoMetadata(Path("v.mp4"), "h264", "yuv420p", 64, 48, 0, 1.5, 6, 6, 4.0, False)
    assert ByRate(1).frame_indices(metadata, times_seconds=times) == [0, 4]
    assert ByRate(2).frame_indices(metadata, times_seconds=times) == [0, 2, 4, 5]


def test_by_rate_at_the_clips_own_rate_takes_all_in_spite_of_millisecond_stamps() -> None:
    times = [round(index / 30, 3) for index in range(90)]
    assert ByRate(30).frame_indices(clip(90, 30.0), times_seconds=times) == list(range(90))


def test_by_rate_of_a_still_is_its_one_frame() -> None:
    assert ByRate(5).frame_indices(clip(1, 0.0)) == [0]


def test_by_rate_needs_a_clock() -> None:
    with pytest.raises(OptionError, match="the frame rate of clip.mp4 is not known; sample it with"):
        ByRate(5).frame_indices(clip(10, 0.0))


@pytest.mark.parametrize("value", [0, -1, 1.5, "4", None, True])
def test_counts_must_be_positive_whole_numbers(value: Any) -> None:
    with pytest.raises(OptionError, match="num_frames: is .*; must be an integer of at least 1"):
        EvenlySpaced(value)
    with pytest.raises(OptionError, match="step: is .*; must be an integer of at least 1"):
        EveryKth(value)


@pytest.mark.parametrize("value", [0, -2.0, float("nan"), float("inf"), "5", None, True])
def test_rates_must_be_positive_numbers(value: Any) -> None:
    with pytest.raises(OptionError, match=r"frames_per_second: is .*; must be a number above 0"):
        ByRate(value)


def test_numpy_numbers_are_numbers() -> None:
    assert EvenlySpaced(cast(int, np.int64(2))).frame_indices(clip(9)) == [0, 8]
    assert ByRate(cast(float, np.float32(25))).frame_indices(clip(3)) == [0, 1, 2]
