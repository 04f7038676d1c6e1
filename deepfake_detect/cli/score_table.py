"""A clip's verdict as a short table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from deepfake_detect.report.verdicts import HEADLINES

if TYPE_CHECKING:
    from deepfake_detect.records import ClipRecord

_MOST_PEOPLE = 8


def print_score(score: ClipRecord, *, seconds: float, file: TextIO) -> None:
    """Print what a person wants to know of a clip first.

    Args:
        score: Of the clip.
        seconds: That scoring took, above 0.
        file: Where to.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in score_rows(score, seconds=seconds):
        table.add_row(name, Text(value))  # a file's name may look like markup
    Console(file=file, highlight=False).print(table)


def score_rows(score: ClipRecord, *, seconds: float) -> list[tuple[str, str]]:
    """Return the table's rows: name and value."""
    rows = [("verdict", f"{score.verdict}: {HEADLINES[score.verdict].lower()}")]
    if score.fake_probability is not None:
        interval = score.fake_probability_interval
        over = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}] over frames"
        decider = score.deciding_track
        whose = "" if decider is None else f", of person {decider.track_id}"
        rows.append(("fake probability", f"{score.fake_probability:.3f}{over}{whose}"))
        rows.append(("faces followed", _people(score)))
    rows.append(("frames used", f"{score.num_frames_scored} of {len(score.frames)} looked at"))
    rows.append(("time", f"{seconds:.1f} s, {len(score.frames) / seconds:.0f} frames a second"))
    rows += [("less sure because", limit.text) for limit in score.limits]
    rows.append(("detector", f"{score.detector.name} {score.detector.version}"))
    return rows


def _people(score: ClipRecord) -> str:
    if len(score.tracks) == 1:
        return "1 person"
    shown = sorted(score.tracks, key=lambda track: (not track.decides, -track.fake_probability))
    words = ", ".join(
        f"{track.track_id} {track.verdict} {track.fake_probability:.2f}" for track in shown[:_MOST_PEOPLE]
    )
    return f"{len(score.tracks)} people: {words}{', ...' if len(shown) > _MOST_PEOPLE else ''}"
