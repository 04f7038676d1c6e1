from __future__ import annotations

import io
from dataclasses import replace

import pytest

from deepfake_detect.records import ClipResult, DetectorInfo, FrameScore, QualityWarning, TrackScore
from deepfake_detect.report.tables import clip_rows, print_clip
from deepfake_detect.report.terminal import Column, print_markdown, print_table

INFO = DetectorInfo("x", "1", 0.4, 0.6, "most_suspicious_track")


def score(num_people: int = 1) -> ClipResult:
    tracks = tuple(
        TrackScore(number, 4, 0.7 - number / 100, number == 0, "fake") for number in range(num_people)
    )
    frames = tuple(FrameScore(number, number / 4, ()) for number in range(8))
    limits = (QualityWarning("few_frames", "seen in 4 [frames]"),)
    return ClipResult("a.mp4", "fake", 0.7, 4, frames, tracks, INFO, (0.6, 0.8), limits)


def test_the_most_important_rows_come_first() -> None:
    assert clip_rows(score(), seconds=2.0) == [
        ("verdict", "Signs of forgery found"),
        (
            "meaning",
            "The detector found traces of forgery in the face: the fake probability is 70%, at or above the "
            "limit of 60%.",
        ),
        ("fake probability", "70% for person 1 (60–80% with other frames)"),
        ("people", "1 person"),
        ("frames with a face", "4 of 8 sampled"),
        ("time", "2.0 s, 4 frames per second"),
        ("limits of this verdict", "seen in 4 [frames]"),
        ("detector", "x 1"),
    ]
    rows = dict(clip_rows(score(2), seconds=2.0))
    assert rows["people"] == "2 people: person 1 70%, person 2 69%"
    assert dict(clip_rows(score(9), seconds=1.0))["people"].endswith("person 8 63%, ...")


def test_no_face_has_no_probability() -> None:
    none = replace(
        score(), verdict="no_face", fake_probability=None, num_frames_scored=0, tracks=(), warnings=()
    )
    names = [name for name, _ in clip_rows(none, seconds=1.0)]
    assert names == ["verdict", "meaning", "frames with a face", "time", "what to try next", "", "detector"]


def test_brackets_are_printed_as_they_are() -> None:
    out = io.StringIO()
    print_clip(score(), seconds=2.0, file=out)
    assert "seen in 4 [frames]" in out.getvalue()


# --- any table -----------------------------------------------------------------------------------


def printed(**options: object) -> str:
    out = io.StringIO()
    columns = ["name", "count", Column("weights", "id")]
    rows = [["[b]a long name of two words\x1b[31m", "1,024", "x.y_z"], None, ["short"]]
    print_table("Title [1]", columns, rows, caption="one\ntwo", file=out, **options)  # type: ignore[arg-type]
    return out.getvalue()


def test_names_break_and_numbers_never_do() -> None:
    text = printed(width=24)
    assert "1,024" in text
    assert "x.y_z" in text
    assert "a long name of two words" not in text
    assert "Title [1]" in text
    assert "one\ntwo" in text.replace(" \n", "\n").replace(" ", "")
    assert "\x1b" not in text
    assert "[b]a long name of two words" in printed(width=80)


def test_what_must_not_break_makes_lines_longer_than_a_narrow_terminal() -> None:
    out = io.StringIO()
    print_table("", [Column("backbone", "id"), "size"], [["a_very_long_name" * 4, "1"]], file=out, width=20)
    assert "a_very_long_name" * 4 in out.getvalue()


def test_markdown_is_rendered_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    print_markdown("# Title", file=out)
    assert out.getvalue() == "# Title\n"
    monkeypatch.setattr(out, "isatty", lambda: True)
    print_markdown("# Title", file=out)
    assert out.getvalue().count("# Title") == 1
    assert out.getvalue().count("Title") == 2
