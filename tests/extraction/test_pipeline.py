"""Reading, detecting and writing at the same time changes nothing but the time it takes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import OutputError, VideoUnreadableError
from deepfake_detect.extraction import ExtractionConfig, pipeline
from deepfake_detect.extraction.engines import face_detector
from deepfake_detect.extraction.pipeline import stream_videos
from deepfake_detect.extraction.store import assemble, index_path
from deepfake_detect.extraction.video import Job
from deepfake_detect.records import DatasetVideo, Face, Frame
from tests.extraction.conftest import Extracted
from tests.extraction.helpers import CONFIG, contents, extract, videos_of

FACE = Face(np.array([8, 8, 24, 24], np.float32), 0.99, np.full((5, 2), 16, np.float32))
CROPS = ExtractionConfig(person="all")
LOOKAHEAD = 3


class StubDetector:
    """Finds the same face in every frame; fails on frames whose first pixel is 255."""

    runtime = "stub"

    def detect(self, image: np.ndarray) -> list[Face]:
        if image[0, 0, 0] == 255:
            raise ValueError("poison")
        return [FACE]

    def detect_each(self, images: Iterable[np.ndarray]) -> Iterator[list[Face]]:
        """Take several images before looking at the first, as the real one does."""
        several = iter(images)
        while batch := list(islice(several, LOOKAHEAD)):
            yield from [self.detect(image) for image in batch]


def jobs(out: Path, names: str = "abc") -> list[Job]:
    return [
        Job(DatasetVideo("D", f"D/m/{name}", "m", 0, None, None, None, None, Path(name)), out, CROPS)
        for name in names
    ]


def frames_of(job: Job, num_frames: int = 8) -> Iterator[Frame]:
    """Yield made-up frames that tell the video and the frame apart."""
    for index in range(num_frames):
        image = np.full((32, 32, 3), ord(job.video.path.name), np.uint8)
        image[16, 16] = index
        yield Frame(image, index, index / 25)


def test_workers_and_streams_give_the_same_bytes(whole: Extracted, tmp_path: Path) -> None:
    tree, wanted = whole.tree, contents(whole.out)
    assert len([name for name in wanted if name.endswith(".png")]) == 16
    extract(tree, tmp_path / "2", num_workers=2)
    assert contents(tmp_path / "2") == wanted
    out = tmp_path / "streams"
    videos = [Job(video, out, CONFIG) for video in videos_of(tree)]
    detector = face_detector(CONFIG, "auto", "cpu")
    names = stream_videos(videos, detector=detector, num_streams=3, run_length=2)
    assert sorted(names) == sorted(job.video.video_id for job in videos)
    assemble(out, CONFIG, videos_of(tree))
    del wanted["settings.json"]
    assert contents(out) == wanted


def test_frames_stay_in_order_in_their_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "open_frames", frames_of)
    several = jobs(tmp_path, "abcdefgh")
    names = list(stream_videos(several, detector=StubDetector(), num_streams=3, run_length=3))  # type: ignore[arg-type]
    assert sorted(names) == [f"D/m/{name}" for name in "abcdefgh"]
    assemble(tmp_path, CROPS, [])
    rows = read_manifest(tmp_path).table.to_pylist()
    assert [(row["video_id"][-1], row["frame_index"]) for row in rows] == [
        (name, index) for name in "abcdefgh" for index in range(8)
    ]


def test_reading_and_writing_go_on_while_faces_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage waits for what only runs at the same time can give; one after the other would time out."""
    has_read = [threading.Event() for _ in range(8)]
    has_found = [threading.Event() for _ in range(8)]
    overlaps: list[bool] = []

    def read(job: Job) -> Iterator[Frame]:
        for frame in frames_of(job):
            has_read[frame.frame_index].set()
            yield frame

    class Detector(StubDetector):
        def detect(self, image: np.ndarray) -> list[Face]:
            index = int(image[16, 16, 0])
            if index < 6:
                overlaps.append(has_read[index + 1].wait(20))
            has_found[index].set()
            return [FACE]

    take = pipeline.VideoExtraction.take

    def slow_take(self: Any, frame: Frame, faces: list[Face]) -> None:
        if frame.frame_index < 6:
            overlaps.append(has_found[frame.frame_index + 1].wait(20))
        take(self, frame, faces)

    monkeypatch.setattr(pipeline, "open_frames", read)
    monkeypatch.setattr(pipeline.VideoExtraction, "take", slow_take)
    list(stream_videos(jobs(tmp_path, "a"), detector=Detector()))  # type: ignore[arg-type]
    assert overlaps == [True] * 12


@pytest.mark.parametrize("num_streams", [1, 3])
def test_few_frames_are_held_however_long_the_clip(
    num_streams: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow writer must not let frames pile up."""
    lock, held, most = threading.Lock(), 0, 0

    def read(job: Job) -> Iterator[Frame]:
        nonlocal held, most
        for frame in frames_of(job, 120):
            with lock:
                held += 1
                most = max(most, held)
            yield frame

    take = pipeline.VideoExtraction.take

    def slow_take(self: Any, frame: Frame, faces: list[Face]) -> None:
        nonlocal held
        threading.Event().wait(0.001)
        take(self, frame, faces)
        with lock:
            held -= 1

    monkeypatch.setattr(pipeline, "open_frames", read)
    monkeypatch.setattr(pipeline.VideoExtraction, "take", slow_take)
    list(stream_videos(jobs(tmp_path), detector=StubDetector(), num_streams=num_streams))  # type: ignore[arg-type]
    assert held == 0
    # In both queues of each stream, in the hands of its two threads, and with the detector.
    assert most <= num_streams * (2 * pipeline._FRAMES_AHEAD + 2) + LOOKAHEAD + 1


@pytest.mark.parametrize("num_streams", [1, 2])
def test_an_error_anywhere_ends_only_its_own_video(
    num_streams: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(job: Job) -> Iterator[Frame]:
        name = job.video.path.name
        for frame in frames_of(job):
            if name == "r" and frame.frame_index == 3:
                raise VideoUnreadableError("r", "ends in the middle", "download it again")
            if name == "d" and frame.frame_index == 7:  # then looked at together with frames of "b"
                frame.image[0, 0] = 255
            if name == "w" and frame.frame_index == 3:
                frame = replace(frame, image=frame.image[:, :0])  # no crop can be cut from it
            yield frame

    class Detector(StubDetector):
        def detect(self, image: np.ndarray) -> list[Face]:
            return super().detect(image) if image.size else [FACE]

    monkeypatch.setattr(pipeline, "open_frames", read)
    several = jobs(tmp_path, "ardbw")
    names = list(stream_videos(several, detector=Detector(), num_streams=num_streams))  # type: ignore[arg-type]
    assert sorted(names) == [f"D/m/{name}" for name in "abdrw"]
    assemble(tmp_path, CROPS, [])
    assert set(read_manifest(tmp_path).column("video_id")) == {"D/m/a", "D/m/b"}
    failures = (tmp_path / "failures.csv").read_text()
    assert "VideoUnreadableError,ends in the middle; download it again" in failures
    assert "ValueError,poison" in failures
    assert failures.count("\n") == 4
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_ends_every_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num_threads = threading.active_count()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "open_frames", lambda job: frames_of(job, 100))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="cannot be written .No space left on device.; free some space"):
            list(stream_videos(jobs(tmp_path), detector=StubDetector(), num_streams=2))  # type: ignore[arg-type]
    assert threading.active_count() == num_threads
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.json"))


def test_an_interrupt_leaves_whole_videos_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_threads = threading.active_count()
    monkeypatch.setattr(pipeline, "open_frames", lambda job: frames_of(job, 30))
    all_jobs = jobs(tmp_path, "abcdefghij")
    running = stream_videos(all_jobs, detector=StubDetector(), num_streams=2)  # type: ignore[arg-type]
    first = next(running)
    running.close()  # as an exception in the caller's loop does
    assert threading.active_count() == num_threads
    assert not list(tmp_path.rglob("*.partial"))
    done = [job for job in all_jobs if index_path(tmp_path, job.video).is_file()]
    assert first in {job.video.video_id for job in done}
    assert len(done) < len(all_jobs)
    for job in done:
        assert len(list((tmp_path / "crops" / job.video.video_id).iterdir())) == 30


@pytest.mark.needs_cuda
def test_on_a_gpu_batches_across_videos_find_the_same_faces(tree: Path, tmp_path: Path) -> None:
    for name, device, num_workers in (("cpu", "cpu", 1), ("gpu", "cuda", 3)):
        extract(tree, tmp_path / name, device=device, num_workers=num_workers)
    cpu, gpu = (read_manifest(tmp_path / name).table for name in ("cpu", "gpu"))
    for column in ("video_id", "frame_index", "track_id"):
        assert cpu[column].equals(gpu[column])
    boxes = [np.array(table["box_xyxy"].to_pylist()) for table in (cpu, gpu)]
    np.testing.assert_allclose(boxes[0], boxes[1], atol=0.05)
    assert (tmp_path / "cpu" / "failures.csv").read_text() == (tmp_path / "gpu" / "failures.csv").read_text()
