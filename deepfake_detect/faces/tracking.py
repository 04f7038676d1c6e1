"""Tracking: assigns each face of a frame to a person seen before, or to a new one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_detect.records import Face

# A face may move by its own size, or grow by a factor of e, between sampled frames. Sampled frames can
# be a second apart, so boxes of one person need not overlap, and overlap is not enough to match them.
_MAX_DISTANCE = 1.0
_MAX_FRAMES_UNSEEN = 5


@dataclass
class _OpenTrack:
    """A person who may be seen again: the last box, and its motion per frame."""

    track_id: int
    box_xyxy: np.ndarray
    last_seen: int
    velocity: np.ndarray

    def distance(self, box: np.ndarray, frame_number: int) -> float:
        """Return the distance of a box from the last or the predicted one, whichever is less."""
        expected = self.box_xyxy + self.velocity * (frame_number - self.last_seen)
        return min(box_distance(box, self.box_xyxy), box_distance(box, expected))

    def see(self, box: np.ndarray, frame_number: int) -> None:
        moved = (box - self.box_xyxy) / (frame_number - self.last_seen)
        # The box's corners jitter; only the motion of the whole face matters.
        shift = (moved[:2] + moved[2:]) / 2
        self.velocity = (self.velocity + np.concatenate([shift, shift])) / 2
        self.box_xyxy, self.last_seen = box, frame_number


class Tracker:
    """Links faces to people, frame by frame in order.

    In each frame the faces are matched to recently seen people so that the sum of distances is minimal
    (Hungarian method). The distance is the shift of the box center over the box size plus the logarithm
    of the change in size, from the last or the predicted position: so two people who cross, one hiding
    the other, keep their numbers. A face without a match starts a new track; a person unseen for more
    than five frames is dropped.

    Example:
        >>> face = Face(np.float32([0, 0, 50, 60]), 1.0, np.zeros((5, 2), np.float32))
        >>> tracker = Tracker()
        >>> tracker.update([face]), tracker.update([face])
        ([0], [0])
    """

    def __init__(self) -> None:
        self._open: list[_OpenTrack] = []
        self._num_tracks = 0
        self._num_frames = 0

    def update(self, faces: Sequence[Face]) -> list[int]:
        """Return the track number of each face of the next frame, in the order given."""
        self._num_frames += 1
        self._open = [t for t in self._open if self._num_frames - t.last_seen <= _MAX_FRAMES_UNSEEN + 1]
        seen_before = {row: self._open[column] for row, column in self._matches(faces)}
        track_ids = []
        for row, face in enumerate(faces):
            if row in seen_before:
                track = seen_before[row]
                track.see(face.box_xyxy, self._num_frames)
            else:
                track = _OpenTrack(self._num_tracks, face.box_xyxy, self._num_frames, np.zeros(4))
                self._open.append(track)
                self._num_tracks += 1
            track_ids.append(track.track_id)
        return track_ids

    def _matches(self, faces: Sequence[Face]) -> list[tuple[int, int]]:
        if not faces or not self._open:
            return []
        distances = np.array([[t.distance(f.box_xyxy, self._num_frames) for t in self._open] for f in faces])
        return [(r, c) for r, c in _assigned(distances) if distances[r, c] <= _MAX_DISTANCE]


def box_distance(box: np.ndarray, other: np.ndarray) -> float:
    """Return how far two boxes (4,) are apart: the shift by their mean size, plus the log of their ratio.

    Example:
        >>> box_distance(np.array([0.0, 0, 10, 10]), np.array([5.0, 0, 15, 10]))
        0.5
    """
    size = float(np.mean([box[2] - box[0], box[3] - box[1]]))
    other_size = float(np.mean([other[2] - other[0], other[3] - other[1]]))
    shift = np.hypot(*((box[:2] + box[2:]) - (other[:2] + other[2:]))) / 2
    mean_size = max((size + other_size) / 2, 1e-6)
    return float(shift / mean_size + abs(np.log(max(size, 1e-6) / max(other_size, 1e-6))))


def main_track(faces: Iterable[tuple[int, Face]]) -> int | None:
    """Return the track with the greatest sum of box areas, that of the person seen largest and longest.

    Args:
        faces: Track number and face, over all frames.

    Returns:
        The track number, the lowest among equals; ``None`` when there is no face.
    """
    areas: dict[int, float] = defaultdict(float)
    for track_id, face in faces:
        left, top, right, bottom = face.box_xyxy
        areas[track_id] += float((right - left) * (bottom - top))
    return min(areas, key=lambda track_id: (-areas[track_id], track_id)) if areas else None


def _assigned(distances: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of rows and columns whose distances have the least sum."""
    if distances.size == 1:
        return [(0, 0)]
    # Pairs out of reach all cost the same, so that they never displace a good pair.
    costs = np.minimum(distances, _MAX_DISTANCE * 10)
    if len(costs) <= costs.shape[1]:
        return list(enumerate(_columns_of_rows(costs)))
    return [(row, column) for column, row in enumerate(_columns_of_rows(costs.T))]


def _columns_of_rows(costs: np.ndarray) -> list[int]:
    """Return each row's column in the assignment of least cost (R, C), R <= C.

    Row by row, along the cheapest augmenting path (Hungarian method by shortest augmenting paths, Jonker
    and Volgenant 1987). SciPy has it too, but takes half a second to import and is not part of a small
    installation.
    """
    num_columns = costs.shape[1]
    of_row, of_column = np.zeros(len(costs)), np.zeros(num_columns)  # the dual prices
    row_of = np.full(num_columns, -1)
    for start in range(len(costs)):
        cheapest, before = np.full(num_columns, np.inf), np.full(num_columns, -1)
        is_done = np.zeros(num_columns, bool)
        row, column, path_cost = start, -1, 0.0
        while row >= 0:
            reached = path_cost + costs[row] - of_row[row] - of_column
            is_better = ~is_done & (reached < cheapest)
            cheapest[is_better], before[is_better] = reached[is_better], column
            column = int(np.argmin(np.where(is_done, np.inf, cheapest)))
            is_done[column], path_cost, row = True, cheapest[column], row_of[column]
        slack = path_cost - cheapest[is_done]
        has_row = is_done & (row_of >= 0)
        of_row[start] += path_cost
        of_row[row_of[has_row]] += path_cost - cheapest[has_row]
        of_column[is_done] -= slack
        while column >= 0:
            previous = int(before[column])
            row_of[column] = start if previous < 0 else row_of[previous]
            column = previous
    return [int(np.flatnonzero(row_of == row)[0]) for row in range(len(costs))]
