"""Clip -> verdict with any runtime: frames, faces, people, probabilities, one verdict."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import aggregate_clip, check_rule, clip_faces, frames_interval
from deepfake_detect.faces import FaceDetector, TrackedFrame, confirmed_tracks, track_faces
from deepfake_detect.images import rgb_uint8
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.records import (
    ClipResult,
    DetectorInfo,
    FaceScore,
    FileFacts,
    Frame,
    FrameScore,
    TrackScore,
    Verdict,
    modified_time,
)
from deepfake_detect.scoring.inputs import VideoInput, local_file
from deepfake_detect.scoring.options import ScoringOptions, Segments
from deepfake_detect.scoring.quality import (
    Clip,
    file_warnings,
    quality_warnings,
    rule_warnings,
    sharpness_of,
)
from deepfake_detect.scoring.segments import (
    frames_to_add,
    suspicious_parts,
    with_known_people,
    with_segments,
)
from deepfake_detect.video import DecodingLimits, EvenlySpaced, FrameList, Sampling, VideoReader
from deepfake_detect.video.files import check_file, checked_path
from deepfake_detect.video.limits import DEFAULT_LIMITS

_BATCH_SIZE = 32
Scored = tuple[tuple[FrameScore, ...], ...]
"""The scored frames of a clip, with the faces of people only: once for each opinion on it."""


class FrameScorer:
    """Scores the faces of a clip's frames in batches, keeping at most one batch of crops in memory."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._pending: list[TrackedFrame] = []
        self._scored: list[FrameScore] = []

    def add(self, frame: TrackedFrame) -> None:
        """Take the next frame."""
        self._pending.append(frame)
        if sum(len(one.faces) for one in self._pending) >= _BATCH_SIZE:
            self._score_pending()

    def finish(self) -> list[FrameScore]:
        """Return all frames, also with detections that never became certain enough to be a person."""
        self._score_pending()
        return self._scored

    def _score_pending(self) -> None:
        crops = [face.crop for frame in self._pending for face in frame.faces]
        probabilities = iter(self._detector.score_crops(crops).tolist())
        for frame in self._pending:
            self._scored.append(_frame_score(frame, [next(probabilities) for _ in frame.faces]))
        self._pending = []


class SequenceFrameScorer(FrameScorer):
    """Scores each track as a sequence; each of its faces gets the track's probability.

    The crops of all sampled frames are kept until the end of the clip.
    """

    def add(self, frame: TrackedFrame) -> None:
        """Take the next frame."""
        self._pending.append(frame)

    def _score_pending(self) -> None:
        crops: dict[int, list[np.ndarray]] = {}
        for frame in self._pending:
            for face in frame.faces:
                crops.setdefault(face.track_id, []).append(face.crop)
        found = {track: self._detector.score_sequence(of_track) for track, of_track in crops.items()}
        for frame in self._pending:
            self._scored.append(_frame_score(frame, [found[face.track_id] for face in frame.faces]))
        self._pending = []


class Detector(BaseDetector):
    """A detector that scores clips, images and face crops; made by :func:`load_detector`.

    Attributes:
        runtime: What runs its networks: ``"torch"``, ``"onnx"`` or ``"openvino"``.
        sha256: Of the detector's file, see :class:`records.DetectorInfo`.
    """

    runtime: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """Name and version."""
        return f"{self.config.name} {self.config.version}"

    @property
    def first(self) -> Detector:
        """The detector that heat maps are made with: itself; of a panel its first."""
        return self

    @property
    def is_on_gpu(self) -> bool:
        """Whether its networks run on a GPU, where several processes would slow one another down."""
        return False

    @abstractmethod
    def face_finder(self, min_face: float | None) -> FaceDetector:
        """Return the face detector, on the detector's own runtime and device.

        Raises:
            OptionError: ``min_face`` is below 12 pixels.
        """

    @abstractmethod
    def score_sequence(self, crops: Sequence[Any]) -> float:
        """Return the probability that one person's crops, in order, show a forged face."""

    def score_video(
        self,
        video: VideoInput,
        *,
        num_frames: int = ScoringOptions.num_frames,
        sampling: Sampling | None = None,
        aggregation_rule: str | None = ScoringOptions.aggregation_rule,
        min_face: float | None = ScoringOptions.min_face,
        allow_truncated: bool = ScoringOptions.allow_truncated,
        segments: Segments = ScoringOptions.segments,
        limits: DecodingLimits = DEFAULT_LIMITS,
        on_frame: Callable[[int], None] = lambda done: None,
    ) -> ClipResult:
        """Score a clip.

        Frames are sampled over the whole clip; faces are detected, tracked and scored, and their
        probabilities are aggregated. Default rule: the clip's score is the highest per-person mean,
        ignoring anyone visible in fewer than 25% as many frames as the most visible person.

        Args:
            video: A clip or a still image: its path, its bytes, or a binary file opened for reading.
            num_frames: Evenly spaced frames to score, from 1; all if the clip has fewer.
            sampling: Another choice of frames, such as ``video.AllFrames()``; replaces ``num_frames``.
            aggregation_rule: A name of ``evaluation.AGGREGATION_RULES``; the detector's own if ``None``.
            min_face: Side in pixels of the smallest face to detect; ``None`` is a tenth of the
                frame's shorter side.
            allow_truncated: Score the intact part of a clip with missing or damaged frames instead of
                raising; a warning in the result gives the fraction of bad frames.
            segments: ``"on"`` finds forged parts of the clip: where a person's scores step up or down, up to
                as many frames again are sampled, and a forged part makes the verdict fake. ``"off"``
                scores the clip as a whole.
            limits: Largest clip to decode.
            on_frame: Called with the number of finished frames.

        Returns:
            Verdict and numbers. A clip without a detectable face has no probability.

        Raises:
            VideoError: The file is missing, unreadable, damaged, truncated or beyond the limits, or was
                modified meanwhile.
            OptionError: An option is out of range.

        Example:
            >>> import deepfake_detect as dfd
            >>> result = dfd.load_detector().score_video("examples/demo.mp4", num_frames=2)
            >>> len(result.frames)
            2
        """
        faces = self.face_finder(min_face)
        policy = EvenlySpaced(num_frames) if sampling is None else sampling
        self.check_rule(aggregation_rule)  # before the work
        with local_file(video) as (path, name):
            path = checked_path("video", path)
            check_file(path)
            file = file_facts(path)
            reader = VideoReader(path, allow_truncated=allow_truncated, limits=limits)
            with closing(reader.frames(policy)) as frames:
                scored = self._score_faces(frames, faces, on_frame)
            metadata = reader.metadata
            bad_fraction = reader.bad_fraction if reader.is_damaged else None
            clip = Clip.from_metadata(
                metadata,
                num_bytes=file.size_bytes,
                bad_fraction=bad_fraction,
                num_in_gaps=reader.num_in_gaps,
            )

            def refined(detector: Detector, result: ClipResult) -> ClipResult:
                return detector._with_segments(result, reader, faces) if segments == "on" else result

            found = self._clip_result(str(path), scored, aggregation_rule, clip, refined=refined)
            result = replace(found, file=file, frame_size=(metadata.width, metadata.height))
            result.check_file()
        return result if name is None else replace(result, video=name, file=replace(file, modified_time=""))

    def _with_segments(self, result: ClipResult, reader: VideoReader, finder: FaceDetector) -> ClipResult:
        """Return a result with the forged parts of the clip, after a second look at suspicious ones."""
        frames, metadata = result.frames, reader.metadata
        if result.verdict == "score" or len(frames) < 2 or not math.isfinite(frames[-1].time_seconds):
            return result  # no calibrated levels, a still image, or frames without times
        # A sequence has one probability, so no part of it stands out.
        parts = [] if self.is_sequential else suspicious_parts(frames)
        extra: list[FrameScore] = []
        if wanted := frames_to_add(parts, frames):
            with closing(reader.frames(FrameList(tuple(wanted)))) as decoded:
                followed = track_faces(decoded, detector=finder, geometry=self.config.geometry)
                scorer = self.frame_scorer()
                for frame in followed:
                    scorer.add(frame)
                extra = scorer.finish()
        known = with_known_people(extra, frames)
        return with_segments(result, parts, known, end_seconds=metadata.duration_seconds)

    def score_image(
        self,
        image: Any,  # also PIL images, which need not be installed
        *,
        aggregation_rule: str | None = ScoringOptions.aggregation_rule,
        min_face: float | None = ScoringOptions.min_face,
    ) -> ClipResult:
        """Score a still image.

        Args:
            image: Path or bytes of an image file, a binary file opened for reading, a PIL image, or
                an RGB array (H, W, 3), uint8 or float in [0, 1].
            aggregation_rule, min_face: See :meth:`score_video`.

        Returns:
            As for a clip of one frame; ``video`` is the path, or ``"image"``.

        Raises:
            ImageError: The array is not an RGB image.
            VideoError: The file is missing or unreadable.

        Example:
            >>> import deepfake_detect as dfd
            >>> dfd.load_detector().score_image(np.zeros((90, 120, 3), np.uint8)).verdict
            'no_face'
        """
        options = {"aggregation_rule": aggregation_rule, "min_face": min_face}
        if isinstance(image, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(image, "read"):
            return self.score_video(image, num_frames=1, **options)  # type: ignore[arg-type]
        pixels = rgb_uint8(image, subject="image")
        return self.score_frames([pixels], frames_per_second=1.0, name="image", **options)  # type: ignore[arg-type]

    def score_frames(
        self,
        frames: Iterable[Any],
        *,
        frames_per_second: float,
        name: str = "frames",
        aggregation_rule: str | None = ScoringOptions.aggregation_rule,
        min_face: float | None = ScoringOptions.min_face,
        on_frame: Callable[[int], None] = lambda done: None,
    ) -> ClipResult:
        """Score all given frames, in order.

        Args:
            frames: RGB arrays (H, W, 3) of one clip, uint8 or float in [0, 1].
            frames_per_second: Frame rate, above 0; it gives the frames' times.
            name: Name of the clip in the result.
            aggregation_rule, min_face, on_frame: See :meth:`score_video`.

        Raises:
            ImageError: A frame is not an RGB image.
            OptionError: An option is out of range.

        Example:
            >>> import deepfake_detect as dfd
            >>> black = [np.zeros((90, 120, 3), np.uint8)] * 3
            >>> dfd.load_detector().score_frames(black, frames_per_second=25.0).frames[2].time_seconds
            0.08
        """
        if not frames_per_second > 0:
            raise OptionError("frames_per_second", f"is {frames_per_second}", "must be above 0")
        self.check_rule(aggregation_rule)
        sizes: list[tuple[int, int]] = []

        def numbered() -> Iterator[Frame]:
            for number, image in enumerate(frames):
                pixels = rgb_uint8(image, subject=f"frame {number}")
                sizes.append((pixels.shape[1], pixels.shape[0]))
                yield Frame(pixels, number, number / frames_per_second)

        scored = self._score_faces(numbered(), self.face_finder(min_face), on_frame)
        result = self._clip_result(name, scored, aggregation_rule, Clip(len(scored[0])))
        return replace(result, frame_size=sizes[0] if sizes else None)

    def check_options(self, *, num_frames: int, aggregation_rule: str | None, min_face: float | None) -> None:
        """Raise OptionError for options with which :meth:`score_video` would fail on every clip."""
        EvenlySpaced(num_frames)
        self.face_finder(min_face)
        self.check_rule(aggregation_rule)

    def info(self, aggregation_rule: str | None = None) -> DetectorInfo:
        """Return name, version, hash and decision rule, with an aggregation rule or the detector's own."""
        config = self.config
        return DetectorInfo(
            name=config.name,
            version=config.version,
            uncertain_low=config.uncertain_low,
            uncertain_high=config.uncertain_high,
            aggregation_rule=aggregation_rule or config.aggregation_rule,
            sha256=self.sha256,
            is_calibrated=config.is_calibrated,
        )

    def check_rule(self, aggregation_rule: str | None) -> None:
        """Raise OptionError for an aggregation rule that cannot be used; the detector's own if ``None``."""
        check_rule(aggregation_rule or self.config.aggregation_rule, self.config.plugins)

    def frame_scorer(self) -> FrameScorer:
        """Return what scores the faces of one clip, frame by frame."""
        return SequenceFrameScorer(self) if self.is_sequential else FrameScorer(self)

    def _score_faces(
        self, frames: Iterable[Frame], faces: FaceDetector, on_frame: Callable[[int], None]
    ) -> Scored:
        """Find, crop and score the faces of a clip's frames."""
        scorer = self.frame_scorer()
        followed = track_faces(frames, detector=faces, geometry=self.config.geometry)
        for number, frame in enumerate(followed, start=1):
            scorer.add(frame)
            on_frame(number)
        return (people_only(scorer.finish()),)

    def _clip_result(
        self,
        name: str,
        scored: Scored,
        aggregation_rule: str | None,
        clip: Clip,
        *,
        refined: Callable[[Detector, ClipResult], ClipResult] = lambda detector, result: result,
    ) -> ClipResult:
        """Return the result of scored frames, as a second look at the clip refines it."""
        (frames,) = scored
        return refined(self, self.result_of(name, frames, aggregation_rule, clip))

    def result_of(
        self, name: str, frames: tuple[FrameScore, ...], aggregation_rule: str | None, clip: Clip
    ) -> ClipResult:
        """Return the result of a clip's scored frames, with the faces of people only."""
        rule = aggregation_rule or self.config.aggregation_rule
        faces = [face for frame in frames for face in frame.faces]
        info = self.info(rule)
        if not faces:
            found_in_file = tuple(file_warnings(clip))
            return ClipResult(
                name, "no_face", None, 0, frames, (), info, warnings=found_in_file, runtime=self.runtime
            )
        of_faces: dict[str, Any] = {
            "track_ids": np.array([face.track_id for face in faces]),
            "probabilities": np.array([face.fake_probability for face in faces]),
            "frame_indices": np.array([frame.frame_index for frame in frames for _ in frame.faces]),
            "weights": self.config.aggregation_weights,
        }
        found = aggregate_clip(**of_faces, rule=rule)
        # A sequence has one probability; its frames cannot be resampled one by one.
        interval = None if self.is_sequential else frames_interval(clip_faces(**of_faces), rule)
        tracks = tuple(
            _with_verdict(track, frames, info, has_interval=not self.is_sequential) for track in found.tracks
        )
        return ClipResult(
            video=name,
            verdict=verdict_of(found.fake_probability, info),
            fake_probability=found.fake_probability,
            num_frames_scored=sum(bool(frame.faces) for frame in frames),
            frames=frames,
            tracks=tracks,
            detector=info,
            fake_probability_interval=interval,
            warnings=(
                *file_warnings(clip),
                *quality_warnings(frames, tracks, interval, clip),
                *rule_warnings(rule, self.config.aggregation_rule),
            ),
            runtime=self.runtime,
        )


def _with_verdict(
    track: TrackScore, frames: tuple[FrameScore, ...], info: DetectorInfo, *, has_interval: bool
) -> TrackScore:
    """Return a track with its own verdict and interval."""
    seen = [
        (frame.frame_index, face.fake_probability)
        for frame in frames
        for face in frame.faces
        if face.track_id == track.track_id
    ]
    indices, probabilities = (np.array(values) for values in zip(*seen, strict=True))
    faces = clip_faces(np.zeros(len(seen), int), probabilities, frame_indices=indices)
    return replace(
        track,
        verdict=verdict_of(track.fake_probability, info),
        fake_probability_interval=frames_interval(faces, "mean") if has_interval else None,
    )


def _frame_score(frame: TrackedFrame, probabilities: list[float]) -> FrameScore:
    """Return a frame with the probability of each of its faces."""
    faces = tuple(
        FaceScore(
            box_xyxy=one.face.box_xyxy,
            track_id=one.track_id,
            detection_score=one.face.score,
            fake_probability=probability,
            sharpness=sharpness_of(one.crop),
        )
        for one, probability in zip(frame.faces, probabilities, strict=True)
    )
    return FrameScore(frame.frame_index, frame.time_seconds, faces)


def people_only(frames: list[FrameScore]) -> tuple[FrameScore, ...]:
    """Remove detections that never became certain enough to be a person."""
    people = confirmed_tracks(
        (face.track_id, face.detection_score) for frame in frames for face in frame.faces
    )
    return tuple(
        replace(frame, faces=tuple(face for face in frame.faces if face.track_id in people))
        for frame in frames
    )


def verdict_of(fake_probability: float, detector: DetectorInfo) -> Verdict:
    """Return the verdict for a probability: the one decision rule everywhere.

    Example:
        >>> info = DetectorInfo("x", "1", 0.4, 0.7, "mean")
        >>> [verdict_of(p, info) for p in (0.4, 0.45, 0.7)]
        ['real', 'uncertain', 'fake']
        >>> verdict_of(0.9, replace(info, is_calibrated=False))
        'score'
    """
    if not detector.is_calibrated:
        return "score"
    if fake_probability >= detector.uncertain_high:
        return "fake"
    return "real" if fake_probability <= detector.uncertain_low else "uncertain"


def file_facts(path: str | os.PathLike[str]) -> FileFacts:
    """Return hash, size and time of a file.

    Example:
        >>> file_facts("examples/demo.mp4").size_bytes > 100_000
        True
    """
    return FileFacts(sha256_of_file(path), os.path.getsize(path), modified_time(path))
