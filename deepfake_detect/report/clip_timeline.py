"""Geometry of the timeline chart in the report on a clip; ``templates/timeline.html.j2`` draws it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepfake_detect.records import ClipResult
from deepfake_detect.report.drawing import COLORS
from deepfake_detect.report.people import PersonSeries, people_of
from deepfake_detect.report.words import HEADLINES, percent, person

_WIDTH, _HEIGHT = 960, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 10, 34
_NUM_TICKS = 8
_GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Curve:
    """A person's line in the chart: ``points`` are positions (x, y)."""

    label: str
    color: str
    stroke_width: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TimelineChart:
    """Positions in the chart, in units of its view box.

    Attributes:
        label: Description of the chart for screen readers.
        width, height: Of the view box.
        left, right, top, bottom: Edges of the plot area.
        band_top, band_height: Of the uncertain band.
        grid: Position and label of each horizontal line.
        ticks: Position and label of each time; empty for a still image.
        curves: One per person.
        frames: Position, index, words and thumbnail of each sampled frame, for the script.
    """

    label: str
    band_top: float
    band_height: float
    grid: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    curves: tuple[Curve, ...]
    frames: tuple[dict[str, Any], ...]  # becomes JSON
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = _HEIGHT - _BOTTOM


def timeline_chart(result: ClipResult, thumbnails: Mapping[int, str]) -> TimelineChart:
    """Lay out the timeline of a clip with at least one sampled frame.

    Args:
        result: The clip.
        thumbnails: URL of a thumbnail by frame index, shown under the pointer.
    """
    detector = result.detector
    times = [frame.time_seconds for frame in result.frames]
    # A still image has no time, and a clip of one frame no duration.
    is_timed = len(times) > 1 and times[-1] > times[0]
    span = (times[0], times[-1]) if is_timed else (-1.0, 1.0)
    x_of_frame = {
        frame.frame_index: _x(frame.time_seconds if is_timed else 0.0, span) for frame in result.frames
    }
    top, bottom = _y(detector.uncertain_high), _y(detector.uncertain_low)
    people = people_of(result)
    return TimelineChart(
        label=f"Fake probability over time: {HEADLINES[result.verdict].lower()}",
        band_top=top,
        band_height=round(bottom - top, 2),
        grid=tuple((_y(value), f"{100 * value:g} %") for value in _GRID),
        ticks=_ticks(span) if is_timed else (),
        curves=tuple(
            _curve(one, number, x_of_frame, is_alone=len(people) == 1) for number, one in enumerate(people)
        ),
        frames=_frames(result, x_of_frame, thumbnails),
    )


def _x(time_seconds: float, span: tuple[float, float]) -> float:
    fraction = (time_seconds - span[0]) / (span[1] - span[0])
    return round(_LEFT + fraction * (_WIDTH - _LEFT - _RIGHT), 2)


def _y(probability: float) -> float:
    return round(_HEIGHT - _BOTTOM - probability * (_HEIGHT - _TOP - _BOTTOM), 2)


def _ticks(span: tuple[float, float]) -> tuple[tuple[float, str], ...]:
    step = (span[1] - span[0]) / _NUM_TICKS
    times = [span[0] + step * number for number in range(_NUM_TICKS + 1)]
    return tuple((_x(time, span), f"{time:.2f} s") for time in times)


def _curve(one: PersonSeries, number: int, x_of_frame: Mapping[int, float], *, is_alone: bool) -> Curve:
    track = one.track
    frames = f"{track.num_frames} frame{'s' * (track.num_frames != 1)}"
    decides = ", decides" if track.decides and not is_alone else ""
    points = zip(one.frame_indices.tolist(), one.probabilities.tolist(), strict=True)
    return Curve(
        label=f"{one.name}: mean {percent(track.fake_probability)}, {frames}{decides}",
        color=COLORS[number % len(COLORS)],
        stroke_width=2.5 if track.decides else 1.2,
        points=tuple((x_of_frame[index], _y(probability)) for index, probability in points),
    )


def _frames(
    result: ClipResult, x_of_frame: Mapping[int, float], thumbnails: Mapping[int, str]
) -> tuple[dict[str, Any], ...]:
    frames = []
    for frame in result.frames:
        faces = [f"{person(face.track_id)}: {percent(face.fake_probability)}" for face in frame.faces]
        time = "" if math.isnan(frame.time_seconds) else f"{frame.time_seconds:.2f} s, "
        frames.append(
            {
                "x": x_of_frame[frame.frame_index],
                "index": frame.frame_index,
                "words": f"{time}frame {frame.frame_index}: {', '.join(faces) or 'no face'}",
                "image": thumbnails.get(frame.frame_index),
            }
        )
    return tuple(frames)
