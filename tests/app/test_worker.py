"""The process that scores, with a real detector and real files."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.app import worker as worker_module
from deepfake_detect.app.jobs import Progress, Task
from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError
from deepfake_detect.app.worker import ScoringProcess, check_media
from deepfake_detect.errors import CheckpointError, VideoUnreadableError, WorkerError
from tests import media
from tests.app.serving import QuickTaskScorer, crash_at_start, until, without_detector
from tests.conftest import ROOT
from tests.documents import check_document
from tests.test_provenance import Notary

LIMITS = Limits()


def task(path: Path, *, name: str = "theirs.mp4", wants_page: bool = False) -> Task:
    return Task(path, name, False, 3, wants_page)


@pytest.fixture(scope="module")
def worker(small_detector: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringProcess]:
    one = ScoringProcess(str(small_detector), "cpu", LIMITS, tmp_path_factory.mktemp("uploads"))
    yield one
    one.close()


def score(worker: ScoringProcess, path: Path, *, wants_page: bool = False) -> tuple[dict, list[Progress]]:
    told: list[Progress] = []
    clip = worker.score(task(path, wants_page=wants_page), told.append, lambda: False)
    return vars(clip), told


def test_the_numbers_are_those_of_the_library(
    worker: ScoringProcess, small_detector: Path, portrait_clip: Path
) -> None:
    clip, told = score(worker, portrait_clip)
    detector = dfd.load_detector(small_detector, device="cpu")
    own = replace(detector.score_video(portrait_clip, num_frames=3), video="theirs.mp4").to_dict()
    own["provenance"] = None
    check_document(clip["score"])
    probabilities = [clip["score"].pop("fake_probability"), own.pop("fake_probability")]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-5)
    assert clip["score"].keys() == own.keys()
    assert str(portrait_clip.parent) not in str(clip)
    assert told == [
        Progress("checking"),
        *(Progress("looking", done, 3) for done in range(4)),
    ]
    assert (clip["page"], clip["report_html"]) == ({}, "")


def test_the_page_gets_words_faces_and_a_report(worker: ScoringProcess, portrait_clip: Path) -> None:
    clip, told = score(worker, portrait_clip, wants_page=True)
    assert told[-1] == Progress("explaining")
    page = clip["page"]
    assert page["headline"]
    assert page["verdicts"].keys() == {"0"}
    assert {moment["is_suspicious"] for moment in page["moments"]} == {True, False}
    assert all(moment["face"].startswith("data:image/jpeg;base64,") for moment in page["moments"])
    assert all(moment["heat_map"] != moment["face"] for moment in page["moments"])
    assert page["headline"] in clip["report_html"]
    assert "theirs.mp4" in clip["report_html"]
    assert str(portrait_clip) not in clip["report_html"]


def test_content_credentials_are_told_beside_the_verdict(
    worker: ScoringProcess, portrait_clip: Path, tmp_path: Path
) -> None:
    signed = Notary().sign(portrait_clip, tmp_path / "a.mp4")
    clip, _ = score(worker, signed, wants_page=True)
    assert clip["score"]["provenance"]["signature_holds"] is True
    assert clip["page"]["credentials"] == clip["score"]["provenance"]["summary"]
    assert "Content Credentials of the file" in clip["report_html"]


def test_a_clip_without_a_face_has_a_page_too(worker: ScoringProcess, faceless_clip: Path) -> None:
    clip, _ = score(worker, faceless_clip, wants_page=True)
    assert (clip["score"]["verdict"], clip["page"]["moments"]) == ("no_face", [])


def test_bad_files_are_told_under_their_own_names(worker: ScoringProcess, tmp_path: Path) -> None:
    text = tmp_path / "x.mp4"
    text.write_text("hello, world\n" * 50)
    with pytest.raises(RequestError, match="^theirs.mp4: is") as told:
        score(worker, text)
    assert told.value.status == 422
    cut = media.cut_off(media.write_clip(tmp_path / "cut.mkv", num_frames=60), keep=0.5)
    with pytest.raises(RequestError, match="send the complete file"):
        score(worker, cut)


def test_a_job_stops_when_its_sender_leaves(worker: ScoringProcess, portrait_clip: Path) -> None:
    with pytest.raises(RequestError, match="was cancelled"):
        worker.score(task(portrait_clip), lambda progress: None, lambda: True)
    assert score(worker, portrait_clip)[0]["score"]["num_frames_scored"] == 3


def test_a_crash_and_a_hang_cost_one_clip_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fault of a decoder ends its process; so does a signal from outside."""
    monkeypatch.setattr(worker_module, "TaskScorer", QuickTaskScorer)
    limits = replace(LIMITS, max_job_seconds=20.0)
    worker = ScoringProcess(None, "cpu", limits, tmp_path / "uploads")
    quick, slow = (task(tmp_path, name=seconds) for seconds in ("0", "60"))

    def crash(progress: Progress) -> None:
        os.kill(worker._process._process.pid or 0, signal.SIGSEGV)

    with pytest.raises(RequestError, match="60: crashed its decoder; convert it to H.264 in MP4"):
        worker.score(slow, crash, lambda: False)
    assert worker.score(quick, lambda progress: None, lambda: False).score == {"num_frames_scored": 3}
    worker._limits = replace(LIMITS, max_job_seconds=0.2)
    with pytest.raises(RequestError, match="60: was not finished after 0.2 s; shorten it"):
        worker.score(slow, lambda progress: None, lambda: False)
    worker._limits = limits
    assert worker.score(quick, lambda progress: None, lambda: False).score == {"num_frames_scored": 3}
    worker.close()
    with pytest.raises(WorkerError, match="worker: was closed"):
        worker.score(quick, lambda progress: None, lambda: False)


@pytest.mark.parametrize(
    ("task_scorer", "error", "words"),
    [
        (crash_at_start, WorkerError, r"worker: crashed while it started \(exit 7\)"),
        (without_detector, CheckpointError, "there is no such detector file"),
    ],
)
def test_a_worker_that_does_not_start(
    task_scorer: object,
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(worker_module, "TaskScorer", task_scorer)
    with pytest.raises(error, match=words):
        ScoringProcess(None, "cpu", LIMITS, tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from deepfake_detect.app import worker as module
from tests.app.serving import QuickTaskScorer

def kill_parent(*_):
    os.kill(os.getpid(), signal.SIGKILL)

module.TaskScorer = QuickTaskScorer
worker = module.ScoringProcess(None, "cpu", module.Limits(), Path(sys.argv[1]))
if sys.argv[2] == "True":
    worker.score(module.Task(Path(), "600", False, 3, False), kill_parent, lambda: False)
kill_parent()
"""


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_worker_whose_parent_was_killed_deletes_the_uploads(is_busy: bool, tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "theirs.mp4").write_bytes(b"x")
    command = [sys.executable, "-c", KILLED, folder, str(is_busy)]
    killed = subprocess.run(command, check=False, cwd=ROOT, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    until(lambda: not folder.exists())


def png(path: Path, width: int, height: int) -> Path:
    """Write a PNG that says a size and holds next to nothing of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + pixels + chunk(b"IEND", b""))
    return path


def test_a_picture_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a.png: has frames of 8000 x 8000 pixels; .*; scale it down"):
        check_media(png(tmp_path / "large.png", 8000, 8000), "a.png", LIMITS)
    with pytest.raises(RequestError, match="has too many pixels"):
        check_media(png(tmp_path / "bomb.png", 60_000, 60_000), "a.png", LIMITS)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(VideoUnreadableError, match="its header is damaged"):
        check_media(damaged, "a.png", LIMITS)


def test_clips_within_and_outside_the_limits(
    portrait_clip: Path, portrait: np.ndarray, tmp_path: Path
) -> None:
    import cv2

    assert check_media(portrait_clip, "a", LIMITS) == 24
    cv2.imwrite(str(tmp_path / "a.jpg"), portrait)
    assert check_media(tmp_path / "a.jpg", "a", LIMITS) == 1
    with pytest.raises(RequestError, match="a: has frames of 320 x 240 pixels"):
        check_media(portrait_clip, "a", replace(LIMITS, max_pixels=320 * 240 - 1))
    with pytest.raises(RequestError, match="a: is 2.0 s long; cut out the part you need"):
        check_media(portrait_clip, "a", replace(LIMITS, max_seconds=1.9))
