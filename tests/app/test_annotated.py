"""Downloads of the page that are made when they are asked for, and clips of the web."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.app import links
from deepfake_detect.app.annotated import annotated_clip
from deepfake_detect.app.fair_queue import Owner
from deepfake_detect.app.jobs import Job, ScoredClip, Task
from deepfake_detect.app.links import fetch_upload
from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError
from deepfake_detect.app.uploads import Upload
from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.io.media import media_kind
from deepfake_detect.records import ClipResult, DetectorInfo, FaceScore, FrameScore, TrackScore
from deepfake_detect.video import read_metadata


def finished_job(clip: Path, folder: Path) -> Job:
    path = Path(shutil.copy(clip, folder / "1.mp4"))
    kind = media_kind(path.read_bytes())
    assert kind is not None
    face = FaceScore(np.array([10, 10, 90, 90], np.float32), 0, 0.9, 0.7)
    frames = tuple(FrameScore(number, number / 12, (face,)) for number in (0, 23))
    track = TrackScore(0, 2, 0.7, True, "fake")
    info = DetectorInfo("x", "1", 0.4, 0.6, "mean")
    result = ClipResult("a.mp4", "fake", 0.7, 2, frames, (track,), info, frame_size=(320, 240))
    outcome: Future[ScoredClip] = Future()
    outcome.set_result(ScoredClip(result.to_dict()))
    task = Task(path, "a.mp4", False, 2, True)
    return Job("1", Owner("", ""), Upload(path, "a.mp4", kind, 1), task, outcome)


def test_a_clip_with_boxes_is_made_once_and_deleted_with_the_upload(
    portrait_clip: Path, tmp_path: Path
) -> None:
    job = finished_job(portrait_clip, tmp_path)
    made = annotated_clip(job, max_seconds=60)
    assert read_metadata(made).num_frames == 24
    written = made.stat().st_mtime_ns
    assert annotated_clip(job, max_seconds=60).stat().st_mtime_ns == written
    job.delete_upload()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RequestError, match="upload: was deleted"):
        annotated_clip(job, max_seconds=60)


def test_what_has_no_boxes_says_so(portrait_clip: Path, tmp_path: Path) -> None:
    job = finished_job(portrait_clip, tmp_path)
    job.task = replace(job.task, is_image=True)
    with pytest.raises(RequestError, match="a.mp4: is an image, not a clip; download the report"):
        annotated_clip(job, max_seconds=60)
    job.task = replace(job.task, is_image=False)
    with pytest.raises(RequestError, match="a.mp4: could not be written with boxes"):
        annotated_clip(job, max_seconds=0)
    job.upload.path.write_bytes(b"damaged")
    with pytest.raises(RequestError, match="a.mp4: could not be written with boxes"):
        annotated_clip(job, max_seconds=60)
    assert not job.annotated_path.exists()


def test_a_link_becomes_an_upload(
    portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "fetch", lambda url, folder, **_: Path(shutil.copy(portrait_clip, folder)))
    upload = fetch_upload("https://example.org/v/news.mp4?t=1", tmp_path, Limits())
    assert (upload.name, upload.kind.mime, upload.path.suffix) == ("news.mp4", "video/mp4", ".mp4")
    assert list(tmp_path.iterdir()) == [upload.path]


def test_links_that_are_rejected_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, folder: Path, *, on_bytes: object) -> Path:
        if "gone" in url:
            raise VideoUnreadableError(url, "cannot be downloaded (404)", "check the URL")
        path = folder / "clip.mp4"
        path.write_bytes(b"hello, world\n" * 100_000)
        on_bytes(10 if "slow" in url else path.stat().st_size, None)  # type: ignore[operator]
        return path

    monkeypatch.setattr(links, "fetch", fetch)
    small = Limits(max_upload_mb=1)
    for url, limits, words in (
        ("file:///etc/passwd", Limits(), "url: is 'file:///etc/passwd'; pass the address of a clip"),
        ("https://example.org/gone", Limits(), r"cannot be downloaded \(404\); check the URL"),
        ("https://example.org/large", small, "is too large; pass a shorter clip"),
        ("https://example.org/text", Limits(), "is not a supported video or image"),
        ("https://example.org/slow", Limits(max_upload_seconds=1e-9), "was not complete after 1e-09 s"),
    ):
        with pytest.raises(RequestError, match=words):
            fetch_upload(url, tmp_path, limits)
    assert list(tmp_path.iterdir()) == []
