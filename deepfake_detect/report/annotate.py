"""A scored clip as an annotated video: boxes, person numbers, and color by probability."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.records import ClipResult, Frame
from deepfake_detect.report.timeline import PersonSeries, people_of
from deepfake_detect.report.words import clip_headline, forged_parts, percent
from deepfake_detect.video import AllFrames, VideoWriter, read_frames, read_metadata
from deepfake_detect.video.limits import NO_LIMITS

_LOW_COLOR, _MIDDLE_COLOR, _HIGH_COLOR = (95, 112, 140), (205, 140, 20), (215, 40, 40)  # RGB
_VERDICT_COLORS = {
    "fake": _HIGH_COLOR,
    "uncertain": _MIDDLE_COLOR,
    "real": _LOW_COLOR,
    "no_face": _LOW_COLOR,
    "score": _MIDDLE_COLOR,
}
_FALLBACK_FRAMES_PER_SECOND = 25.0
# Of the annotated video. A clip that stands still for an hour can have an average of one frame per hour.
_MIN_FRAMES_PER_SECOND, _MAX_FRAMES_PER_SECOND = 1.0, 1000.0


def annotate_video(
    result: ClipResult,
    path: str | os.PathLike[str],
    *,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write an MP4 of the clip with a box around each tracked face and its original audio; return its path.

    Between two scored frames a person's box moves in a straight line, and the probability is that of
    the nearest scored frame. A person who is missing from more than one scored frame in a row has no
    box there. The video has the clip's average frame rate, but at least 1 and at most 1000 frames per
    second: where the clip's own rate varies, frames are repeated or dropped, so that image and sound stay
    in sync. The label of a clip that is forged in part has the color of the verdict in that part only.

    Args:
        result: Of a clip that is still at ``result.video``.
        path: MP4 to write, H.264.
        on_frame: Called after each frame with (frames done, frames in all).

    Raises:
        VideoError: The clip can no longer be read, has changed since it was scored, or no H.264
            encoder is available.
    """
    result.check_file()
    metadata = read_metadata(result.video, limits=NO_LIMITS)
    people = people_of(result)
    times = [frame.time_seconds for frame in result.frames]
    # One missed frame is bridged; over a longer gap the position is unknown.
    max_gap_seconds = 2.5 * float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    verdict, parts = clip_headline(result), forged_parts(result)
    if result.fake_probability is not None and result.verdict != "score":
        verdict = f"{verdict}: {percent(result.fake_probability)}"
    average = metadata.frames_per_second or _FALLBACK_FRAMES_PER_SECOND
    rate = min(_MAX_FRAMES_PER_SECOND, max(_MIN_FRAMES_PER_SECOND, average))
    num_frames = metadata.num_frames
    if rate != average:
        num_frames = max(1, round(metadata.duration_seconds * rate))
    writer = VideoWriter(
        Path(path),
        width=metadata.width,
        height=metadata.height,
        frames_per_second=rate,
        audio_from=result.video,
    )
    frames = read_frames(result.video, sampling=AllFrames(), allow_truncated=True, limits=NO_LIMITS)
    with writer, closing(frames):
        for frame, count in _at_even_times(frames, rate, num_frames):
            if count:
                image = frame.image.copy()
                for person in people:
                    _draw_person(image, person, frame.time_seconds, max_gap_seconds)
                is_quiet = parts and not any(
                    one.start_seconds <= frame.time_seconds < one.end_seconds for one in parts
                )
                color = _VERDICT_COLORS["real" if is_quiet else result.verdict]
                _draw_label(image, verdict, (0, 0), color)
            for _ in range(count):
                writer.write(image)
            on_frame(frame.frame_index + 1, metadata.num_frames)
    return Path(path)


def _at_even_times(frames: Iterable[Frame], rate: float, num_frames: int) -> Iterator[tuple[Frame, int]]:
    """Yield each frame with the number of times to write it at an even rate, ``num_frames`` in all."""
    shown: Frame | None = None
    num_done = 0
    for frame in frames:
        # A frame without a time is written once.
        is_timed = math.isfinite(frame.time_seconds)
        due = round(frame.time_seconds * rate) if is_timed else frame.frame_index
        if shown is not None:
            count = max(0, min(due, num_frames - 1) - num_done)
            num_done += count
            yield shown, count
        shown = frame
    if shown is not None:
        yield shown, num_frames - num_done


def _draw_person(
    image: np.ndarray, person: PersonSeries, time_seconds: float, max_gap_seconds: float
) -> None:
    """Draw a person's box at a time, interpolated between the scored frames around it."""
    after = bisect_right(person.times_seconds.tolist(), time_seconds)
    before = after - 1
    if before < 0:
        return
    start = person.times_seconds[before]
    if time_seconds == start or after == len(person.times_seconds):
        if time_seconds - start > max_gap_seconds / 2:
            return
        box, nearest = person.boxes_xyxy[before], before
    else:
        stop = person.times_seconds[after]
        if stop - start > max_gap_seconds:
            return
        weight = (time_seconds - start) / (stop - start)
        box = (1 - weight) * person.boxes_xyxy[before] + weight * person.boxes_xyxy[after]
        nearest = before if weight < 0.5 else after
    probability = float(person.probabilities[nearest])
    color = _color(probability)
    left, top, right, bottom = (round(float(value)) for value in box)
    cv2.rectangle(image, (left, top), (right, bottom), color, max(1, round(min(image.shape[:2]) / 240)))
    _draw_label(image, f"{person.name}: {percent(probability)}", (left, top), color)


def _color(probability: float) -> tuple[int, int, int]:
    """Return a color from gray (0: nothing found is no proof) through amber to red (1)."""
    stops = np.array([_LOW_COLOR, _MIDDLE_COLOR, _HIGH_COLOR], float)
    return tuple(int(np.interp(probability, [0, 0.5, 1], stops[:, channel])) for channel in range(3))  # type: ignore[return-value]


def _draw_label(image: np.ndarray, text: str, corner: tuple[int, int], color: tuple[int, int, int]) -> None:
    """Write text on a filled box above ``corner``, inside the image."""
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
