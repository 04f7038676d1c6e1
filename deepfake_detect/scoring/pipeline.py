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
from deepfake_detect.faces import MtcnnDetector, TrackedFrame, confirmed_tracks, track_faces
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


class Detector(BaseDetector):
    """A detector that scores clips, images and face crops; made by :func:`load_detector`.

    Attributes:
        runtime: What runs its networks: ``"torch"``, ``"onnx"`` or ``"openvino"``.
        sha256: Of the detector's file, see :class:`records.DetectorInfo`.
    """

    runtime: str
    sha256: str | None = None

    @property
    def is_on_gpu(self) -> bool:
        """Whether its networks run on a GPU, where several processes would slow one another down."""
        return False

    @abstractmethod
    def face_finder(self, min_face: float | None) -> MtcnnDetector:
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
        ignoring anyone visible in fewer than 25 % as many frames as the most visible person.

        Args:
            video: A clip or a still image: its path, its bytes, or a binary file opened for reading.
            num_frames: Evenly spaced frames to score, from 1; all if the clip has fewer.
            sampling: Another choice of frames, such as ``video.AllFrames()``; replaces ``num_frames``.
            aggregation_rule: A name of ``evaluation.AGGREGATION_RULES``; the detector's own if ``None``.
            min_face: Side in pixels of the smallest face to detect; ``None`` is a tenth of the
                frame's shorter side.
            allow_truncated: Score what is left of a clip with missing or damaged frames instead of
                raising; a warning of the result names their fraction.
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
        rule = self._rule(aggregation_rule)
        with local_file(video) as (path, name):
            path = checked_path("video", path)
            check_file(path)
            file = file_facts(path)
            reader = VideoReader(path, allow_truncated=allow_truncated, limits=limits)
            with closing(reader.frames(policy)) as frames:
                followed = track_faces(frames, detector=faces, geometry=self.config.geometry)
                scored = self._score_frames(followed, on_frame)
            metadata = reader.metadata
            bad_fraction = reader.bad_fraction if reader.is_damaged else None
            clip = Clip.from_metadata(
                metadata,
                num_bytes=file.size_bytes,
                bad_fraction=bad_fraction,
                num_in_gaps=reader.num_in_gaps,
            )
            found = self._clip_result(str(path), _people_only(scored), rule, clip)
            result = replace(found, file=file, frame_size=(metadata.width, metadata.height))
            if segments == "on":
                result = self._with_segments(result, reader, faces)
            result.check_file()
        return result if name is None else replace(result, video=name, file=replace(file, modified_time=""))

    def _with_segments(self, result: ClipResult, reader: VideoReader, finder: MtcnnDetector) -> ClipResult:
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
                extra = self._score_frames(followed, lambda done: None)
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
        """Score decoded frames; all of them, in order.

        Args:
            frames: RGB arrays (H, W, 3) of one clip, uint8 or float in [0, 1].
            frames_per_second: Frame rate, above 0; it gives the frames' times.
            name: What the result calls the clip.
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
        rule = self._rule(aggregation_rule)
        sizes: list[tuple[int, int]] = []

        def numbered() -> Iterator[Frame]:
            for number, image in enumerate(frames):
                pixels = rgb_uint8(image, subject=f"frame {number}")
                sizes.append((pixels.shape[1], pixels.shape[0]))
                yield Frame(pixels, number, number / frames_per_second)

        followed = track_faces(numbered(), detector=self.face_finder(min_face), geometry=self.config.geometry)
        scored = self._score_frames(followed, on_frame)
        result = self._clip_result(name, _people_only(scored), rule, Clip(len(scored)))
        return replace(result, frame_size=sizes[0] if sizes else None)

    def check_options(self, *, num_frames: int, aggregation_rule: str | None, min_face: float | None) -> None:
        """Raise OptionError for options with which :meth:`score_video` would fail on every clip."""
        EvenlySpaced(num_frames)
        self.face_finder(min_face)
        self._rule(aggregation_rule)

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

    def _rule(self, name: str | None) -> str:
        rule = name or self.config.aggregation_rule
        check_rule(rule, self.config.plugins)  # before the work
        return rule

    def _score_frames(
        self, frames: Iterable[TrackedFrame], on_frame: Callable[[int], None]
    ) -> list[FrameScore]:
        """Score the faces of frames in batches, keeping at most one batch of crops in memory."""
        if self.is_sequential:
            return self._score_tracks(frames, on_frame)
        scored: list[FrameScore] = []
        pending: list[TrackedFrame] = []
        for number, frame in enumerate(frames, start=1):
            pending.append(frame)
            if sum(len(one.faces) for one in pending) >= _BATCH_SIZE:
                scored += self._score_batch(pending)
                pending = []
            on_frame(number)
        return scored + self._score_batch(pending)

    def _score_tracks(
        self, frames: Iterable[TrackedFrame], on_frame: Callable[[int], None]
    ) -> list[FrameScore]:
        """Score each track as a sequence; each of its faces gets the track's probability.

        The crops of all sampled frames are kept until the end of the clip.
        """
        followed: list[TrackedFrame] = []
        for number, frame in enumerate(frames, start=1):
            followed.append(frame)
            on_frame(number)
        crops: dict[int, list[np.ndarray]] = {}
        for frame in followed:
            for face in frame.faces:
                crops.setdefault(face.track_id, []).append(face.crop)
        probabilities = {track: self.score_sequence(of_track) for track, of_track in crops.items()}
        return [
            _frame_score(frame, [probabilities[face.track_id] for face in frame.faces]) for frame in followed
        ]

    def _score_batch(self, frames: list[TrackedFrame]) -> list[FrameScore]:
        probabilities = iter(
            self.score_crops([face.crop for frame in frames for face in frame.faces]).tolist()
        )
        return [_frame_score(frame, [next(probabilities) for _ in frame.faces]) for frame in frames]

    def _clip_result(self, name: str, frames: tuple[FrameScore, ...], rule: str, clip: Clip) -> ClipResult:
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


def _people_only(frames: list[FrameScore]) -> tuple[FrameScore, ...]:
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
