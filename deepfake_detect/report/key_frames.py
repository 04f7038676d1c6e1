"""What a report shows of a scored clip: its file, its frames and its most telling faces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.errors import OptionError, VideoError
from deepfake_detect.explanation.crops import explain_crops
from deepfake_detect.faces import FaceDetector, default_min_face
from deepfake_detect.faces.crops import crop_face
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.records import ClipResult, Face, FaceScore, Frame, VideoMetadata
from deepfake_detect.report.clip import ClipEvidence, Moment
from deepfake_detect.video import read_frames, read_metadata

_NUM_MOMENTS = 3  # of each kind and person
_MOST_PEOPLE = 4
_MOST_THUMBNAILS = 64
_THUMBNAIL_WIDTH = 192
_LEAST_FACE = 12.0  # that can be found at all
# Two moments of one kind lie at least this share of the clip apart, so that they are not the same one.
_LEAST_DISTANCE = 1 / 16


@dataclass(frozen=True)
class _Chosen:
    """A sampling of frames that were sampled before."""

    indices: tuple[int, ...]

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> list[int]:
        return [index for index in self.indices if index < metadata.num_frames]


@dataclass(frozen=True, eq=False)
class _Pick:
    """A face that a report will show."""

    frame_index: int
    time_seconds: float
    face: FaceScore
    is_suspicious: bool


def collect_key_frames(
    detector: TorchDetector, score: ClipResult, *, on_step: Callable[[str], None] = lambda step: None
) -> ClipEvidence:
    """Read a scored clip once more for what a report shows of it.

    Args:
        detector: The one that spoke.
        score: What it said.
        on_step: Called with what is being done.

    Raises:
        VideoError: The clip can no longer be read, or was changed since it was scored.
    """
    on_step("reading the faces")
    picks = pick_moments(score)
    of_frame: dict[int, list[_Pick]] = {}
    for pick in picks:
        of_frame.setdefault(pick.frame_index, []).append(pick)
    shown = _evenly([frame.frame_index for frame in score.frames], _MOST_THUMBNAILS)
    wanted = _Chosen(tuple(sorted({*of_frame, *shown})))
    metadata = read_metadata(score.video)
    finder = _finder(detector, picks, metadata) if detector.config.geometry.aligned else None
    thumbnails, crops = {}, {}
    frames = read_frames(score.video, sampling=wanted, allow_truncated=True)
    with closing(frames):
        for frame in frames:
            if frame.frame_index in shown:
                thumbnails[frame.frame_index] = _small(frame.image)
            for pick in of_frame.get(frame.frame_index, []):
                face = _found(frame, pick.face, finder)
                crops[id(pick)] = crop_face(frame.image, face, detector.config.geometry)
    if missing := [pick for pick in picks if id(pick) not in crops]:
        raise VideoError(score.video, f"has no frame {missing[0].frame_index} any more", "score it again")
    on_step("drawing heat maps")
    moments, why_no_maps = _explained(detector, picks, [crops[id(pick)] for pick in picks])
    on_step("hashing the file")
    sha256 = sha256_of_file(score.video)
    score.check_file()  # the report vouches for the very bytes that were judged
    return ClipEvidence(
        metadata=metadata,
        num_bytes=Path(score.video).stat().st_size,
        sha256=sha256,
        made_at=datetime.now(timezone.utc),
        moments=moments,
        why_no_maps=why_no_maps,
        thumbnails=thumbnails,
        detector_facts=_facts(detector),
    )


def pick_moments(score: ClipResult) -> list[_Pick]:
    """Return each person's most suspicious and most trustworthy faces, some way apart."""
    people = sorted(score.tracks, key=lambda track: (not track.decides, -track.num_frames))
    picks: list[_Pick] = []
    for person in people[:_MOST_PEOPLE]:
        faces = [
            (frame.frame_index, frame.time_seconds, face)
            for frame in score.frames
            for face in frame.faces
            if face.track_id == person.track_id
        ]
        faces.sort(key=lambda one: -one[2].fake_probability)
        span = score.frames[-1].frame_index - score.frames[0].frame_index
        suspicious = _apart(faces[: -(-len(faces) // 2)], span * _LEAST_DISTANCE)
        trustworthy = _apart(faces[-(-len(faces) // 2) :][::-1], span * _LEAST_DISTANCE)
        picks += [_Pick(*one, is_suspicious=True) for one in suspicious]
        picks += [_Pick(*one, is_suspicious=False) for one in trustworthy]
    return picks


def _apart(
    faces: Iterable[tuple[int, float, FaceScore]], distance: float
) -> list[tuple[int, float, FaceScore]]:
    """Return the first few that are no nearer to one another than a distance in frames."""
    chosen: list[tuple[int, float, FaceScore]] = []
    for one in faces:
        if all(abs(one[0] - other[0]) >= distance for other in chosen):
            chosen.append(one)
        if len(chosen) == _NUM_MOMENTS:
            break
    return chosen


def _evenly(indices: Sequence[int], count: int) -> set[int]:
    places = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    return {indices[place] for place in places}


def _small(image: np.ndarray) -> np.ndarray:
    height = max(1, round(image.shape[0] * _THUMBNAIL_WIDTH / image.shape[1]))
    return cv2.resize(image, (_THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)


def _finder(detector: TorchDetector, picks: Sequence[_Pick], metadata: VideoMetadata) -> FaceDetector:
    """Return a face detector that finds faces as small as those that were scored."""
    sides = [float((pick.face.box_xyxy[2:] - pick.face.box_xyxy[:2]).max()) for pick in picks]
    usual = default_min_face(metadata.height, metadata.width)
    return FaceDetector(device=detector.device, min_face=max(_LEAST_FACE, min([usual, *sides])))


def _found(frame: Frame, face: FaceScore, finder: FaceDetector | None) -> Face:
    """Return a scored face as the crop needs it; where crops are turned, landmarks are found again."""
    level = Face(face.box_xyxy, face.detection_score, np.zeros((5, 2), np.float32))
    if finder is None:
        return level
    # In a clip a face may have been followed to where it is not found in one frame alone.
    return min(
        (one for one in finder.detect(frame.image) if _distance(one, face) < 0.5),
        key=lambda one: _distance(one, face),
        default=level,
    )


def _distance(found: Face, scored: FaceScore) -> float:
    """Return how far apart the middles of two boxes are, in sides of the second."""
    box = scored.box_xyxy
    between = (found.box_xyxy[:2] + found.box_xyxy[2:] - box[:2] - box[2:]) / 2
    return float((np.abs(between) / (box[2:] - box[:2])).max())


def _explained(
    detector: TorchDetector, picks: Sequence[_Pick], crops: Sequence[np.ndarray]
) -> tuple[tuple[Moment, ...], str]:
    """Return the moments, with heat maps where the network has them, else why not."""
    overlays: list[np.ndarray | None] = [None] * len(picks)
    reason = ""
    try:
        for track in dict.fromkeys(pick.face.track_id for pick in picks):
            numbers = [number for number, pick in enumerate(picks) if pick.face.track_id == track]
            for one in explain_crops(detector, [crops[number] for number in numbers], show_progress=False):
                overlays[numbers[one.position]] = one.overlay
    except OptionError as error:
        reason = str(error)
    moments = tuple(
        Moment(
            track_id=pick.face.track_id,
            frame_index=pick.frame_index,
            time_seconds=pick.time_seconds,
            fake_probability=pick.face.fake_probability,
            is_suspicious=pick.is_suspicious,
            crop=crop,
            overlay=overlay,
        )
        for pick, crop, overlay in zip(picks, crops, overlays, strict=True)
    )
    return moments, reason


def _facts(detector: TorchDetector) -> tuple[tuple[str, str], ...]:
    """Return what a detector is, in rows of name and value."""
    config = detector.config
    size = config.model.preprocessing.image_size
    facts = [
        (
            "network",
            f"{config.model.backbone}, input {size} x {size} pixels, computed in {detector.precision}",
        ),
        ("crop", f"{config.geometry.margin:g} times the face box{', turned' * config.geometry.aligned}"),
    ]
    training = config.training
    if {"datasets", "num_train_crops"} <= training.keys():
        datasets = ", ".join(map(str, training["datasets"]))
        facts.append(("trained on", f"{training['num_train_crops']:,} faces of {datasets}"))
    return tuple(facts)
