"""Frames in, tracked face crops out: the part that extraction and scoring share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_detect.faces.crops import check_geometry, crop_face
from deepfake_detect.faces.detector import FaceDetector
from deepfake_detect.faces.tracking import Tracker
from deepfake_detect.records import CropGeometry, Face, Frame

# A track counts as a person if at least one of its faces has this detection score: a background
# pattern mistaken for a face could decide a clip. Other faces of the person may have lower scores, as
# in the dark.
_CONFIRMING_SCORE = 0.9


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face, its track, and its crop: RGB uint8 (S, S, 3) at the frame's resolution."""

    face: Face
    track_id: int
    crop: np.ndarray


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A sampled frame without its pixels: its position in the clip, and its faces."""

    frame_index: int
    time_seconds: float
    faces: tuple[TrackedFace, ...]


class TrackedCropper:
    """Links and crops the detected faces of one clip, frame by frame in order.

    Args:
        geometry: Margin and alignment of the crops.
        others: Further geometries, of :meth:`follow_each`.

    Raises:
        OptionError: The margin is outside 0.5 to 4.

    Example:
        >>> frame = Frame(np.zeros((90, 90, 3), np.uint8), 0, 0.0)
        >>> face = Face(np.float32([20, 20, 50, 60]), 1.0, np.zeros((5, 2), np.float32))
        >>> TrackedCropper(CropGeometry()).follow(frame, [face]).faces[0].crop.shape
        (52, 52, 3)
    """

    def __init__(self, geometry: CropGeometry, *others: CropGeometry) -> None:
        self._geometries = (geometry, *others)
        for one in self._geometries:
            check_geometry(one)
        self._tracker = Tracker()

    def follow(self, frame: Frame, faces: Sequence[Face]) -> TrackedFrame:
        """Return the next frame's faces with their tracks and crops, in the order given."""
        return self.follow_each(frame, faces)[0]

    def follow_each(self, frame: Frame, faces: Sequence[Face]) -> tuple[TrackedFrame, ...]:
        """Return the next frame once for each geometry, with the same tracks."""
        track_ids = self._tracker.update(faces)
        return tuple(
            TrackedFrame(
                frame.frame_index,
                frame.time_seconds,
                tuple(
                    TrackedFace(face, track_id, crop_face(frame.image, face, geometry))
                    for face, track_id in zip(faces, track_ids, strict=True)
                ),
            )
            for geometry in self._geometries
        )


def track_faces(
    frames: Iterable[Frame], *, detector: FaceDetector, geometry: CropGeometry
) -> Iterator[TrackedFrame]:
    """Detect, link and crop the faces of a clip's frames in order, a few in memory at a time.

    Every detection is yielded; :func:`confirmed_tracks` then returns the tracks that are people.

    Yields:
        One record per frame, also for frames without a face.

    Raises:
        OptionError: The margin is outside 0.5 to 4.
    """
    for (followed,) in track_faces_for(frames, detector=detector, geometries=[geometry]):
        yield followed


def track_faces_for(
    frames: Iterable[Frame], *, detector: FaceDetector, geometries: Sequence[CropGeometry]
) -> Iterator[tuple[TrackedFrame, ...]]:
    """Detect and link faces once, as :func:`track_faces` does, and crop them in several ways.

    Yields:
        For each frame one record per geometry, in their order; the records differ in the crops only.
    """
    cropper = TrackedCropper(*geometries)
    held: deque[Frame] = deque()  # read, with their faces not yet detected

    def images() -> Iterator[np.ndarray]:
        for frame in frames:
            held.append(frame)
            del frame  # large ones are in memory no longer than needed
            yield held[-1].image

    for faces in detector.detect_each(images()):
        yield cropper.follow_each(held.popleft(), faces)


def confirmed_tracks(detections: Iterable[tuple[int, float]]) -> set[int]:
    """Return the tracks that are people: those with at least one detection score of 0.9 or more.

    Args:
        detections: Track number and detection score (0 to 1) of every face of the clip.

    Example:
        >>> confirmed_tracks([(0, 0.75), (0, 0.97), (1, 0.8)])
        {0}
    """
    return {track_id for track_id, score in detections if score >= _CONFIRMING_SCORE}
