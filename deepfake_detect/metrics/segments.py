"""Average precision and recall of forged segments in time, as AV-Deepfake1M's protocol defines them.

Source: Cai et al., "AV-Deepfake1M" (arXiv:2311.15308), section 4; the interpolation of the precision is
that of ActivityNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

IOU_THRESHOLDS = (0.5, 0.75, 0.95)
"""For the average precision."""
NUM_PROPOSALS = (50, 20, 10, 5)
"""Proposals a video, for the average recall."""
_RECALL_IOU_THRESHOLDS = tuple(np.arange(0.5, 0.96, 0.05).round(2).tolist())

Truth = Mapping[str, Sequence[tuple[float, float]]]
"""Forged segments (start, end) in seconds by video; an empty list for a video without any."""
Proposals = Mapping[str, Sequence[tuple[float, float, float]]]
"""Segments (start, end, score) in seconds by video, in any order."""


def segment_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the overlap of two segments (start, end) divided by the length of their union, 0 to 1.

    Example:
        >>> segment_iou((0.0, 2.0), (1.0, 3.0))
        0.3333333333333333
    """
    overlap = min(one[1], other[1]) - max(one[0], other[0])
    union = max(one[1], other[1]) - min(one[0], other[0])
    return max(overlap, 0.0) / union if overlap > 0 else 0.0


def average_precision_of_segments(truth: Truth, proposals: Proposals, *, iou: float) -> float:
    """Return the average precision of proposals over all videos together.

    Proposals are taken by falling score; each matches the best segment of its video that is still free
    and overlaps it by ``iou`` or more, or else counts as wrong.

    Args:
        truth: Every video that was scored, also those without a forged segment.
        proposals: Of these videos.
        iou: Least intersection over union of a match, 0 to 1.

    Returns:
        0 to 1; NaN if no video has a forged segment.

    Example:
        >>> truth = {"a": [(1.0, 3.0)], "b": []}
        >>> average_precision_of_segments(truth, {"a": [(1.2, 3.0, 0.9)], "b": [(0.0, 1.0, 0.3)]}, iou=0.75)
        1.0
    """
    num_segments = sum(map(len, truth.values()))
    if not num_segments:
        return float("nan")
    ranked = sorted(
        ((score, video, (start, end)) for video in truth for start, end, score in proposals.get(video, ())),
        key=lambda one: -one[0],
    )
    taken: dict[str, set[int]] = {video: set() for video in truth}
    matches = [_matches(segment, truth[video], taken[video], iou) for _, video, segment in ranked]
    hits = np.array(matches, float)
    recall = np.concatenate([[0.0], np.cumsum(hits) / num_segments])
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    interpolated = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * interpolated))


def average_recall_of_segments(truth: Truth, proposals: Proposals, *, num_proposals: int) -> float:
    """Return the recall of a video's best proposals, over all videos, averaged over IoU .5 to .95.

    Args:
        truth, proposals: As for :func:`average_precision_of_segments`.
        num_proposals: Proposals of highest score that count in each video.

    Returns:
        0 to 1; NaN if no video has a forged segment.

    Example:
        >>> average_recall_of_segments({"a": [(0.0, 1.0)]}, {"a": [(0.0, 1.0, 0.2)]}, num_proposals=5)
        1.0
    """
    num_segments = sum(map(len, truth.values()))
    if not num_segments:
        return float("nan")
    recalls = []
    for iou in _RECALL_IOU_THRESHOLDS:
        num_found = 0
        for video, segments in truth.items():
            best = sorted(proposals.get(video, ()), key=lambda one: -one[2])[:num_proposals]
            taken: set[int] = set()
            num_found += sum(_matches(one[:2], segments, taken, iou) for one in best)
        recalls.append(num_found / num_segments)
    return float(np.mean(recalls))


def _matches(
    segment: Sequence[float], truth: Sequence[tuple[float, float]], taken: set[int], iou: float
) -> bool:
    """Return whether a proposal finds a segment that is free, which it then takes."""
    free = [(segment_iou(segment, one), number) for number, one in enumerate(truth) if number not in taken]
    best, number = max(free, default=(0.0, -1))
    if best < iou:
        return False
    taken.add(number)
    return True
