"""The forged part of a clip: where one person's scores rise above the rest of the same person's.

Detectors differ more between people than between the frames of one: the level of a whole clip says less
than a step within it. So a person's logits are divided into stretches of constant level, and a stretch is
suspicious if it stands far enough above the person's own lowest level.

The division minimizes the squared distance from the levels plus a penalty for each change, by dynamic
programming (optimal partitioning, Jackson et al. 2005, doi:10.1109/LSP.2001.838216). The library
``ruptures`` has it too, but needs SciPy, which a small installation lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

# Chosen on the crops of 28 FF++ originals and six real clips, and splices of the originals with their fakes:
# of 44 real people none has such a stretch.
_MIN_CONTRAST = 3.5
_MIN_LEVEL = 0.0  # a probability of one half
_PENALTY = 4.0
_LEAST_NOISE = 0.5
_LARGEST_LOGIT = 6.0
_NORMAL_QUARTILE = 0.6745


@dataclass(frozen=True)
class Stretch:
    """Frames of one person with about the same score.

    Attributes:
        start, stop: The first of them and the first after them, among the person's frames.
        level: Mean logit.
        base: Mean logit of the person's lowest stretch.
    """

    MIN_FRAMES: ClassVar[int] = 3

    start: int
    stop: int
    level: float
    base: float

    @property
    def is_forged(self) -> bool:
        """Whether it stands far enough above the lowest stretch, and is long enough to believe it."""
        return self.is_suspicious and self.stop - self.start >= self.MIN_FRAMES

    @property
    def is_suspicious(self) -> bool:
        """Whether it would be forged if it were long enough."""
        return self.level >= _MIN_LEVEL and self.level - self.base >= _MIN_CONTRAST


def suspicious_stretches(probabilities: Sequence[float] | np.ndarray) -> list[Stretch]:
    """Return the stretches that stand out from one person's frames, in order; touching ones as one.

    Args:
        probabilities: float (N,), fake probability of the person's face in each frame, in order of time.

    Returns:
        Stretches, some of which may be too short to count as forged. None for a person who is forged, or
        genuine, throughout.

    Example:
        >>> [(one.start, one.stop) for one in suspicious_stretches([0.03] * 9 + [0.9] * 5 + [0.03] * 9)]
        [(9, 14)]
    """
    logits = _clipped_logits(probabilities)
    cuts = _optimal_cuts(logits)
    levels = [(start, stop, float(logits[start:stop].mean())) for start, stop in pairwise(cuts)]
    bases = [level for start, stop, level in levels if stop - start >= Stretch.MIN_FRAMES]
    if not bases:
        return []
    base = min(bases)
    found = [Stretch(start, stop, level, base) for start, stop, level in levels]
    return _joined([one for one in found if one.is_suspicious], logits)


def refined_stretch(
    probabilities: Sequence[float] | np.ndarray, window: tuple[int, int], *, level: float, base: float
) -> Stretch | None:
    """Return the stretch of greatest evidence within a window: where its borders are, frame by frame.

    A frame above the middle between both levels speaks for the forgery, one below speaks against it; the
    stretch has the greatest sum (Bentley 1984, doi:10.1145/358234.381162).

    Args:
        probabilities: float (N,), of the person's frames in order of time, also those sampled later.
        window: First frame to consider, and first after them.
        level, base: Of the stretch that is refined.

    Returns:
        ``None`` if no frame in the window speaks for the forgery.
    """
    logits = _clipped_logits(probabilities)
    evidence = logits - (level + base) / 2
    best, start, total = (0.0, 0, 0), window[0], 0.0
    for index in range(*window):
        if total <= 0:
            start, total = index, 0.0
        total += float(evidence[index])
        best = max(best, (total, start, index + 1))
    if best[0] <= 0:
        return None
    _, first, stop = best
    return Stretch(first, stop, float(logits[first:stop].mean()), base)


def stretch_seconds(
    times_seconds: Sequence[float] | np.ndarray, start: int, stop: int, *, end_seconds: float
) -> tuple[float, float]:
    """Return start and end of frames in seconds: midway to the frame before and the frame after.

    Args:
        times_seconds: float (N,), ascending, of the person's frames.
        start, stop: The first of the frames, and the first after them.
        end_seconds: End of the last frame's time.

    Example:
        >>> stretch_seconds([0.0, 1.0, 2.0], 1, 3, end_seconds=2.5)
        (0.5, 2.5)
    """
    first, last = times_seconds[start], times_seconds[stop - 1]
    begin = float(first) if start == 0 else float(times_seconds[start - 1] + first) / 2
    is_last = stop == len(times_seconds)
    end = max(float(last), end_seconds) if is_last else float(last + times_seconds[stop]) / 2
    return begin, end


def _clipped_logits(probabilities: Sequence[float] | np.ndarray) -> np.ndarray:
    least = 1 / (1 + np.exp(_LARGEST_LOGIT))
    clipped = np.clip(np.asarray(probabilities, float), least, 1 - least)
    logits: np.ndarray = np.log(clipped / (1 - clipped))
    return logits


def _noise(logits: np.ndarray) -> float:
    """Return the standard deviation of a frame around its level, from the differences of neighbors."""
    differences = np.abs(np.diff(logits))
    typical = float(np.median(differences)) / _NORMAL_QUARTILE / np.sqrt(2) if len(differences) else 0.0
    return max(typical, _LEAST_NOISE)


def _optimal_cuts(logits: np.ndarray) -> list[int]:
    """Return the borders of the stretches, from 0 to N."""
    count = len(logits)
    penalty = _PENALTY * _noise(logits) ** 2 * np.log(max(count, 2))
    sums, squares = (np.concatenate([[0.0], np.cumsum(values)]) for values in (logits, logits**2))
    costs, previous = np.zeros(count + 1), np.zeros(count + 1, int)
    costs[0] = -penalty
    for stop in range(1, count + 1):
        starts = np.arange(stop)
        within = squares[stop] - squares[starts] - (sums[stop] - sums[starts]) ** 2 / (stop - starts)
        totals = costs[starts] + within + penalty
        previous[stop] = np.argmin(totals)
        costs[stop] = totals[previous[stop]]
    cuts = [count]
    while cuts[-1] > 0:
        cuts.append(int(previous[cuts[-1]]))
    return cuts[::-1]


def _joined(stretches: list[Stretch], logits: np.ndarray) -> list[Stretch]:
    joined: list[Stretch] = []
    for one in stretches:
        if joined and joined[-1].stop == one.start:
            start = joined.pop().start
            one = Stretch(start, one.stop, float(logits[start : one.stop].mean()), one.base)
        joined.append(one)
    return joined
