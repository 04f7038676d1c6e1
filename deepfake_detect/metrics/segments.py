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
"""Proposals of a video, for the average recall."""
_RECALL_IOU_THRESHOLDS = tuple(np.arange(0.5, 0.96, 0.05).round(2).tolist())

Truth = Mapping[str, Sequence[tuple[float, float]]]
"""Forged segments (start, end) in seconds by video; an empty list for a video without any."""
Proposals = Mapping[str, Sequence[tuple[float, float, float]]]
"""Segments (start, end, score) in seconds by video, in any order."""


def segment_metrics(
    truth: Truth, proposals: Proposals, *, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return average precision by IoU and average recall by number of proposals.

    For the precision, proposals of all videos are taken by falling score; each matches the segment of its
    video that it overlaps most, among those still free, if their IoU is high enough, and else counts as
    wrong. For the recall, only the best proposals of each video count, and the result is the mean over IoU
    .5, .55 ... .95.

    Args:
        truth: Every video that was scored, also those without a forged segment.
        proposals: Of these videos.
        weights: How often each video counts, (R, V) in the order of ``truth``, for bootstrap resamples;
            ``None`` counts each once.

    Returns:
        float (R,) by name: ``ap@0.5``, ``ap@0.75``, ``ap@0.95``, ``ar@50``, ``ar@20``, ``ar@10``,
        ``ar@5``; 0 to 1, NaN where no video with a weight has a forged segment.

    Example:
        >>> truth = {"a": [(1.0, 3.0)], "b": []}
        >>> found = segment_metrics(truth, {"a": [(1.2, 3.0, 0.9)], "b": [(0.0, 1.0, 0.3)]})
        >>> float(found["ap@0.75"][0]), float(found["ap@0.95"][0])
        (1.0, 0.0)
    """
    counts = np.ones((1, len(truth))) if weights is None else np.asarray(weights, float)
    num_segments = counts @ np.array([len(segments) for segments in truth.values()], float)
    metrics = {
        f"ap@{iou:g}": _average_precisions(truth, proposals, iou, counts, num_segments)
        for iou in IOU_THRESHOLDS
    }
    for limit in NUM_PROPOSALS:
        found = np.mean([_num_found(truth, proposals, iou, limit) for iou in _RECALL_IOU_THRESHOLDS], axis=0)
        metrics[f"ar@{limit}"] = _divided(counts @ found, num_segments)
    return metrics


def segment_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the overlap of two segments (start, end) divided by the length of their union, 0 to 1.

    Example:
        >>> segment_iou((0.0, 2.0), (1.0, 3.0))
        0.3333333333333333
    """
    overlap = min(one[1], other[1]) - max(one[0], other[0])
    union = max(one[1], other[1]) - min(one[0], other[0])
    return overlap / union if overlap > 0 else 0.0


def _average_precisions(
    truth: Truth, proposals: Proposals, iou: float, counts: np.ndarray, num_segments: np.ndarray
) -> np.ndarray:
    ranked = []
    for number, (video, segments) in enumerate(truth.items()):
        by_score = sorted(proposals.get(video, ()), key=lambda one: -one[2])
        hits = _hits(by_score, segments, iou)
        ranked += [(-one[2], number, hit) for one, hit in zip(by_score, hits, strict=True)]
    if not ranked:
        return _divided(np.zeros(len(counts)), num_segments)
    _, of_video, hit = (np.array(column) for column in zip(*sorted(ranked), strict=True))
    copies = counts[:, of_video]  # (R, P)
    right = np.cumsum(copies * hit, axis=1)
    precision = right / np.maximum(np.cumsum(copies, axis=1), 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return _divided((copies * hit * best).sum(axis=1), num_segments)


def _num_found(truth: Truth, proposals: Proposals, iou: float, limit: int) -> np.ndarray:
    """Return how many segments of each video (V,) its best proposals find."""
    best = (sorted(proposals.get(video, ()), key=lambda one: -one[2])[:limit] for video in truth)
    return np.array(
        [sum(_hits(one, segments, iou)) for one, segments in zip(best, truth.values(), strict=True)], float
    )


def _hits(
    by_score: Sequence[tuple[float, float, float]], segments: Sequence[tuple[float, float]], iou: float
) -> list[bool]:
    """Return whether each proposal finds a segment that no better proposal has found."""
    free = dict(enumerate(segments))
    hits = []
    for start, end, _ in by_score:
        overlaps = [(segment_iou((start, end), one), number) for number, one in free.items()]
        best, number = max(overlaps, default=(0.0, -1))
        hits.append(best >= iou)
        if best >= iou:
            del free[number]
    return hits


def _divided(numbers: np.ndarray, by: np.ndarray) -> np.ndarray:
    divided: np.ndarray = np.divide(numbers, by, out=np.full(len(numbers), np.nan), where=by > 0)
    return divided
