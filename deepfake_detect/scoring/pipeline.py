"""Clip -> verdict, whatever runs the networks: frames, faces, people, probabilities, one verdict."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.evaluation.aggregation import (
    aggregate_clip,
    check_rule,
    clip_faces,
    frames_interval,
)
from deepfake_detect.faces import FollowedFrame, MtcnnDetector, confirmed_tracks, follow_faces
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.records import (
    ClipResult,
    DetectorInfo,
    FaceScore,
    FrameScore,
    TrackScore,
    Verdict,
    file_stamp,
)
from deepfake_detect.scoring.quality import quality_warnings, rule_warnings, sharpness_of
from deepfake_detect.video import EvenlySpaced, Sampling, read_frames, read_metadata
from deepfake_detect.video.files import checked_path

DEFAULT_NUM_FRAMES = 32
_BATCH_SIZE = 32


class ClipDetector(BaseDetector):
    """A detector on clips, without what runs its networks."""

    @property
    def is_on_gpu(self) -> bool:
        """Whether its networks run on a GPU, of which several processes would be in one another's way."""
        return False

    @abstractmethod
    def face_finder(self, min_face: float | None) -> MtcnnDetector:
        """Return what finds the faces of a clip, on the detector's own runtime.

        Raises:
            OptionError: ``min_face`` is below 12 pixels.
        """

    @abstractmethod
    def score_sequence(self, crops: Sequence[Any]) -> float:
        """Return the probability that one person's crops, in order, show a forged face."""

    def score_video(
        self,
        video: str | os.PathLike[str],
        *,
        num_frames: int = DEFAULT_NUM_FRAMES,
        sampling: Sampling | None = None,
        aggregation_rule: str | None = None,
        min_face: float | None = None,
        allow_truncated: bool = False,
        on_frame: Callable[[int], None] = lambda done: None,
    ) -> ClipResult:
        """ClipScorer a clip.

        Frames are sampled over the whole clip, faces found, followed and scored, and the
        probabilities brought together. Default rule: the mean over the frames of each person;
        the most suspicious person decides, of those seen in at least a quarter as many frames as
        the person seen most.

        Args:
            video: File to judge: a clip, or a single picture.
            num_frames: Evenly spaced frames to look at, from 1; all where the clip has fewer.
            sampling: Another choice of frames, such as ``video.AllFrames()``; then ``num_frames``
                plays no part.
            aggregation_rule: A name of ``evaluation.AGGREGATION_RULES``; the detector's own when
                ``None``.
            min_face: Side in pixels of the smallest face looked for; ``None`` is a tenth of
                the frame's shorter side.
            allow_truncated: ClipScorer what is left of a clip with missing pictures, instead of an
                error.
            on_frame: Called with the number of frames done.

        Returns:
            Verdict and numbers. A clip without a face has no probability, never a made-up one.

        Raises:
            VideoError: The file is missing, unreadable or truncated, or was changed meanwhile.
            OptionError: An option is out of range.

        Example:
            >>> import deepfake_detect as dfd
            >>> score = dfd.load_detector().score_video("examples/demo.mp4", num_frames=2)
            >>> len(score.frames)
            2
        """
        faces = self.face_finder(min_face)
        policy = EvenlySpaced(num_frames) if sampling is None else sampling
        rule = self._rule(aggregation_rule)
        path = checked_path("video", video)
        stamp = file_stamp(path)
        frames = read_frames(path, sampling=policy, allow_truncated=allow_truncated)
        with closing(frames):
            followed = follow_faces(frames, detector=faces, geometry=self.config.geometry)
            scored = self._score_frames(followed, on_frame)
        score = replace(self._clip_score(video, _people_only(scored), rule), file_stamp=stamp)
        score.check_file()
        return score

    def check_options(self, *, num_frames: int, aggregation_rule: str | None, min_face: float | None) -> None:
        """Raise OptionError for what :meth:`score_video` would refuse of every clip alike."""
        EvenlySpaced(num_frames)
        self.face_finder(min_face)
        self._rule(aggregation_rule)

    def _rule(self, name: str | None) -> str:
        rule = name or self.config.aggregation_rule
        check_rule(rule)  # before the work
        return rule

    def _score_frames(self, frames: Any, on_frame: Callable[[int], None]) -> list[FrameScore]:
        """Score the faces of frames in batches, keeping no more crops than a batch in memory."""
        if self.is_sequential:
            return self._score_tracks(frames, on_frame)
        scored: list[FrameScore] = []
        pending: list[FollowedFrame] = []
        for number, frame in enumerate(frames, start=1):
            pending.append(frame)
            if sum(len(one.faces) for one in pending) >= _BATCH_SIZE:
                scored += self._score_batch(pending)
                pending = []
            on_frame(number)
        return scored + self._score_batch(pending)

    def _score_tracks(self, frames: Any, on_frame: Callable[[int], None]) -> list[FrameScore]:
        """Score each track as a sequence; each of its faces has the probability of the whole.

        All crops of the clip's sampled frames are held until its end.
        """
        followed: list[FollowedFrame] = []
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

    def _score_batch(self, frames: list[FollowedFrame]) -> list[FrameScore]:
        probabilities = iter(
            self.score_crops([face.crop for frame in frames for face in frame.faces]).tolist()
        )
        return [_frame_score(frame, [next(probabilities) for _ in frame.faces]) for frame in frames]

    def _clip_score(
        self, video: str | os.PathLike[str], frames: tuple[FrameScore, ...], rule: str
    ) -> ClipResult:
        faces = [face for frame in frames for face in frame.faces]
        info = _info(self.config, rule)
        if not faces:
            return ClipResult(str(video), "no_face", None, 0, frames, (), info)
        of_faces: dict[str, Any] = {
            "track_ids": np.array([face.track_id for face in faces]),
            "probabilities": np.array([face.fake_probability for face in faces]),
            "frame_indices": np.array([frame.frame_index for frame in frames for _ in frame.faces]),
            "weights": self.config.aggregation_weights,
        }
        clip = aggregate_clip(**of_faces, rule=rule)
        # A sequence has one probability, whose frames cannot be drawn again one by one.
        interval = None if self.is_sequential else frames_interval(clip_faces(**of_faces), rule)
        tracks = tuple(
            _judged(track, frames, info, has_interval=not self.is_sequential) for track in clip.tracks
        )
        return ClipResult(
            video=str(video),
            verdict=verdict_of(clip.fake_probability, info),
            fake_probability=clip.fake_probability,
            num_frames_scored=sum(bool(frame.faces) for frame in frames),
            frames=frames,
            tracks=tracks,
            detector=info,
            fake_probability_interval=interval,
            warnings=(
                *quality_warnings(
                    frames, tracks, interval, read_metadata(video), num_bytes=Path(video).stat().st_size
                ),
                *rule_warnings(rule, self.config.aggregation_rule),
            ),
        )


def _judged(
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


def _frame_score(frame: FollowedFrame, probabilities: list[float]) -> FrameScore:
    """Return a frame with the probability of each of its faces."""
    faces = tuple(
        FaceScore(one.face.box_xyxy, one.track_id, one.face.score, probability, sharpness_of(one.crop))
        for one, probability in zip(frame.faces, probabilities, strict=True)
    )
    return FrameScore(frame.frame_index, frame.time_seconds, faces)


def _people_only(frames: list[FrameScore]) -> tuple[FrameScore, ...]:
    """Leave out detections that never became sure enough to be a person."""
    people = confirmed_tracks(
        (face.track_id, face.detection_score) for frame in frames for face in frame.faces
    )
    return tuple(
        replace(frame, faces=tuple(face for face in frame.faces if face.track_id in people))
        for frame in frames
    )


def verdict_of(fake_probability: float, detector: DetectorInfo) -> Verdict:
    """Return the word for a probability.

    Example:
        >>> info = DetectorInfo("x", "1", 0.5, 0.4, 0.7, "mean")
        >>> [verdict_of(p, info) for p in (0.1, 0.45, 0.7)]
        ['real', 'uncertain', 'fake']
    """
    if detector.uncertain_low < fake_probability < detector.uncertain_high:
        return "uncertain"
    return "fake" if fake_probability >= detector.threshold else "real"


def _info(config: DetectorConfig, rule: str) -> DetectorInfo:
    return DetectorInfo(
        name=config.name,
        version=config.version,
        threshold=config.threshold,
        uncertain_low=config.uncertain_low,
        uncertain_high=config.uncertain_high,
        aggregation_rule=rule,
    )
