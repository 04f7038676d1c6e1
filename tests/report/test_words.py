"""What people read about a clip, from its numbers alone."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from deepfake_detect.records import (
    ClipResult,
    DetectorInfo,
    FaceScore,
    FrameScore,
    QualityWarning,
    TrackScore,
    Verdict,
)
from deepfake_detect.report.words import BLIND_SPOTS, HEADLINES, SIGNS, verdict_words
from tests.conftest import ROOT

INFO = DetectorInfo("x", "1", 0.37, 0.88, "most_suspicious_track")


def clip(
    verdict: Verdict, *probabilities: float, warnings: tuple[str, ...] = (), step: int = 1
) -> ClipResult:
    """Return a clip of four frames, ``step`` apart, in which each person has one probability."""
    box = np.array([0, 0, 50, 50], np.float32)
    frames = tuple(
        FrameScore(
            number * step,
            number / 10,
            tuple(FaceScore(box, track, 0.99, value) for track, value in enumerate(probabilities)),
        )
        for number in range(4)
    )
    tracks = tuple(
        TrackScore(track, 4, value, track == 0, "real" if value < 0.37 else "uncertain")
        for track, value in enumerate(probabilities)
    )
    limits = tuple(QualityWarning(kind, f"about {kind}") for kind in warnings)
    first = probabilities[0] if probabilities else None
    return ClipResult("a.mp4", verdict, first, 4, frames, tracks, INFO, warnings=limits)


def plain(text: str) -> str:
    return text.replace("\xa0", " ")


def test_a_forgery_names_the_one_limit_and_never_the_threshold() -> None:
    words = verdict_words(clip("fake", 0.93))
    assert (words.headline, words.advice) == ("Signs of forgery found", ())
    assert "the fake probability is 93%" in plain(words.meaning)
    assert "above the limit of 88%" in plain(words.meaning)
    assert "50%" not in plain(words.meaning)


def test_no_signs_say_what_the_detector_cannot_see() -> None:
    words = verdict_words(replace(clip("real", 0.05, 0.02), fake_probability_interval=(0.02, 0.11)))
    assert words.meaning.endswith(BLIND_SPOTS)
    assert "in person 1: the fake probability is 5%, below the limit of 37%" in plain(words.meaning)
    assert "probably give 2–11%" in plain(words.interval)
    assert words.advice == ()
    assert SIGNS["real"] not in "✓✔"


@pytest.mark.parametrize(
    ("result", "reason", "advice"),
    [
        (clip("uncertain", 0.6, warnings=("small_faces",)), "about small_faces", "a better copy"),
        (clip("uncertain", 0.6, warnings=("few_frames",)), "about few_frames", "another part of the clip"),
        (clip("uncertain", 0.6, warnings=("single_picture",)), "single_picture", "the video that the image"),
        (clip("uncertain", 0.6, warnings=("another_rule",)), "another_rule", "own aggregation rule"),
        (clip("uncertain", 0.6, 0.1), "the people differ: person 1 60%, person 2 10%", "of person 1"),
        (clip("uncertain", 0.86), "near 88%, the limit of “Signs of forgery found”", "who published"),
        (clip("uncertain", 0.4), "near 37%, the limit of “No signs of forgery found”", "who published"),
        (clip("uncertain", 0.6, step=9), "the traces are weak", "more than 4 frames"),
        (
            replace(clip("uncertain", 0.6), fake_probability_interval=(0.5, 0.9)),
            *("near 88%", "who published"),
        ),
    ],
)
def test_undecided_names_the_causes_in_this_clip_and_what_to_try(
    result: ClipResult, reason: str, advice: str
) -> None:
    words = verdict_words(result)
    assert (words.headline, words.reasons_title) == ("Undecided", "Why undecided")
    assert reason in plain(" ".join(words.reasons))
    assert advice in plain(" ".join(words.advice))
    assert "60%, is between 37% and 88%" in plain(words.meaning) or result.fake_probability != 0.6


def test_other_verdicts_have_limits_instead_of_causes() -> None:
    words = verdict_words(clip("fake", 0.93, 0.1, warnings=("small_faces",)))
    assert (words.reasons_title, words.reasons) == ("Limits of this verdict", ("about small_faces",))


def test_no_face_says_what_to_try() -> None:
    words = verdict_words(clip("no_face"))
    assert words.headline == "No face found"
    assert "in 4 sampled frames" in words.meaning
    assert "turned or covered" in words.advice[0]


@pytest.mark.parametrize(
    ("verdict", "probability", "words"),
    [
        ("uncertain", 0.8799, "87.99%, is between 37.00% and 88.00%"),
        ("real", 0.3651, "36.5%, below the limit of 37.0%"),
        ("fake", 0.88, "is 88%, at or above the limit of 88%"),
        ("fake", 1.0, "is 99%"),
    ],
)
def test_a_probability_never_looks_equal_to_a_limit_that_it_is_not(
    verdict: Verdict, probability: float, words: str
) -> None:
    assert words in plain(verdict_words(clip(verdict, probability)).meaning)


def test_words_load_no_other_library() -> None:
    code = (
        "import sys; from deepfake_detect.report.words import verdict_words, percent;"
        "print([m for m in ('torch','matplotlib','scipy','rich','jinja2','cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reports_on_clips_load_what_the_base_installation_has() -> None:
    code = (
        "import sys; from deepfake_detect.report import annotate, clip, key_frames, tables;"
        "print([m for m in ('torch','matplotlib','scipy','pyarrow','duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_called_trustworthy_and_no_verdict_has_other_words() -> None:
    texts = [
        path.read_text("utf-8") for path in (ROOT / "deepfake_detect").rglob("*.*") if _is_text(path.suffix)
    ]
    assert not any("trustworthy" in text for text in texts)
    for headline in ("Signs of forgery found", "No signs of forgery found"):
        assert sum(f'"{headline}"' in text for text in texts) == 1
    assert set(HEADLINES) == set(SIGNS)


def _is_text(suffix: str) -> bool:
    return re.fullmatch(r"\.(py|j2|html|js|css|json|md)", suffix) is not None


def test_a_detector_that_is_not_calibrated_gives_a_score_and_no_verdict() -> None:
    from deepfake_detect.report.tables import clip_line, clip_rows

    info = replace(INFO, is_calibrated=False, uncertain_low=0.5, uncertain_high=0.5)
    result = replace(clip("score", 0.834, 0.2), detector=info)
    words = verdict_words(result)
    assert words.headline == "Score 0.83 (not calibrated: run calibrate)"
    assert "neither a probability nor a verdict" in words.meaning
    assert "Calibrate the detector on labeled validation videos" in words.advice[0]
    line = clip_line(result)
    assert line.startswith("a.mp4: Score 0.83 (not calibrated: run calibrate) (2 people in 4 of 4 frames")
    rows = dict(clip_rows(result, seconds=1.0))
    assert rows["score"].startswith("83")
    everything = " ".join([line, *rows.values(), words.meaning, *words.reasons, *words.advice])
    for verdict in ("real", "fake", "uncertain"):
        assert HEADLINES[verdict] not in everything  # type: ignore[index]
