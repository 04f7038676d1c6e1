from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.app.fair_queue import Owner
from deepfake_detect.app.jobs import Job, JobStore
from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError, request_error
from deepfake_detect.app.uploads import Upload
from deepfake_detect.errors import OptionError, VideoTruncatedError, WorkerError
from deepfake_detect.io.media import MediaKind
from tests.app.serving import FakeScorer, until

ME, YOU = Owner("10.0.0.1", "a"), Owner("10.0.0.2", "b")


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Store(JobStore):
    """A store with a clock of its own, and an upload by name alone."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        folder.mkdir()
        self.scorer, self.clock = FakeScorer(), Clock()
        super().__init__([self.scorer], limits, folder, now=self.clock)

    def add(self, name: str, owner: Owner = ME, *, wants_page: bool = True) -> Job:
        path = self.folder / f"{name}.mp4"
        path.write_bytes(b"x")
        upload = Upload(path, name, MediaKind("mp4", ".mp4", "video/mp4"), 1)
        return self.submit(owner, upload, num_frames=4, wants_page=wants_page)

    def files(self) -> set[str]:
        return {path.stem for path in self.folder.iterdir()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    one = Store(tmp_path / "uploads", Limits(max_upload_mb=1e-6, max_waiting=16, keep_minutes=1))
    yield one
    one.scorer.gate.set()
    one.close()


def ended(store: Store, job: Job) -> Any:
    until(lambda: job.ended_at is not None and job.outcome.done())
    return job.outcome.exception() or job.outcome.result()


def test_jobs_are_judged_in_turn(store: Store) -> None:
    store.scorer.gate.clear()
    first = store.add("first")
    until(lambda: store.scorer.names == ["first"])
    mine = [store.add(f"mine{number}") for number in range(5)]
    yours = store.add("yours", YOU)
    assert store.status(first)["stage"] == "looking"
    assert (store.status(yours)["place"], store.status(mine[1])["place"]) == (2, 3)
    assert store.counts() == {"waiting": 6, "running": 1, "workers": 1}
    store.scorer.gate.set()
    ended(store, mine[-1])
    assert store.scorer.names == ["first", "mine0", "yours", "mine1", "mine2", "mine3", "mine4"]


def test_what_fails_harms_nobody_and_its_upload_goes(store: Store) -> None:
    bad, bug, good = store.add("bad"), store.add("bug"), store.add("good")
    assert ended(store, good).score["video"] == "good"
    rejected = ended(store, bad)
    assert (rejected.status, str(rejected)) == (422, "bad: is a text file; pass a video")
    assert (ended(store, bug).status, "(ZeroDivisionError)" in str(ended(store, bug))) == (500, True)
    assert store.files() == {"good"}
    assert store.status(bad)["error"]["came"] == "is a text file"
    assert store.status(bad)["stage"] == "failed"


def test_an_upload_for_numbers_alone_goes_with_its_result(store: Store) -> None:
    ended(store, store.add("numbers", wants_page=False))
    assert store.files() == set()


def test_a_scored_clip_is_kept_for_its_time(store: Store) -> None:
    job = store.add("kept")
    ended(store, job)
    store.clock.seconds += 59
    store.expire()
    assert store.find(job.id) is job
    assert store.files() == {"kept"}
    store.clock.seconds += 1
    store.expire()
    assert store.files() == set()
    with pytest.raises(RequestError, match="job: does not exist, or was deleted; upload the clip again"):
        store.find(job.id)


def test_waiting_and_running_jobs_can_be_dropped(store: Store) -> None:
    store.scorer.gate.clear()
    running, waiting = store.add("running"), store.add("waiting")
    until(lambda: store.scorer.names == ["running"])
    store.delete(waiting)
    assert store.files() == {"running"}
    with pytest.raises(RequestError, match="was deleted"):
        waiting.outcome.result(timeout=1)
    store.delete(running)
    ended(store, running)
    assert store.scorer.num_stopped == 1
    assert store.files() == set()
    store.scorer.gate.set()
    assert ended(store, store.add("next")).score["video"] == "next"


def test_the_queue_has_an_end_and_the_last_places_are_for_newcomers(store: Store) -> None:
    store.scorer.gate.clear()
    store.add("running")
    until(lambda: store.scorer.names == ["running"])
    for number in range(14):
        with store.reserve_slot(ME):
            store.add(f"n{number}")
    with (
        pytest.raises(RequestError, match=r"queue: is full \(14 uploads are waiting\); try again") as told,
        store.reserve_slot(ME),
    ):
        pass
    assert (told.value.status, told.value.retry_after_seconds) == (503, 15)
    full = pytest.raises(RequestError, match="16 uploads are waiting")
    with (
        store.reserve_slot(YOU),
        store.reserve_slot(Owner("10.0.0.3", "")),
        full,
        store.reserve_slot(Owner("10.0.0.4", "")),
    ):
        pass
    store.scorer.gate.set()
    until(lambda: len(store.scorer.names) == 15)
    with store.reserve_slot(ME):
        pass


def test_a_full_disk_is_told_before_the_upload(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(store.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1))
    with pytest.raises(RequestError, match="disk: is nearly full") as told, store.reserve_slot(ME):
        pass
    assert told.value.status == 507


def test_bytes_that_wait_are_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path / "uploads", Limits(max_upload_mb=1e-6, max_waiting_mb=2 / 2**20))
    store.scorer.gate.clear()
    store.add("running")
    until(lambda: store.scorer.names == ["running"])
    with store.reserve_slot(ME):
        store.add("waiting")
    full = pytest.raises(
        RequestError, match=r"queue: is full \(0 MB of uploads are waiting\); try again in 15 s"
    )
    with full as told, store.reserve_slot(YOU):
        pass
    assert (told.value.status, told.value.retry_after_seconds) == (503, 15)
    store.scorer.gate.set()
    until(lambda: len(store.scorer.names) == 2 and not store.counts()["running"])
    with store.reserve_slot(YOU):  # clips that are kept for the player do not count
        pass
    store.close()


def test_of_many_kept_clips_the_oldest_of_who_keeps_most_goes(store: Store) -> None:
    yours = store.add("yours", YOU)
    mine = [store.add(f"mine{number}") for number in range(15)]
    for job in (yours, *mine):
        ended(store, job)
    ended(store, store.add("more"))
    assert store.files() == {"yours", "more", *(f"mine{number}" for number in range(1, 15))}


def test_closing_deletes_everything(tmp_path: Path) -> None:
    store = Store(tmp_path / "uploads", Limits(max_upload_mb=1e-6))
    store.scorer.gate.clear()
    running, waiting = store.add("running"), store.add("waiting")
    until(lambda: store.scorer.names == ["running"])
    store.close()
    assert store.scorer.is_closed
    assert not store.folder.exists()
    assert isinstance(ended(store, running), RequestError)
    assert isinstance(waiting.outcome.exception(), RequestError)


def test_limits_are_checked() -> None:
    with pytest.raises(OptionError, match="max_seconds: is 0; must be above 0"):
        Limits(max_seconds=0)
    with pytest.raises(OptionError, match="num_frames: is 513; must be 1 to 512"):
        Limits(num_frames=513)


def test_rejecteds_keep_their_words_between_processes() -> None:
    rejected = RequestError("a.mp4", "is empty", "send another", "a video", 400, 7)
    again = pickle.loads(pickle.dumps(rejected))
    assert (again.to_dict(), again.status, again.retry_after_seconds) == (rejected.to_dict(), 400, 7)
    assert request_error(rejected, name="other", allowed="") is rejected


def test_errors_of_the_library_are_told_to_who_sent_the_file() -> None:
    cut = VideoTruncatedError("/tmp/x", "3 of 9 frames are in the file", "pass allow_truncated=True")
    told = request_error(cut, name="a.mp4", allowed="a video")
    assert (
        str(told)
        == "a.mp4: 3 of 9 frames are in the file; send the complete file, or one that was not cut off"
    )
    assert told.status == 422
    assert request_error(WorkerError("worker", "died", "restart"), name="a", allowed="").status == 500
