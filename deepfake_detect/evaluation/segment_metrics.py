"""How well forged segments are found in videos of which the forged segments are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_detect.evaluation.score_table import ScoreTable
from deepfake_detect.evaluation.segments import stretch_seconds, suspicious_stretches
from deepfake_detect.metrics import CONFIDENCE, Interval, resample_groups
from deepfake_detect.metrics.segments import Proposals, Truth, segment_metrics

_FEWEST_VIDEOS = 20  # with a forged segment, for an interval


@dataclass(frozen=True, eq=False)
class SegmentMetrics:
    """Average precision and recall of segments, see :func:`metrics.segments.segment_metrics`.

    Attributes:
        num_videos: Videos whose forged segments are known, the real ones among them.
        num_segments: Forged segments in them.
        metrics: By name, of the segments that scoring reports.
        baseline: The same of runs of frames at or above the threshold.
    """

    num_videos: int
    num_segments: int
    metrics: dict[str, Interval]
    baseline: dict[str, Interval]


def measure_segments(
    table: ScoreTable,
    fake_segments: Mapping[str, Sequence[tuple[float, float]]],
    groups: Mapping[str, int],
    *,
    threshold: float,
    num_resamples: int,
    seed: int,
) -> SegmentMetrics:
    """Return how well the segments of scored videos are found.

    The crops of a manifest are sampled once, so borders are as exact as their distance; ``score_video``
    samples a second time around changes.

    Args:
        table: Scores with the detail ``time_seconds``.
        fake_segments: Forged segments (start, end) in seconds by video id, empty for a real video. Other
            videos do not count.
        groups: What is resampled together, from 0, by video id.
        threshold: Probability from which a frame counts as fake, for the baseline, and a person without
            steps as forged throughout.
        num_resamples, seed: Of the bootstrap intervals.
    """
    frames = dict(_frames_of_people(table, fake_segments))
    truth = {video: fake_segments[video] for video in frames}
    found = {video: [*_reported(people, threshold)] for video, people in frames.items()}
    baseline = {video: [*_above(people, threshold)] for video, people in frames.items()}
    of_video = np.unique([groups[video] for video in truth], return_inverse=True)[1]
    counts = resample_groups(int(of_video.max()) + 1, num_resamples=num_resamples, seed=seed)
    return SegmentMetrics(
        num_videos=len(truth),
        num_segments=sum(map(len, truth.values())),
        metrics=_intervals(truth, found, counts[:, of_video]),
        baseline=_intervals(truth, baseline, counts[:, of_video]),
    )


_Person = tuple[np.ndarray, np.ndarray, float]  # times (N,), probabilities (N,), end of the last frame


def _frames_of_people(
    table: ScoreTable, fake_segments: Mapping[str, Sequence[tuple[float, float]]]
) -> Iterator[tuple[str, list[_Person]]]:
    times = table.details["time_seconds"].astype(float)
    for video in sorted(set(table.video_id.tolist()) & fake_segments.keys()):
        rows = np.flatnonzero(table.video_id == video)
        people = []
        for track in np.unique(table.track_id[rows]):
            seen = rows[(table.track_id[rows] == track) & np.isfinite(times[rows])]
            seen = seen[np.argsort(times[seen])]
            if len(seen):
                step = float(np.median(np.diff(times[seen]))) if len(seen) > 1 else 0.0
                people.append((times[seen], table.fake_probability[seen], float(times[seen[-1]]) + step / 2))
        yield video, people


def _reported(people: Sequence[_Person], threshold: float) -> Iterator[tuple[float, float, float]]:
    """Yield start, end and score of what scoring reports."""
    for times, probabilities, end in people:
        stretches = [one for one in suspicious_stretches(probabilities) if one.is_forged]
        parts = [(one.start, one.stop) for one in stretches]
        if not parts and probabilities.mean() >= threshold:
            parts = [(0, len(times))]
        for start, stop in parts:
            yield (
                *stretch_seconds(times, start, stop, end_seconds=end),
                float(probabilities[start:stop].mean()),
            )


def _above(people: Sequence[_Person], threshold: float) -> Iterator[tuple[float, float, float]]:
    """Yield start, end and score of the runs of frames at or above a threshold."""
    for times, probabilities, end in people:
        is_above = np.concatenate([[False], probabilities >= threshold, [False]])
        changes = np.flatnonzero(is_above[1:] != is_above[:-1]).reshape(-1, 2)
        for start, stop in changes.tolist():
            yield (
                *stretch_seconds(times, start, stop, end_seconds=end),
                float(probabilities[start:stop].mean()),
            )


def _intervals(truth: Truth, proposals: Proposals, weights: np.ndarray) -> dict[str, Interval]:
    values = segment_metrics(truth, proposals)
    resampled = segment_metrics(truth, proposals, weights=weights)
    tail = 50 * (1 - CONFIDENCE)
    has_interval = sum(map(bool, truth.values())) >= _FEWEST_VIDEOS
    intervals = {}
    for name, value in values.items():
        bounds = np.nanpercentile(resampled[name], (tail, 100 - tail)) if has_interval else (np.nan, np.nan)
        intervals[name] = Interval(float(value[0]), float(bounds[0]), float(bounds[1]))
    return intervals
