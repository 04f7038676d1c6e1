"""The timeline of a scored clip as a figure: fake probability of each person over time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.records import ClipResult
from deepfake_detect.report.drawing import new_figure, png_bytes, save_png
from deepfake_detect.report.people import PersonSeries, people_of
from deepfake_detect.report.words import HEADLINES, percent, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_NAMED = 12  # people with an entry in the legend
_DOTS_PER_INCH = 120


@dataclass(frozen=True, eq=False)
class TimelineDisplay:
    """Numbers of a timeline, and its figure on demand; notebooks show the figure.

    Attributes:
        title: Name of the clip and verdict.
        duration_seconds: Time of the last sampled frame.
        people: One series per person.
        uncertain_low, uncertain_high: Bounds of the uncertain band.
    """

    title: str
    duration_seconds: float
    people: tuple[PersonSeries, ...]
    uncertain_low: float
    uncertain_high: float

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
        self._plot_people(axes)
        if not self.people:
            center = {"transform": axes.transAxes, "ha": "center"}
            axes.text(0.5, 0.5, "no face found", center, fontsize=16, color="gray")
        axes.grid(alpha=0.25)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=8, frameon=False)
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure as PNG, atomically."""
        save_png(self.plot(), path, dots_per_inch=_DOTS_PER_INCH)

    def _repr_png_(self) -> bytes:
        return png_bytes(self.plot(), dots_per_inch=_DOTS_PER_INCH)

    def _plot_people(self, axes: Axes) -> None:
        longest = sorted(self.people, key=lambda one: (-one.track.decides, -one.track.num_frames))
        named = {one.track.track_id for one in longest[:_MAX_NAMED]}
        for one in self.people:
            track = one.track
            label = f"{one.name}: mean {percent(track.fake_probability)}, {track.num_frames} frames"
            axes.plot(
                one.times_seconds,
                one.probabilities,
                "o-",
                markersize=3.5,
                linewidth=2.2 if track.decides else 1.0,
                alpha=1.0 if track.decides else 0.7,
                label=(label + " (decides)" * track.decides) if track.track_id in named else None,
            )


def plot_timeline(result: ClipResult) -> TimelineDisplay:
    """Return the timeline of a clip: one line per person, and the undecided range.

    Args:
        result: A scored clip; one without a face gives an empty timeline that says so.

    Example:
        >>> from deepfake_detect.records import ClipResult, DetectorInfo
        >>> info = DetectorInfo("x", "1", 0.4, 0.6, "mean")
        >>> display = plot_timeline(ClipResult("a.mp4", "no_face", None, 0, (), (), info))
        >>> display.title, display.uncertain_low, len(display.plot().axes)
        ('a.mp4: No face found', 0.4, 1)
    """
    name, detector = printable(Path(result.video).name), result.detector
    verdict = HEADLINES[result.verdict]
    if result.fake_probability is not None:
        verdict += f" ({percent(result.fake_probability)})"
    return TimelineDisplay(
        title=f"{name}: {verdict}",
        duration_seconds=max((frame.time_seconds for frame in result.frames), default=0.0),
        people=people_of(result),
        uncertain_low=detector.uncertain_low,
        uncertain_high=detector.uncertain_high,
    )
