from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

import deepfake_detect as dfd
from deepfake_detect.errors import OutputError, WorkerError
from deepfake_detect.provenance import Provenance
from deepfake_detect.scoring import ClipSource, ScoringOptions, score_clips


def die_over_killers(_: object, source: ClipSource, score: dfd.ClipResult, __: Provenance | None) -> None:
    """What a clip does that brings its process down, or whose place cannot be written."""
    if "killer" in source.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "full" in source.name:
        raise OutputError("place", "is full", "make room")


def sources(clip: Path, folder: Path, *names: str) -> list[ClipSource]:
    paths = [folder / f"{name}.mp4" for name in names]
    for path in paths:
        shutil.copyfile(clip, path)
    return [ClipSource(str(path), str(path)) for path in paths]


@pytest.fixture
def options(small_detector: Path) -> ScoringOptions:
    return ScoringOptions(detector=str(small_detector), device="cpu", num_frames=2)


def test_a_process_that_dies_takes_its_clip_alone(
    portrait_clip: Path, faceless_clip: Path, options: ScoringOptions, tmp_path: Path
) -> None:
    clips = sources(portrait_clip, tmp_path, "a", "killer", "c")
    clips += [ClipSource("absent.mp4", "absent.mp4"), ClipSource(str(faceless_clip), str(faceless_clip))]
    results = dict(score_clips(clips, options, num_workers=2, scratch=tmp_path, finish=die_over_killers))
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert [results[n].source for n in range(5)] == clips
    assert isinstance(results[1].error, WorkerError)
    assert "the process that judged it died (signal SIGKILL)" in str(results[1].error)
    assert str(results[3].error).startswith("absent.mp4: there is no such file")
    here = dfd.load_detector(options.detector, device="cpu").score_video(clips[0].name, num_frames=2)
    for number in (0, 2):
        there = results[number].score
        assert there is not None
        assert there.video == clips[number].name
        assert there.verdict == here.verdict
        assert there.fake_probability == pytest.approx(here.fake_probability, abs=1e-6)
    assert results[4].score is not None
    assert results[4].score.verdict == "no_face"


def test_a_place_that_cannot_be_written_ends_all_and_no_process_is_left(
    portrait_clip: Path, options: ScoringOptions, tmp_path: Path
) -> None:
    clips = sources(portrait_clip, tmp_path, "a", "full", "never")
    results = score_clips(clips, options, num_workers=1, scratch=tmp_path, finish=die_over_killers)
    assert next(results)[0] == 0
    assert len(multiprocessing.active_children()) == 1
    with pytest.raises(OutputError, match="place: is full"):
        next(results)
    assert not multiprocessing.active_children()
