from __future__ import annotations

import io
from dataclasses import replace

from deepfake_detect.cli.score_table import print_score, score_rows
from deepfake_detect.records import ClipRecord, DetectorInfo, FrameScore, QualityWarning, TrackScore

INFO = DetectorInfo("x", "1", 0.5, 0.4, 0.6, "most_suspicious_track")


def score(num_people: int = 1) -> ClipRecord:
    tracks = tuple(
        TrackScore(number, 4, 0.7 - number / 100, number == 0, "fake") for number in range(num_people)
    )
    frames = tuple(FrameScore(number, number / 4, ()) for number in range(8))
    limits = (QualityWarning("few_frames", "seen in 4 [frames]"),)
    return ClipRecord("a.mp4", "fake", 0.7, 4, frames, tracks, INFO, (0.6, 0.8), limits)


def test_the_table_tells_what_matters_first() -> None:
    assert score_rows(score(), seconds=2.0) == [
        ("verdict", "fake: probably forged"),
        ("fake probability", "0.700 [0.600, 0.800] over frames, of person 0"),
        ("faces followed", "1 person"),
        ("frames used", "4 of 8 looked at"),
        ("time", "2.0 s, 4 frames a second"),
        ("less sure because", "seen in 4 [frames]"),
        ("detector", "x 1"),
    ]
    rows = dict(score_rows(score(2), seconds=2.0))
    assert rows["faces followed"] == "2 people: 0 fake 0.70, 1 fake 0.69"
    assert dict(score_rows(score(9), seconds=1.0))["faces followed"].endswith("7 fake 0.63, ...")


def test_no_face_has_no_probability() -> None:
    none = replace(
        score(), verdict="no_face", fake_probability=None, num_frames_scored=0, tracks=(), limits=()
    )
    names = [name for name, _ in score_rows(none, seconds=1.0)]
    assert names == ["verdict", "frames used", "time", "detector"]


def test_brackets_are_printed_as_they_are() -> None:
    out = io.StringIO()
    print_score(score(), seconds=2.0, file=out)
    assert "seen in 4 [frames]" in out.getvalue()
