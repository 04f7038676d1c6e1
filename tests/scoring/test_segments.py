"""Forged parts of clips: the second pass, the segments, and the verdict."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.records import ClipResult, DetectorInfo, FaceScore, FrameScore, TrackScore
from deepfake_detect.scoring import Detector, load_detector
from deepfake_detect.scoring.segments import (
    frames_to_add,
    suspicious_parts,
    with_known_people,
    with_segments,
)
from deepfake_detect.video import VideoWriter, read_frames

INFO = DetectorInfo("x", "1", 0.3, 0.8, "most_suspicious_track")
DEMO = Path(__file__).parents[2] / "examples" / "demo.mp4"
LOW, HIGH = 0.03, 0.75


def frame(index: int, *probabilities: float | None, shift: float = 0.0) -> FrameScore:
    """Return a frame at 10 frames per second with a face per probability, 100 pixels apart."""
    faces = tuple(
        FaceScore(np.float32([100 * n + shift, 0, 100 * n + 60 + shift, 80]), n, 0.99, probability)
        for n, probability in enumerate(probabilities)
        if probability is not None
    )
    return FrameScore(index, index / 10, faces)


def result(
    frames: list[FrameScore], *, probabilities: tuple[float, ...], verdicts: tuple[str, ...]
) -> ClipResult:
    tracks = tuple(
        TrackScore(n, len(frames), probability, n == 0, verdict)  # type: ignore[arg-type]
        for n, (probability, verdict) in enumerate(zip(probabilities, verdicts, strict=True))
    )
    return ClipResult("a.mp4", verdicts[0], probabilities[0], len(frames), tuple(frames), tracks, INFO)  # type: ignore[arg-type]


def part_forged() -> list[FrameScore]:
    """Return every 10th frame of a clip of 20 s that is forged from 5 s to 12 s."""
    return [frame(index, HIGH if 50 <= index < 120 else LOW) for index in range(0, 200, 10)]


def test_the_borders_are_sampled_again_and_no_more_than_as_many_frames() -> None:
    frames = part_forged()
    parts = suspicious_parts(frames)
    assert [(p.before, p.first, p.last, p.after) for p in parts] == [(40, 50, 110, 120)]
    wanted = frames_to_add(parts, frames)
    assert wanted == [*range(41, 50), *range(111, 120)]
    many = [replace(part, stretch=replace(part.stretch, stop=part.stretch.start + 1)) for part in parts]
    assert len(frames_to_add(many, frames)) <= len(frames)


def test_a_clip_of_one_level_is_not_sampled_again() -> None:
    frames = [frame(index, HIGH) for index in range(0, 200, 10)]
    assert suspicious_parts(frames) == []
    assert frames_to_add([], frames) == []


def test_a_forged_part_has_exact_borders_and_decides() -> None:
    frames = part_forged()
    parts = suspicious_parts(frames)
    extra = [frame(index, HIGH if 47 <= index < 114 else LOW) for index in frames_to_add(parts, frames)]
    clip = result(frames, probabilities=(0.28,), verdicts=("real",))
    found = with_segments(clip, parts, with_known_people(extra, frames), end_seconds=20.0)
    (segment,) = found.segments
    assert segment.start_seconds == pytest.approx(4.65)
    assert segment.end_seconds == pytest.approx(11.35)
    assert segment.fake_probability == pytest.approx(HIGH)
    assert not segment.is_whole
    assert (found.verdict, found.fake_probability) == ("fake", pytest.approx(HIGH))
    assert found.tracks[0].verdict == "fake"
    assert found.tracks[0].fake_probability == 0.28
    assert len(found.frames) == 20
    assert len(found.extra_frames) == len(extra)


def test_a_part_that_the_second_look_denies_is_dropped() -> None:
    frames = [frame(index, HIGH if index == 50 else LOW) for index in range(0, 200, 10)]
    parts = suspicious_parts(frames)
    assert parts
    extra = [frame(index, LOW) for index in frames_to_add(parts, frames)]
    clip = result(frames, probabilities=(0.06,), verdicts=("real",))
    found = with_segments(clip, parts, with_known_people(extra, frames), end_seconds=20.0)
    assert (found.segments, found.verdict, found.fake_probability) == ((), "real", 0.06)


def test_a_part_of_a_third_of_a_second_is_dropped() -> None:
    frames = [frame(index, HIGH if index == 50 else LOW) for index in range(0, 200, 10)]
    parts = suspicious_parts(frames)
    extra = [frame(i, HIGH if 49 <= i <= 51 else LOW) for i in frames_to_add(parts, frames)]
    clip = result(frames, probabilities=(0.06,), verdicts=("real",))
    assert with_segments(clip, parts, with_known_people(extra, frames), end_seconds=20.0).segments == ()


def test_a_person_who_is_forged_throughout_has_one_whole_segment() -> None:
    frames = [frame(index, 0.95, LOW) for index in range(0, 200, 10)]
    clip = result(frames, probabilities=(0.95, LOW), verdicts=("fake", "real"))
    found = with_segments(clip, [], (), end_seconds=20.0)
    (segment,) = found.segments
    assert (segment.track_id, segment.start_seconds, segment.end_seconds) == (0, 0.0, 20.0)
    assert segment.is_whole
    assert found.fake_probability == 0.95


def test_the_second_person_can_be_the_forged_one() -> None:
    frames = [frame(i, 0.4, HIGH if 50 <= i < 120 else LOW) for i in range(0, 200, 10)]
    clip = result(frames, probabilities=(0.4, 0.28), verdicts=("uncertain", "real"))
    parts = suspicious_parts(frames)
    found = with_segments(clip, parts, (), end_seconds=20.0)
    assert [one.track_id for one in found.segments] == [1]
    assert [track.decides for track in found.tracks] == [False, True]
    assert [track.verdict for track in found.tracks] == ["uncertain", "fake"]


def test_faces_of_the_second_pass_go_to_the_person_nearest_to_them() -> None:
    frames = [frame(0, LOW, LOW), frame(10, LOW, LOW, shift=20)]
    swapped = FrameScore(5, 0.5, tuple(reversed(frame(5, 0.1, 0.2, shift=10).faces)))
    stranger = FaceScore(np.float32([900, 0, 960, 80]), 7, 0.99, 0.5)
    (found,) = with_known_people([replace(swapped, faces=(*swapped.faces, stranger))], frames)
    assert [(face.track_id, face.fake_probability) for face in found.faces] == [(1, 0.2), (0, 0.1)]


@pytest.fixture(scope="module")
def half_dark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demo, dark from 2.0 to 4.4 seconds; it ends after 6."""
    path = tmp_path_factory.mktemp("clips") / "half_dark.mp4"
    with VideoWriter(path, width=640, height=360, frames_per_second=25) as writer:
        for one in islice(read_frames(DEMO), 150):
            writer.write(one.image // 4 if 50 <= one.frame_index < 110 else one.image)
    return path


@pytest.fixture
def brightness_detector(monkeypatch: pytest.MonkeyPatch) -> Detector:
    """Return a detector that takes dark faces for forged ones."""
    detector = load_detector()
    monkeypatch.setattr(
        detector, "score_crops", lambda crops: np.array([0.9 if crop.mean() < 50 else 0.02 for crop in crops])
    )
    return detector


def test_a_clip_is_sampled_twice_and_its_forged_part_found(
    half_dark: Path, brightness_detector: Detector
) -> None:
    found = brightness_detector.score_video(half_dark)
    (segment,) = found.segments
    assert segment.start_seconds == pytest.approx(2.0, abs=0.05)
    assert segment.end_seconds == pytest.approx(4.4, abs=0.05)
    assert (found.verdict, found.fake_probability) == ("fake", pytest.approx(0.9))
    assert 0 < len(found.extra_frames) <= len(found.frames)
    assert ClipResult.from_dict(found.to_dict()).segments == found.segments


def test_without_segments_the_clip_has_one_score(half_dark: Path, brightness_detector: Detector) -> None:
    found = brightness_detector.score_video(half_dark, segments="off")
    assert (found.segments, found.extra_frames) == ((), ())
    assert found.fake_probability == found.tracks[0].fake_probability


def test_a_detector_without_calibration_finds_no_parts(
    half_dark: Path, brightness_detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        brightness_detector, "config", replace(brightness_detector.config, is_calibrated=False)
    )
    found = brightness_detector.score_video(half_dark)
    assert (found.verdict, found.segments) == ("score", ())
