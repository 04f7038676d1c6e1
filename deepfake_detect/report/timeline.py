"""The people of a scored clip over time: their numbers, a chart for pages, a figure."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detect.plurals import counted
from deepfake_detect.records import ClipResult, FrameScore, Segment, TrackScore
from deepfake_detect.report.drawing import new_figure, png_bytes, save_png
from deepfake_detect.report.words import (
    clip_headline,
    forged_parts,
    percent,
    person,
    printable,
    segment_words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_NAMED = 12  # people with an entry in the figure's legend
_DOTS_PER_INCH = 120
_GRID = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the chart; more would not fit on a phone


@dataclass(frozen=True, eq=False)
class PersonSeries:
    """One person over a clip.

    Attributes:
        track: The track's score.
        frame_indices: int (N,), the sampled frames that show the person.
        times_seconds: float (N,); NaN in a still image.
        boxes_xyxy: float (N, 4), in pixels.
        probabilities: float (N,), fake probability of each face.
    """

    track: TrackScore
    frame_indices: np.ndarray
    times_seconds: np.ndarray
    boxes_xyxy: np.ndarray
    probabilities: np.ndarray

    @property
    def name(self) -> str:
        """Name of the person for readers, such as ``"person 1"``."""
        return person(self.track.track_id)


def people_of(result: ClipResult) -> tuple[PersonSeries, ...]:
    """Return the people of a clip in the order of its tracks.

    Args:
        result: A scored clip.
    """
    people = []
    for track in result.tracks:
        faces = [(frame, face) for frame in result.frames for face in frame.faces]
        seen = [(frame, face) for frame, face in faces if face.track_id == track.track_id]
        people.append(
            PersonSeries(
                track,
                np.array([frame.frame_index for frame, _ in seen]),
                np.array([frame.time_seconds for frame, _ in seen]),
                np.array([face.box_xyxy for _, face in seen]),
                np.array([face.fake_probability for _, face in seen]),
            )
        )
    return tuple(people)


def timeline_chart(
    result: ClipResult, *, duration_seconds: float = 0.0, thumbnails: Mapping[int, str] | None = None
) -> dict[str, Any]:  # becomes JSON
    """Return the chart of a clip's probabilities over time as SVG elements, placed in percent.

    Report and notebook write them as HTML (``templates/timeline.html.j2``), the page makes elements of
    them, and ``templates/timeline.js`` links both with their frames. A chart in percent fits any width.

    Args:
        result: A clip with at least two sampled frames.
        duration_seconds: Of the clip, if it is longer than to the last sampled frame.
        thumbnails: URL of a thumbnail by frame index, shown under the pointer.

    Returns:
        ``label`` for screen readers; ``axes``, elements as [name, attributes, text]; ``people``, each with
        ``person`` (from 0), ``name``, ``label`` and ``shapes``, elements again; ``frames``, each with ``x``
        in percent, ``seconds``, ``index``, ``words`` and ``image``; ``seconds``, the length of the time axis.
    """
    is_timed = math.isfinite(result.frames[-1].time_seconds)
    at = {one.frame_index: one.time_seconds if is_timed else one.frame_index for one in result.frames}
    length = max(duration_seconds, *at.values()) or 1.0
    x_of_frame = {index: round(100 * place / length, 2) for index, place in at.items()}
    is_alone = len(result.tracks) == 1
    return {
        "label": f"Fake probability over time: {clip_headline(result)}",
        "axes": [*_axes(result, length if is_timed else None)],
        "people": [
            {
                "person": track.track_id,
                "name": person(track.track_id),
                "label": _label(track, is_alone=is_alone),
                "shapes": [*_curve(result, track, x_of_frame)],
            }
            for track in result.tracks
        ],
        "frames": [
            {
                "x": x_of_frame[frame.frame_index],
                "seconds": frame.time_seconds if is_timed else None,
                "index": frame.frame_index,
                "words": frame_words(frame),
                "image": (thumbnails or {}).get(frame.frame_index),
            }
            for frame in result.frames
        ],
        "seconds": length,
    }


def _axes(result: ClipResult, length: float | None) -> Iterator[list[Any]]:
    low, high = result.detector.uncertain_low, result.detector.uncertain_high
    band = {"class": "band", "width": "100%", "y": _y(high), "height": f"{100 * (high - low):.2f}%"}
    yield ["rect", band, ""]
    for value in _GRID:
        yield ["line", {"class": "grid", "x1": "0%", "x2": "100%", "y1": _y(value), "y2": _y(value)}, ""]
        label = {"x": "-8", "y": _y(value), "dy": "4", "text-anchor": "end"}
        yield ["text", label, f"{100 * value:g}%"]
    if length is not None:
        for one in forged_parts(result):
            left, right = (100 * min(at / length, 1.0) for at in (one.start_seconds, one.end_seconds))
            part = {
                "class": "segment",
                "x": f"{left:.2f}%",
                "width": f"{right - left:.2f}%",
                "height": "100%",
            }
            yield ["rect", part, ""]
        for value in _GRID:
            anchor = "end" if value == 1 else "middle" if value else "start"
            label = {"x": f"{100 * value:g}%", "y": "100%", "dy": "19", "text-anchor": anchor}
            yield ["text", label, f"{value * length:.1f} s"]


def _curve(result: ClipResult, track: TrackScore, x_of_frame: Mapping[int, float]) -> Iterator[list[Any]]:
    faces = [
        next((face for face in frame.faces if face.track_id == track.track_id), None)
        for frame in result.frames
    ]
    points = [
        None if face is None else (f"{x_of_frame[frame.frame_index]}%", _y(face.fake_probability))
        for frame, face in zip(result.frames, faces, strict=True)
    ]
    line = "curve deciding" if track.decides else "curve"
    for start, stop in pairwise(points):
        if start and stop:  # no line across frames without the person: nothing is known about them
            ends = {"x1": start[0], "y1": start[1], "x2": stop[0], "y2": stop[1]}
            yield ["line", {"class": line, **ends}, ""]
    for number, point in enumerate(points):
        if point:
            place = {"cx": point[0], "cy": point[1], "r": "3.5", "data-frame": str(number)}
            yield ["circle", {"class": "point", **place}, ""]


def _y(probability: float) -> str:
    return f"{100 * (1 - probability):.2f}%"


def _label(track: TrackScore, *, is_alone: bool) -> str:
    frames = counted(track.num_frames, "frame")
    decides = ", decides the verdict" if track.decides and not is_alone else ""
    return f"{person(track.track_id)}: mean {percent(track.fake_probability)}, {frames}{decides}"


def frame_words(frame: FrameScore) -> str:
    """Return a sampled frame's time, index and faces in words."""
    faces = [f"{person(face.track_id)}: {percent(face.fake_probability)}" for face in frame.faces]
    time = f"{frame.time_seconds:.2f} s, " if math.isfinite(frame.time_seconds) else ""
    return f"{time}frame {frame.frame_index}: {', '.join(faces) or 'no face'}"


@dataclass(frozen=True, eq=False, repr=False)
class TimelineDisplay:
    """Numbers of a timeline, and its figure on demand; notebooks show the figure.

    Attributes:
        title: Name of the clip and verdict.
        duration_seconds: Time of the last sampled frame.
        people: One series per person.
        uncertain_low, uncertain_high: Limits of the undecided range.
        segments: Forged parts of a clip that is forged in part.
    """

    title: str
    duration_seconds: float
    people: tuple[PersonSeries, ...]
    uncertain_low: float
    uncertain_high: float
    segments: tuple[Segment, ...] = ()

    def plot(self) -> Figure:
        """Draw the timeline and return the figure."""
        figure = new_figure(10, 4.2)
        axes = figure.subplots()
        end = max(self.duration_seconds, 0.1)
        axes.set(xlim=(-0.01 * end, end * 1.01), ylim=(-0.03, 1.03))
        axes.set(xlabel="time (s)", ylabel="fake probability (%)")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
        axes.set_title(self.title, parse_math=False)  # a name may contain dollar signs
        if self.uncertain_low < self.uncertain_high:
            axes.axhspan(self.uncertain_low, self.uncertain_high, color="gray", alpha=0.18, label="undecided")
        for part in self.segments:
            label = segment_words(part)
            axes.axvspan(part.start_seconds, part.end_seconds, color="red", alpha=0.12, label=label)
        longest = sorted(self.people, key=lambda one: (-one.track.decides, -one.track.num_frames))
        for one in self.people:
            axes.plot(
                one.times_seconds,
                one.probabilities,
                "o-",
                markersize=3.5,
                linewidth=2.2 if one.track.decides else 1.0,
                alpha=1.0 if one.track.decides else 0.7,
                label=_label(one.track, is_alone=False) if one in longest[:_MAX_NAMED] else None,
            )
        if not self.people:
            center = {"transform": axes.transAxes, "ha": "center"}
            axes.text(0.5, 0.5, "no face found", center, fontsize=16, color="gray")
        axes.grid(alpha=0.25)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=8, frameon=False)
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure as PNG, atomically."""
        save_png(self.plot(), path, dots_per_inch=_DOTS_PER_INCH)

    def __repr__(self) -> str:
        return f"TimelineDisplay({self.title!r})"

    def _repr_png_(self) -> bytes:
        return png_bytes(self.plot(), dots_per_inch=_DOTS_PER_INCH)


def plot_timeline(result: ClipResult) -> TimelineDisplay:
    """Return the timeline of a clip: one line per person, and the undecided range.

    Args:
        result: A scored clip; without a face, the timeline is empty and says so.

    Example:
        >>> from deepfake_detect.records import ClipResult, DetectorInfo
        >>> info = DetectorInfo("x", "1", 0.4, 0.6, "mean")
        >>> display = plot_timeline(ClipResult("a.mp4", "no_face", None, 0, (), (), info))
        >>> display.title, display.uncertain_low, len(display.plot().axes)
        ('a.mp4: No face found', 0.4, 1)
    """
    verdict = clip_headline(result)
    if result.fake_probability is not None and result.verdict != "score":
        verdict += f" ({percent(result.fake_probability)})"
    return TimelineDisplay(
        title=f"{printable(Path(result.video).name)}: {verdict}",
        duration_seconds=max((frame.time_seconds for frame in result.frames), default=0.0),
        people=people_of(result),
        uncertain_low=result.detector.uncertain_low,
        uncertain_high=result.detector.uncertain_high,
        segments=forged_parts(result),
    )
