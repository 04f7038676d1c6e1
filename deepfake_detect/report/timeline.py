"""The picture of a scored clip: fake probability of each person over time."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detect.io.files import atomic_path
from deepfake_detect.records import ClipResult
from deepfake_detect.report.drawing import new_figure
from deepfake_detect.report.verdicts import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONG_ENOUGH_TO_NAME = 12


def save_timeline_figure(score: ClipResult, path: Path) -> None:
    """Draw one line a person, the threshold and the band called uncertain; title: the verdict.

    Args:
        score: A scored clip; one without a face gives an empty timeline that says so.
        path: PNG to write.
    """
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Of a name in letters that the font does not have; they are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        timeline_figure(score).savefig(temporary, dpi=120, format="png")


def timeline_figure(score: ClipResult) -> Figure:
    """Return the figure of :func:`save_timeline_figure`."""
    figure = new_figure(10, 4.2)
    axes = figure.subplots()
    detector = score.detector
    end = max((frame.time_seconds for frame in score.frames), default=0.0)
    axes.set(xlim=(-0.01 * max(end, 0.1), max(end, 0.1) * 1.01), ylim=(-0.03, 1.03))
    axes.set(xlabel="time (s)", ylabel="fake probability (1 = fake)")
    axes.set_title(_title(score), parse_math=False)  # a name may hold dollars
    axes.axhline(detector.threshold, color="black", linewidth=0.9, linestyle="--", label="threshold")
    if detector.uncertain_low < detector.uncertain_high:
        axes.axhspan(
            detector.uncertain_low, detector.uncertain_high, color="gray", alpha=0.18, label="uncertain"
        )
    _draw_tracks(axes, score)
    if not score.tracks:
        axes.text(0.5, 0.5, "no face found", transform=axes.transAxes, ha="center", fontsize=16, color="gray")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=8, frameon=False)
    return figure


def _title(score: ClipResult) -> str:
    name = printable(Path(score.video).name)
    if score.fake_probability is None:
        return f"{name}: no face"
    return f"{name}: {score.verdict} (fake probability {score.fake_probability:.2f})"


def _draw_tracks(axes: object, score: ClipResult) -> None:
    """Draw each person; those seen in few frames share one label."""
    longest = sorted(score.tracks, key=lambda track: (-track.decides, -track.num_frames))
    named = {track.track_id for track in longest[:_LONG_ENOUGH_TO_NAME]}
    for track in score.tracks:
        points = np.array(
            [
                (frame.time_seconds, face.fake_probability)
                for frame in score.frames
                for face in frame.faces
                if face.track_id == track.track_id
            ]
        )
        label = f"person {track.track_id}: mean {track.fake_probability:.2f}, {track.num_frames} frames"
        axes.plot(  # type: ignore[attr-defined]
            points[:, 0],
            points[:, 1],
            "o-",
            markersize=3.5,
            linewidth=2.2 if track.decides else 1.0,
            alpha=1.0 if track.decides else 0.7,
            label=(label + (" (decides)" if track.decides else "")) if track.track_id in named else None,
        )
