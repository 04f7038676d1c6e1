"""The people of a clip: one series of times, probabilities and boxes per track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake_detect.records import ClipResult, TrackScore
from deepfake_detect.report.words import person


@dataclass(frozen=True, eq=False)
class PersonSeries:
    """One person over a clip.

    Attributes:
        track: The track's score.
        frame_indices: int (N,), the sampled frames that show the person.
        times_seconds: float (N,); NaN in a still image.
        boxes_xyxy: float (N, 4), in pixels.
        probabilities: float (N,), fake probability of each face.
    """

    track: TrackScore
    frame_indices: np.ndarray
    times_seconds: np.ndarray
    boxes_xyxy: np.ndarray
    probabilities: np.ndarray

    @property
    def name(self) -> str:
        """Name of the person for readers, such as ``"person 1"``."""
        return person(self.track.track_id)


def people_of(result: ClipResult) -> tuple[PersonSeries, ...]:
    """Return the people of a clip in the order of its tracks.

    Args:
        result: A scored clip.
    """
    people = []
    for track in result.tracks:
        seen = [
            (frame, face)
            for frame in result.frames
            for face in frame.faces
            if face.track_id == track.track_id
        ]
        people.append(
            PersonSeries(
                track,
                np.array([frame.frame_index for frame, _ in seen]),
                np.array([frame.time_seconds for frame, _ in seen]),
                np.array([face.box_xyxy for _, face in seen]),
                np.array([face.fake_probability for _, face in seen]),
            )
        )
    return tuple(people)
