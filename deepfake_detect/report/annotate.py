"""The scored clip played back: boxes, people's numbers, and color by probability."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.records import ClipResult, Frame
from deepfake_detect.video import AllFrames, VideoWriter, read_frames, read_metadata

_REAL_COLOR, _MIDDLE_COLOR, _FAKE_COLOR = (30, 160, 70), (235, 170, 30), (215, 40, 40)  # RGB
_FALLBACK_FRAMES_PER_SECOND = 25.0


def annotate_video(
    score: ClipResult, path: Path, *, on_frame: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Write the clip with a box around each followed face, its sound kept.

    Between two scored frames a person's box moves in a straight line, and the probability shown
    is that of the nearest scored frame. Nothing is drawn where a person was not seen in two
    scored frames in a row. Pictures come at the clip's average rate: one that varies has pictures
    repeated and left out, so that each is where its sound is.

    Args:
        score: A clip scored by this library; the clip must still be at ``score.video``.
        path: MP4 to write, H.264.
        on_frame: Called after each frame with (frames done, frames in all).

    Raises:
        VideoError: The clip can no longer be read, has changed since it was scored, or nothing can be
            encoded here.
    """
    score.check_file()
    metadata = read_metadata(score.video)
    people = _people(score)
    rate = metadata.frames_per_second or _FALLBACK_FRAMES_PER_SECOND
    writer = VideoWriter(
        path,
        width=metadata.width,
        height=metadata.height,
        frames_per_second=rate,
        audio_from=score.video,
    )
    frames = read_frames(score.video, sampling=AllFrames(), allow_truncated=True)
    with writer, closing(frames):
        for frame, count in _at_even_times(frames, rate, metadata.num_frames):
            if count:
                image = frame.image.copy()
                for person in people:
                    _draw_person(image, person, frame.time_seconds)
                _draw_verdict(image, score)
            for _ in range(count):
                writer.write(image)
            on_frame(frame.frame_index + 1, metadata.num_frames)


def _at_even_times(frames: Iterable[Frame], rate: float, num_frames: int) -> Iterator[tuple[Frame, int]]:
    """Yield each frame and how many pictures of the given rate show it, ``num_frames`` in all."""
    shown: Frame | None = None
    num_done = 0
    for frame in frames:
        # A frame without a time is a picture of its own.
        is_timed = math.isfinite(frame.time_seconds)
        due = round(frame.time_seconds * rate) if is_timed else frame.frame_index
        if shown is not None:
            count = max(0, min(due, num_frames - 1) - num_done)
            num_done += count
            yield shown, count
        shown = frame
    if shown is not None:
        yield shown, num_frames - num_done


@dataclass(frozen=True, eq=False)
class _Person:
    """Where one person was at the scored frames: times (N,), boxes (N, 4), probabilities (N,)."""

    track_id: int
    times_seconds: np.ndarray
    boxes_xyxy: np.ndarray
    probabilities: np.ndarray
    max_gap_seconds: float


def _people(score: ClipResult) -> list[_Person]:
    times = np.array([frame.time_seconds for frame in score.frames])
    # A person missed in one sampled frame is still shown; over a longer gap nobody knows.
    gap = 2.5 * float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    people = []
    for track in score.tracks:
        seen = [
            (frame.time_seconds, face)
            for frame in score.frames
            for face in frame.faces
            if face.track_id == track.track_id
        ]
        people.append(
            _Person(
                track.track_id,
                np.array([time for time, _ in seen]),
                np.array([face.box_xyxy for _, face in seen]),
                np.array([face.fake_probability for _, face in seen]),
                gap,
            )
        )
    return people


def _draw_person(image: np.ndarray, person: _Person, time_seconds: float) -> None:
    after = bisect_right(person.times_seconds.tolist(), time_seconds)
    before = after - 1
    if before < 0:
        return
    start = person.times_seconds[before]
    if time_seconds == start or after == len(person.times_seconds):
        if time_seconds - start > person.max_gap_seconds / 2:
            return
        box, nearest = person.boxes_xyxy[before], before
    else:
        stop = person.times_seconds[after]
        if stop - start > person.max_gap_seconds:
            return
        share = (time_seconds - start) / (stop - start)
        box = (1 - share) * person.boxes_xyxy[before] + share * person.boxes_xyxy[after]
        nearest = before if share < 0.5 else after
    probability = float(person.probabilities[nearest])
    _draw_box(image, box, f"person {person.track_id}  p(fake) {probability:.2f}", _color(probability))


def _color(probability: float) -> tuple[int, int, int]:
    """Green through amber to red."""
    stops = np.array([_REAL_COLOR, _MIDDLE_COLOR, _FAKE_COLOR], float)
    return tuple(int(np.interp(probability, [0, 0.5, 1], stops[:, channel])) for channel in range(3))  # type: ignore[return-value]


def _draw_box(image: np.ndarray, box: np.ndarray, text: str, color: tuple[int, int, int]) -> None:
    thickness = max(1, round(min(image.shape[:2]) / 240))
    left, top, right, bottom = (round(float(value)) for value in box)
    cv2.rectangle(image, (left, top), (right, bottom), color, thickness)
    _draw_label(image, text, (left, top), color)


def _draw_label(image: np.ndarray, text: str, corner: tuple[int, int], color: tuple[int, int, int]) -> None:
    """Write text on a filled plate that sits on top of ``corner``, kept inside the picture."""
    scale = max(0.35, min(image.shape[:2]) / 900)
    thickness = max(1, round(scale * 1.6))
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    pad = max(2, height // 3)
    left = int(np.clip(corner[0], 0, max(0, image.shape[1] - width - 2 * pad)))
    bottom = int(np.clip(corner[1], height + baseline + 2 * pad, image.shape[0]))
    top = bottom - height - baseline - 2 * pad
    cv2.rectangle(image, (left, top), (left + width + 2 * pad, bottom), color, -1)
    origin = (left + pad, bottom - baseline - pad)
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thickness, cv2.LINE_AA)


def _draw_verdict(image: np.ndarray, score: ClipResult) -> None:
    if score.fake_probability is None:
        text, color = "no face", (90, 90, 90)
    else:
        text, color = (
            f"{score.verdict}  p(fake) {score.fake_probability:.2f}",
            _color(score.fake_probability),
        )
    _draw_label(image, f"clip: {text}", (0, 0), color)
