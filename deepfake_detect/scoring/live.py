"""A camera or stream -> a verdict over the last seconds, updated with every scored frame.

Scoring a frame may take longer than the next one takes to arrive. So a thread reads all frames and
keeps the newest, which is scored next: the verdict is never more than one frame behind, and a slow
machine scores fewer frames.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from deepfake_detect.errors import OptionError, VideoUnreadableError
from deepfake_detect.evaluation.aggregation import aggregate_clip, check_rule
from deepfake_detect.faces import FaceDetector, TrackedFrame, confirmed_tracks
from deepfake_detect.faces.tracked_crops import TrackedCropper
from deepfake_detect.plurals import counted
from deepfake_detect.records import DetectorInfo, Frame, InferencePrecision, Verdict
from deepfake_detect.report.words import headline, percent
from deepfake_detect.runtimes.options import Runtime
from deepfake_detect.scoring.detector import DetectorInput, ready_detector
from deepfake_detect.scoring.options import LiveOptions, ScoringOptions
from deepfake_detect.scoring.pipeline import Detector, verdict_of

_TIMEOUT_MILLISECONDS = 10_000
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class LiveVerdict:
    """The verdict over the last seconds.

    Attributes:
        verdict, fake_probability: As of a clip.
        num_frames: Frames scored within those seconds.
        num_people: People visible in them.
        elapsed_seconds: From the start of the stream to the newest frame.
        span_seconds: How far the verdict looks back: less than the window at the start.
    """

    verdict: Verdict
    fake_probability: float | None
    num_frames: int
    num_people: int
    elapsed_seconds: float
    span_seconds: float

    def line(self) -> str:
        r"""Return the verdict in one line.

        Example:
            >>> LiveVerdict("fake", 0.91, 40, 1, 125.0, 10.0).line()
            '2:05  Signs of forgery found, 91% (1 person, 40 frames in the last 10.0 s)'
        """
        minutes, seconds = divmod(int(self.elapsed_seconds), 60)
        words = headline(self.verdict, self.fake_probability)
        if self.fake_probability is not None and self.verdict != "score":
            words += f", {percent(self.fake_probability)}"
        people = f"{counted(self.num_people, 'person', 'people')}, "
        return (
            f"{minutes}:{seconds:02}  {words} ({people if self.num_people else ''}"
            f"{counted(self.num_frames, 'frame')} in the last {self.span_seconds:.1f} s)"
        )


def watch(
    source: str | Iterable[Frame],
    *,
    detector: DetectorInput = None,
    runtime: Runtime = ScoringOptions.runtime,
    device: str = ScoringOptions.device,
    precision: InferencePrecision = ScoringOptions.precision,
    window_seconds: float = LiveOptions.window_seconds,
    aggregation_rule: str | None = ScoringOptions.aggregation_rule,
    min_face: float | None = ScoringOptions.min_face,
) -> Generator[LiveVerdict, None, None]:
    """Score a camera or stream; yield the verdict over the last seconds after every frame.

    Args:
        source: A camera (``"0"``, ``"/dev/video0"``), the URL of a stream, or frames in order of time.
        detector: A loaded detector, or anything that :func:`load_detector` accepts; not a sequence model.
        runtime, device, precision: For a detector that is loaded here, see :func:`load_detector`.
        window_seconds: How far the verdict looks back, above 0.
        aggregation_rule: From faces to a verdict; the detector's own if ``None``.
        min_face: Side in pixels of the smallest face to detect; a tenth of the frame's if ``None``.

    Yields:
        The verdict, once per scored frame.

    Raises:
        OptionError: An option is out of range, or the detector scores sequences.
        VideoUnreadableError: The source cannot be opened, or sends no frame.
    """
    if not window_seconds > 0:
        raise OptionError("window_seconds", f"is {window_seconds}", "must be above 0")
    loaded = ready_detector(detector, runtime=runtime, device=device, precision=precision)
    if loaded.is_sequential:
        raise OptionError("detector", "scores sequences, not single crops", "pass another for live video")
    info = loaded.info(aggregation_rule)
    check_rule(info.aggregation_rule)
    faces = loaded.face_finder(min_face)
    return _verdicts(source, loaded, faces, info, window_seconds)


def _verdicts(
    source: str | Iterable[Frame],
    detector: Detector,
    faces: FaceDetector,
    info: DetectorInfo,
    window_seconds: float,
) -> Generator[LiveVerdict, None, None]:
    cropper = TrackedCropper(detector.config.geometry)
    window: deque[_Seen] = deque()
    with ExitStack() as stack:
        if isinstance(source, str):
            source = stack.enter_context(closing(live_frames(source)))
        for frame in source:  # one at a time: detecting faces in several at once would add a delay
            followed = cropper.follow(frame, faces.detect(frame.image))
            window.append(_Seen(followed, detector.score_crops([face.crop for face in followed.faces])))
            while window[-1].time_seconds - window[0].time_seconds > window_seconds:
                window.popleft()
            yield _verdict(window, info, detector.config.aggregation_weights)


class _Seen:
    """A frame of the window, without its pixels."""

    def __init__(self, frame: TrackedFrame, probabilities: np.ndarray) -> None:
        self.time_seconds = frame.time_seconds
        self.frame_index = frame.frame_index
        self.faces = [
            (one.track_id, one.face.score, probability)
            for one, probability in zip(frame.faces, probabilities.tolist(), strict=True)
        ]


def _verdict(window: deque[_Seen], info: DetectorInfo, weights: Sequence[float]) -> LiveVerdict:
    newest = window[-1].time_seconds
    span = newest - window[0].time_seconds
    people = confirmed_tracks((track, score) for seen in window for track, score, _ in seen.faces)
    faces = [
        (track, probability, seen.frame_index)
        for seen in window
        for track, _, probability in seen.faces
        if track in people
    ]
    if not faces:
        return LiveVerdict("no_face", None, len(window), 0, newest, span)
    tracks, probabilities, indices = (np.array(values) for values in zip(*faces, strict=True))
    clip = aggregate_clip(
        tracks, probabilities, rule=info.aggregation_rule, frame_indices=indices, weights=weights
    )
    verdict = verdict_of(clip.fake_probability, info)
    return LiveVerdict(verdict, clip.fake_probability, len(window), len(people), newest, span)


def live_frames(source: str) -> Generator[Frame, None, None]:
    """Yield the newest frame of a camera or stream whenever the caller asks for the next one.

    Args:
        source: Number of a camera (``"0"``), ``/dev/videoN``, or a URL (rtsp, rtmp, http, https).
            A file at a URL arrives as fast as the network delivers it.

    Yields:
        Frames with their number and the seconds since the first one.

    Raises:
        OptionError: The source is none of these.
        VideoUnreadableError: The source cannot be opened, or sends no frame.
    """
    reader = _Reader(_opened(source))
    first: float | None = None
    try:
        for image, number, moment in reader.newest():
            first = moment if first is None else first
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), number, moment - first)
    finally:
        reader.stop()
    if first is None:
        raise VideoUnreadableError(
            source, "sent no frame", "check that it is on and not used by another program"
        )


def _opened(source: str) -> Any:
    camera = re.fullmatch(r"(?:/dev/video)?(\d+)", source)
    if camera is None and not re.match(r"(rtsps?|rtmp|https?)://", source):
        raise OptionError(
            "live",
            f"is {source!r}, which is neither a camera nor a stream",
            "pass the number of a camera, /dev/videoN, or an rtsp or http URL; files are for score_videos()",
        )
    level = _set_log_level(0)  # silent
    try:
        capture = _capture(source, None if camera is None else int(camera[1]))
    finally:
        _set_log_level(level)
    if not capture.isOpened():
        raise VideoUnreadableError(source, "cannot be opened", "check the camera's number or the URL")
    return capture


def _set_log_level(level: int) -> int:
    """Set which messages OpenCV prints, and return what was set before; OpenCV 5 has moved the function."""
    module: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    return int(module.setLogLevel(level))


def _capture(source: str, camera: int | None) -> Any:
    if camera is not None:
        return cv2.VideoCapture(camera)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MILLISECONDS]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MILLISECONDS]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)


class _Reader:
    """A thread that reads every frame and keeps the newest."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self._newest: tuple[np.ndarray, int, float] | None = None
        self._is_over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="live", daemon=True)
        self._thread.start()

    def newest(self) -> Iterator[tuple[np.ndarray, int, float]]:
        """Yield each newest frame once: BGR image, number, seconds of the clock; until the stream ends."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._is_over)
                newest, self._newest = self._newest, None
            if newest is None:
                return
            yield newest

    def stop(self) -> None:
        with self._changed:
            self._is_over = True
        self._thread.join(_PATIENCE_SECONDS)  # it may be waiting for a frame that never comes

    def _read(self) -> None:
        number = 0
        while not self._is_over:
            is_read, image = self._capture.read()
            with self._changed:
                self._is_over = self._is_over or not is_read
                if is_read:
                    self._newest = image, number, time.monotonic()
                self._changed.notify_all()
            number += 1
        self._capture.release()
