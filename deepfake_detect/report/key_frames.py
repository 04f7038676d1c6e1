"""Key frames of a scored clip for its report: the most and least suspicious faces, with heat maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deepfake_detect.errors import OptionError, VideoError
from deepfake_detect.faces import FaceDetector, default_min_face
from deepfake_detect.faces.crops import crop_face
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.plurals import counted
from deepfake_detect.records import (
    ClipResult,
    CropGeometry,
    Face,
    FaceScore,
    Frame,
    FrameScore,
    VideoMetadata,
)
from deepfake_detect.video import read_frames, read_metadata
from deepfake_detect.video.limits import NO_LIMITS

if TYPE_CHECKING:
    # Without heat maps a report needs no PyTorch.
    from deepfake_detect.models.detector import BaseDetector
    from deepfake_detect.models.inference import TorchDetector

_NUM_FACES = 3  # of each kind and person
_MAX_PEOPLE = 4
_MAX_THUMBNAILS = 64
_THUMBNAIL_WIDTH = 320
_MAX_FRAMES = 3
_FRAME_WIDTH = 960
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
        frames: Larger ones of a few frames that show every person, by frame index.
        detector_facts: Rows of name and value.
    """

    metadata: VideoMetadata
    num_bytes: int
    sha256: str
    created_at: datetime
    faces: tuple[KeyFace, ...]
    why_no_heat_maps: str
    thumbnails: Mapping[int, np.ndarray]
    frames: Mapping[int, np.ndarray]
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
class Pick:
    """A face chosen for the report, in its frame."""

    frame: FrameScore
    face: FaceScore
    is_suspicious: bool

    @property
    def frame_index(self) -> int:
        """Index of the frame."""
        return self.frame.frame_index


def collect_key_frames(
    result: ClipResult,
    detector: BaseDetector | None = None,
    *,
    on_step: Callable[[str], None] = lambda step: None,
) -> KeyFrames:
    """Read a scored clip again and collect the images for its report.

    Args:
        result: Of a clip that is still at ``result.video``.
        detector: The detector that scored it; the heat maps are computed with it. No heat maps
            when ``None``.
        on_step: Called with a description of each step.

    Raises:
        VideoError: The clip can no longer be read, or has changed since it was scored.
        OptionError: The detector is not the one that scored the clip.
    """
    explainer, reason = None, "no detector was passed to compute them"
    if detector is not None:
        explainer, reason = _explainer(detector, result)
    on_step("reading the faces")
    picks = pick_faces(result)
    metadata = read_metadata(result.video, limits=NO_LIMITS)
    thumbnails, frames, crops = _read_images(result, picks, metadata, detector)
    heat_maps: list[np.ndarray | None] = [None] * len(picks)
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
        faces=tuple(
            KeyFace(
                track_id=pick.face.track_id,
                frame_index=pick.frame.frame_index,
                time_seconds=pick.frame.time_seconds,
                fake_probability=pick.face.fake_probability,
                is_suspicious=pick.is_suspicious,
                crop=crop,
                heat_map=heat_map,
            )
            for pick, crop, heat_map in zip(picks, crops, heat_maps, strict=True)
        ),
        why_no_heat_maps=reason,
        thumbnails=thumbnails,
        frames=frames,
        detector_facts=() if explainer is None else _detector_facts(explainer),
    )


def pick_faces(result: ClipResult) -> list[Pick]:
    """Return each person's most and least suspicious faces, with some distance between them."""
    people = sorted(result.tracks, key=lambda track: (not track.decides, -track.num_frames))
    picks: list[Pick] = []
    for person in people[:_MAX_PEOPLE]:
        faces = [
            (frame, face)
            for frame in result.frames
            for face in frame.faces
            if face.track_id == person.track_id
        ]
        faces.sort(key=lambda one: -one[1].fake_probability)
        distance = (result.frames[-1].frame_index - result.frames[0].frame_index) * _MIN_DISTANCE
        middle = -(-len(faces) // 2)
        for is_suspicious, ordered in ((True, faces[:middle]), (False, faces[middle:][::-1])):
            chosen: list[Pick] = []
            for frame, face in ordered:
                apart = [abs(frame.frame_index - one.frame.frame_index) >= distance for one in chosen]
                if all(apart) and len(chosen) < _NUM_FACES:
                    chosen.append(Pick(frame, face, is_suspicious))
            picks += chosen
    return picks


def frames_with_everybody(result: ClipResult) -> list[int]:
    """Return the indices of a few frames that together show as many people as they can, in order of time.

    One of them shows the person who decides, most suspicious.
    """
    deciding = {track.track_id for track in result.tracks if track.decides}
    missing = {track.track_id for track in result.tracks}
    chosen: list[int] = []

    def worth(frame: FrameScore) -> tuple[bool, int, float]:
        new = [face for face in frame.faces if face.track_id in missing]
        first = [face for face in new if face.track_id in deciding]
        return bool(first), len(new), max((face.fake_probability for face in first or new), default=0.0)

    while len(chosen) < _MAX_FRAMES:
        best = max(result.frames, key=worth, default=None)
        if best is None or not worth(best)[1]:
            break
        chosen.append(best.frame_index)
        missing -= {face.track_id for face in best.faces}
    return sorted(chosen)


def _explainer(detector: BaseDetector, result: ClipResult) -> tuple[TorchDetector | None, str]:
    """Return the detector in PyTorch, or why there is none: heat maps need its gradients."""
    from deepfake_detect.runtimes import torch_detector

    config, scored = detector.config, result.detector
    if (config.name, config.version) != (scored.name, scored.version):
        cause = f"is {config.name} {config.version}; the clip was scored by {scored.name} {scored.version}"
        raise OptionError("detector", cause, "pass that detector")
    try:
        return torch_detector(detector, purpose="heat maps"), ""  # the bundled one from its torch file
    except OptionError as error:
        return None, f"{error.cause}; {error.remedy}"


def _read_images(
    result: ClipResult,
    picks: Sequence[Pick],
    metadata: VideoMetadata,
    detector: BaseDetector | None,
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray], list[np.ndarray]]:
    """Decode the clip once; return thumbnails and frames by index, and the crops of the picks in order."""
    sampled = [frame.frame_index for frame in result.frames]
    evenly = np.linspace(0, len(sampled) - 1, min(_MAX_THUMBNAILS, len(sampled))).round().astype(int)
    shown = {sampled[position] for position in evenly}
    whole = frames_with_everybody(result) or sampled[:: -(-len(sampled) // _MAX_FRAMES)]
    wanted = _Chosen(tuple(sorted({pick.frame.frame_index for pick in picks} | shown | {*whole})))
    geometry = CropGeometry() if detector is None else detector.config.geometry
    finder = _face_detector(detector, picks, metadata) if detector and geometry.aligned else None
    thumbnails, large = {}, {}
    crops: list[np.ndarray | None] = [None] * len(picks)
    with closing(
        read_frames(result.video, sampling=wanted, allow_truncated=True, limits=NO_LIMITS)
    ) as frames:
        for frame in frames:
            index = frame.frame_index
            if index in shown:
                thumbnails[index] = _scaled_down(frame.image, _THUMBNAIL_WIDTH)
            if index in whole:
                large[index] = _scaled_down(frame.image, _FRAME_WIDTH)
            for number, pick in enumerate(picks):
                if pick.frame.frame_index == index:
                    crops[number] = crop_face(frame.image, _found(frame, pick.face, finder), geometry)
    for pick, crop in zip(picks, crops, strict=True):
        if crop is None:
            index = pick.frame.frame_index
            raise VideoError(result.video, f"has no frame {index} any more", "score it again")
    return thumbnails, large, [crop for crop in crops if crop is not None]


def _scaled_down(image: np.ndarray, width: int) -> np.ndarray:
    if image.shape[1] <= width:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _face_detector(detector: BaseDetector, picks: Sequence[Pick], metadata: VideoMetadata) -> FaceDetector:
    """Return the face detector of the scoring, which finds faces as small as those that were scored."""
    from deepfake_detect.runtimes.faces import face_finder
    from deepfake_detect.runtimes.load import RuntimeDetector

    sides = [float((pick.face.box_xyxy[2:] - pick.face.box_xyxy[:2]).max()) for pick in picks]
    usual = default_min_face(metadata.height, metadata.width)
    min_face = max(_MIN_FACE, min([usual, *sides]))
    if isinstance(detector, RuntimeDetector):
        return face_finder(detector.runtime, num_threads=detector.num_threads, min_face=min_face)
    from deepfake_detect.faces import MtcnnDetector
    from deepfake_detect.runtimes import torch_detector

    device = torch_detector(detector, purpose="faces").device
    return MtcnnDetector(device=device, min_face=min_face)


def _found(frame: Frame, face: FaceScore, finder: FaceDetector | None) -> Face:
    """Return a scored face for cropping; aligned crops need its landmarks, which are detected again."""
    level = Face(face.box_xyxy, face.detection_score, np.zeros((5, 2), np.float32))
    if finder is None:
        return level
    box = face.box_xyxy

    def distance(found: Face) -> float:  # between the centers, in sides of the scored box
        between = (found.box_xyxy[:2] + found.box_xyxy[2:] - box[:2] - box[2:]) / 2
        return float((np.abs(between) / (box[2:] - box[:2])).max())

    # Tracking may have followed a face to where detection in the single frame does not find it.
    return min(
        (one for one in finder.detect(frame.image) if distance(one) < 0.5), key=distance, default=level
    )


def _heat_maps(
    detector: TorchDetector, picks: Sequence[Pick], crops: Sequence[np.ndarray]
) -> tuple[list[np.ndarray | None], str]:
    """Return the crops with heat maps over them, or why the model has none."""
    from deepfake_detect.explanation.crops import explain_crops

    heat_maps: list[np.ndarray | None] = [None] * len(picks)
    try:
        for track_id in dict.fromkeys(pick.face.track_id for pick in picks):
            positions = [at for at, pick in enumerate(picks) if pick.face.track_id == track_id]
            for one in explain_crops(detector, [crops[at] for at in positions], show_progress=False):
                heat_maps[positions[one.index]] = one.overlay
    except OptionError as error:
        return [None] * len(picks), str(error)
    return heat_maps, ""


def _detector_facts(detector: TorchDetector) -> tuple[tuple[str, str], ...]:
    """Return model, crop and training data in rows of name and value."""
    config, training = detector.config, detector.config.training
    size = config.model.preprocessing.image_size
    model = f"{config.model.backbone}, input {size} x {size} pixels, computed in {detector.precision}"
    crop = f"{config.geometry.margin:g} times the face box{', aligned' * config.geometry.aligned}"
    facts = [("model", model), ("crop", crop)]
    if training.datasets is not None and training.num_train_crops is not None:
        faces = f"{counted(training.num_train_crops, 'face')} of {', '.join(training.datasets)}"
        facts.append(("trained on", faces))
    return tuple(facts)
