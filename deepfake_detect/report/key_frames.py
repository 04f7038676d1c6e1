"""Key frames of a scored clip for its report: the most and least suspicious faces, with heat maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deepfake_detect.errors import OptionError, VideoError
from deepfake_detect.faces.crops import crop_face
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.records import ClipResult, CropGeometry, Face, FaceScore, Frame, VideoMetadata
from deepfake_detect.video import read_frames, read_metadata

if TYPE_CHECKING:
    # Without heat maps a report needs no PyTorch.
    from deepfake_detect.faces import TorchMtcnnDetector
    from deepfake_detect.models.detector import BaseDetector
    from deepfake_detect.models.inference import TorchDetector

_NUM_FACES = 3  # of each kind and person
_MAX_PEOPLE = 4
_MAX_THUMBNAILS = 64
_THUMBNAIL_WIDTH = 192
_MIN_FACE = 12.0  # smallest side in pixels that the face detector finds
# Faces of one kind are at least this fraction of the clip apart, so that they differ.
_MIN_DISTANCE = 1 / 16


@dataclass(frozen=True, eq=False)
class KeyFace:
    """A face worth looking at.

    Attributes:
        track_id: Of the person.
        frame_index, time_seconds: Of the frame.
        fake_probability: Of this face, 0 to 1.
        is_suspicious: Whether it is among the most suspicious, else among the least suspicious.
        crop: RGB uint8 (S, S, 3), as the detector saw it.
        heat_map: The crop with a heat map over it; ``None`` without one.
    """

    track_id: int
    frame_index: int
    time_seconds: float
    fake_probability: float
    is_suspicious: bool
    crop: np.ndarray
    heat_map: np.ndarray | None


@dataclass(frozen=True, eq=False)
class KeyFrames:
    """Content of a report on a clip in addition to its result.

    Attributes:
        metadata: Of the file.
        num_bytes, sha256: Of the file.
        created_at: Time of creation, with a time zone.
        faces: The most and least suspicious faces.
        why_no_heat_maps: Reason for missing heat maps; empty where there are some.
        thumbnails: Small versions of the sampled frames, RGB uint8 (H, W, 3), by frame index.
        detector_facts: Rows of name and value.
    """

    metadata: VideoMetadata
    num_bytes: int
    sha256: str
    created_at: datetime
    faces: tuple[KeyFace, ...]
    why_no_heat_maps: str
    thumbnails: Mapping[int, np.ndarray]
    detector_facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Chosen:
    """Sampling of given frames."""

    indices: tuple[int, ...]

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> list[int]:
        return [index for index in self.indices if index < metadata.num_frames]


@dataclass(frozen=True, eq=False)
class _Pick:
    """A face chosen for the report."""

    frame_index: int
    time_seconds: float
    face: FaceScore
    is_suspicious: bool


def collect_key_frames(
    result: ClipResult,
    detector: BaseDetector | None = None,
    *,
    on_step: Callable[[str], None] = lambda step: None,
) -> KeyFrames:
    """Read a scored clip again and collect what its report shows.

    Args:
        result: Of a clip that is still at ``result.video``.
        detector: The detector that scored it; the heat maps are computed with it. No heat maps
            when ``None``.
        on_step: Called with a description of each step.

    Raises:
        VideoError: The clip can no longer be read, or has changed since it was scored.
        OptionError: The detector is another one than the one that scored the clip.
    """
    explainer, reason = None, "no detector was passed to compute them"
    if detector is not None:
        _check_same_detector(detector, result)
        explainer, reason = _explainer(detector)
    on_step("reading the faces")
    picks = pick_faces(result)
    metadata = read_metadata(result.video)
    thumbnails, crops = _read_images(result, picks, metadata, detector, explainer)
    heat_maps = _no_heat_maps(picks)
    if explainer is not None:
        on_step("computing heat maps")
        heat_maps, reason = _heat_maps(explainer, picks, crops)
    on_step("hashing the file")
    sha256 = sha256_of_file(result.video)
    result.check_file()  # the hash in the report must be that of the file that was scored
    return KeyFrames(
        metadata=metadata,
        num_bytes=Path(result.video).stat().st_size,
        sha256=sha256,
        created_at=datetime.now(timezone.utc),
        faces=tuple(map(_key_face, picks, crops, heat_maps)),
        why_no_heat_maps=reason,
        thumbnails=thumbnails,
        detector_facts=() if explainer is None else _detector_facts(explainer),
    )


def pick_faces(result: ClipResult) -> list[_Pick]:
    """Return each person's most and least suspicious faces, with some distance between them."""
    people = sorted(result.tracks, key=lambda track: (not track.decides, -track.num_frames))
    picks: list[_Pick] = []
    for person in people[:_MAX_PEOPLE]:
        faces = [
            (frame.frame_index, frame.time_seconds, face)
            for frame in result.frames
            for face in frame.faces
            if face.track_id == person.track_id
        ]
        faces.sort(key=lambda one: -one[2].fake_probability)
        distance = (result.frames[-1].frame_index - result.frames[0].frame_index) * _MIN_DISTANCE
        middle = -(-len(faces) // 2)
        picks += [_Pick(*one, is_suspicious=True) for one in _apart(faces[:middle], distance)]
        picks += [_Pick(*one, is_suspicious=False) for one in _apart(faces[middle:][::-1], distance)]
    return picks


def _apart(
    faces: Iterable[tuple[int, float, FaceScore]], distance: float
) -> list[tuple[int, float, FaceScore]]:
    """Return the first few that are at least a distance in frames apart."""
    chosen: list[tuple[int, float, FaceScore]] = []
    for one in faces:
        if all(abs(one[0] - other[0]) >= distance for other in chosen):
            chosen.append(one)
        if len(chosen) == _NUM_FACES:
            break
    return chosen


def _explainer(detector: BaseDetector) -> tuple[TorchDetector | None, str]:
    """Return the detector in PyTorch, or why there is none: heat maps need its gradients."""
    from deepfake_detect.runtimes import torch_detector

    try:
        return torch_detector(detector, purpose="heat maps"), ""  # the bundled one from its torch file
    except OptionError as error:
        return None, f"{error.cause}; {error.remedy}"


def _check_same_detector(detector: BaseDetector, result: ClipResult) -> None:
    given = (detector.config.name, detector.config.version)
    if given != (result.detector.name, result.detector.version):
        raise OptionError(
            "detector",
            f"is {' '.join(given)}; the clip was scored by {result.detector.name} {result.detector.version}",
            "pass that detector",
        )


def _read_images(
    result: ClipResult,
    picks: Sequence[_Pick],
    metadata: VideoMetadata,
    detector: BaseDetector | None,
    explainer: TorchDetector | None,
) -> tuple[dict[int, np.ndarray], list[np.ndarray]]:
    """Decode the clip once; return thumbnails by frame index, and the crops of the picks in order."""
    picks_of_frame: dict[int, list[_Pick]] = {}
    for pick in picks:
        picks_of_frame.setdefault(pick.frame_index, []).append(pick)
    shown = _evenly([frame.frame_index for frame in result.frames], _MAX_THUMBNAILS)
    wanted = _Chosen(tuple(sorted({*picks_of_frame, *shown})))
    geometry = CropGeometry() if detector is None else detector.config.geometry
    finder = (
        _face_detector(explainer, picks, metadata) if explainer is not None and geometry.aligned else None
    )
    thumbnails, crops = {}, {}
    frames = read_frames(result.video, sampling=wanted, allow_truncated=True)
    with closing(frames):
        for frame in frames:
            if frame.frame_index in shown:
                thumbnails[frame.frame_index] = _small(frame.image)
            for pick in picks_of_frame.get(frame.frame_index, []):
                crops[id(pick)] = crop_face(frame.image, _found(frame, pick.face, finder), geometry)
    if missing := [pick for pick in picks if id(pick) not in crops]:
        raise VideoError(result.video, f"has no frame {missing[0].frame_index} any more", "score it again")
    return thumbnails, [crops[id(pick)] for pick in picks]


def _evenly(indices: Sequence[int], count: int) -> set[int]:
    positions = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    return {indices[position] for position in positions}


def _small(image: np.ndarray) -> np.ndarray:
    height = max(1, round(image.shape[0] * _THUMBNAIL_WIDTH / image.shape[1]))
    return cv2.resize(image, (_THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)


def _face_detector(
    detector: TorchDetector, picks: Sequence[_Pick], metadata: VideoMetadata
) -> TorchMtcnnDetector:
    """Return a face detector that finds faces as small as those that were scored."""
    from deepfake_detect.faces import TorchMtcnnDetector, default_min_face

    sides = [float((pick.face.box_xyxy[2:] - pick.face.box_xyxy[:2]).max()) for pick in picks]
    usual = default_min_face(metadata.height, metadata.width)
    return TorchMtcnnDetector(device=detector.device, min_face=max(_MIN_FACE, min([usual, *sides])))


def _found(frame: Frame, face: FaceScore, finder: TorchMtcnnDetector | None) -> Face:
    """Return a scored face for cropping; aligned crops need its landmarks, which are detected again."""
    level = Face(face.box_xyxy, face.detection_score, np.zeros((5, 2), np.float32))
    if finder is None:
        return level
    # Tracking may have followed a face to where detection in the single frame does not find it.
    return min(
        (one for one in finder.detect(frame.image) if _distance(one, face) < 0.5),
        key=lambda one: _distance(one, face),
        default=level,
    )


def _distance(found: Face, scored: FaceScore) -> float:
    """Return the distance between the centers of two boxes, in sides of the second."""
    box = scored.box_xyxy
    between = (found.box_xyxy[:2] + found.box_xyxy[2:] - box[:2] - box[2:]) / 2
    return float((np.abs(between) / (box[2:] - box[:2])).max())


def _no_heat_maps(picks: Sequence[_Pick]) -> list[np.ndarray | None]:
    return [None] * len(picks)


def _heat_maps(
    detector: TorchDetector, picks: Sequence[_Pick], crops: Sequence[np.ndarray]
) -> tuple[list[np.ndarray | None], str]:
    """Return the crops with heat maps over them, or why the model has none."""
    from deepfake_detect.explanation.crops import explain_crops

    heat_maps = _no_heat_maps(picks)
    try:
        for track_id in dict.fromkeys(pick.face.track_id for pick in picks):
            positions = [at for at, pick in enumerate(picks) if pick.face.track_id == track_id]
            for one in explain_crops(detector, [crops[at] for at in positions], show_progress=False):
                heat_maps[positions[one.index]] = one.overlay
    except OptionError as error:
        return _no_heat_maps(picks), str(error)
    return heat_maps, ""


def _key_face(pick: _Pick, crop: np.ndarray, heat_map: np.ndarray | None) -> KeyFace:
    return KeyFace(
        track_id=pick.face.track_id,
        frame_index=pick.frame_index,
        time_seconds=pick.time_seconds,
        fake_probability=pick.face.fake_probability,
        is_suspicious=pick.is_suspicious,
        crop=crop,
        heat_map=heat_map,
    )


def _detector_facts(detector: TorchDetector) -> tuple[tuple[str, str], ...]:
    """Return model, crop and training data in rows of name and value."""
    config = detector.config
    size = config.model.preprocessing.image_size
    facts = [
        (
            "model",
            f"{config.model.backbone}, input {size} x {size} pixels, computed in {detector.precision}",
        ),
        ("crop", f"{config.geometry.margin:g} times the face box{', aligned' * config.geometry.aligned}"),
    ]
    training = config.training
    if training.datasets is not None and training.num_train_crops is not None:
        datasets = ", ".join(training.datasets)
        facts.append(("trained on", f"{training.num_train_crops:,} faces of {datasets}"))
    return tuple(facts)
