"""Which face of one frame is whose in the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from deepfake_detect.records import Face

# A face may have moved by its own size, or grown by e, between sampled frames; sampled frames
# can be a second apart, where boxes of one person need not overlap, so overlap would not do.
_MAX_DISTANCE = 1.0
_MAX_FRAMES_UNSEEN = 5


@dataclass
class _OpenTrack:
    track_id: int
    box_xyxy: np.ndarray
    last_seen: int


class Tracker:
    """Links faces to people, frame by frame in order.

    In each frame the faces are matched to the people seen last so that the sum of distances is
    least (Hungarian method); distance is the shift of the box centre over the box size plus the
    logarithm of the change of size. A face that fits nobody starts a new track; a person unseen
    for more than five frames is given up.

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
        track_ids: list[int | None] = [None] * len(faces)
        for row, column in self._matches(faces):
            track = self._open[column]
            track.box_xyxy, track.last_seen = faces[row].box_xyxy, self._num_frames
            track_ids[row] = track.track_id
        return [
            self._start(faces[row]) if track_id is None else track_id
            for row, track_id in enumerate(track_ids)
        ]

    def _matches(self, faces: Sequence[Face]) -> list[tuple[int, int]]:
        if not faces or not self._open:
            return []
        distances = np.array([[_distance(f.box_xyxy, t.box_xyxy) for t in self._open] for f in faces])
        # Pairs out of reach cost alike, so that they never push a good pair aside.
        rows, columns = linear_sum_assignment(np.minimum(distances, _MAX_DISTANCE * 10))
        return [(r, c) for r, c in zip(rows, columns, strict=True) if distances[r, c] <= _MAX_DISTANCE]

    def _start(self, face: Face) -> int:
        track = _OpenTrack(self._num_tracks, face.box_xyxy, self._num_frames)
        self._open.append(track)
        self._num_tracks += 1
        return track.track_id


def _distance(box: np.ndarray, other: np.ndarray) -> float:
    size = float(np.mean([box[2] - box[0], box[3] - box[1]]))
    other_size = float(np.mean([other[2] - other[0], other[3] - other[1]]))
    shift = np.hypot(*((box[:2] + box[2:]) - (other[:2] + other[2:]))) / 2
    mean_size = max((size + other_size) / 2, 1e-6)
    return float(shift / mean_size + abs(np.log(max(size, 1e-6) / max(other_size, 1e-6))))


def main_track(faces: Iterable[tuple[int, Face]]) -> int | None:
    """Return the track of the person seen largest and longest (greatest sum of box areas).

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
