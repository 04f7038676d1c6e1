from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.app.fair_queue import Owner
from deepfake_detect.app.jobs import Job, JobBook
from deepfake_detect.app.limits import Limits
from deepfake_detect.app.refusals import Refusal, refusal_of
from deepfake_detect.app.uploads import Upload
from deepfake_detect.errors import OptionError, VideoTruncatedError, WorkerError
from deepfake_detect.io.media import MediaKind
from tests.app.serving import FakeScorer, until

ME, YOU = Owner("10.0.0.1", "a"), Owner("10.0.0.2", "b")


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Book(JobBook):
    """A book with a clock of its own, and an upload by name alone."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        folder.mkdir()
        self.scorer, self.clock = FakeScorer(), Clock()
        super().__init__(self.scorer, limits, folder, now=self.clock)

    def add(self, name: str, owner: Owner = ME, *, wants_page: bool = True) -> Job:
        path = self.folder / f"{name}.mp4"
        path.write_bytes(b"x")
        upload = Upload(path, name, MediaKind("mp4", ".mp4", "video/mp4"), 1)
        return self.submit(owner, upload, num_frames=4, wants_page=wants_page)

    def files(self) -> set[str]:
        return {path.stem for path in self.folder.iterdir()}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    one = Book(tmp_path / "uploads", Limits(max_upload_bytes=1, max_waiting=16, keep_seconds=60))
    yield one
    one.scorer.gate.set()
    one.close()


def ended(book: Book, job: Job) -> Any:
    until(lambda: job.ended_at is not None and job.outcome.done())
    return job.outcome.exception() or job.outcome.result()


def test_jobs_are_judged_in_turn(book: Book) -> None:
    book.scorer.gate.clear()
    first = book.add("first")
    until(lambda: book.scorer.names == ["first"])
    mine = [book.add(f"mine{number}") for number in range(5)]
    yours = book.add("yours", YOU)
    assert book.status(first)["stage"] == "looking"
    assert (book.status(yours)["place"], book.status(mine[1])["place"]) == (2, 3)
    assert book.counts() == {"waiting": 6, "running": 1}
    book.scorer.gate.set()
    ended(book, mine[-1])
    assert book.scorer.names == ["first", "mine0", "yours", "mine1", "mine2", "mine3", "mine4"]


def test_what_fails_harms_nobody_and_its_upload_goes(book: Book) -> None:
    bad, bug, good = book.add("bad"), book.add("bug"), book.add("good")
    assert ended(book, good).score["video"] == "good"
    refusal = ended(book, bad)
    assert (refusal.status, str(refusal)) == (422, "bad: is a text file; pass a video")
    assert (ended(book, bug).status, "ZeroDivisionError: by accident" in str(ended(book, bug))) == (500, True)
    assert book.files() == {"good"}
    assert book.status(bad)["error"]["came"] == "is a text file"
    assert book.status(bad)["stage"] == "failed"


def test_an_upload_for_numbers_alone_goes_with_its_result(book: Book) -> None:
    ended(book, book.add("numbers", wants_page=False))
    assert book.files() == set()


def test_a_scored_clip_is_kept_for_its_time(book: Book) -> None:
    job = book.add("kept")
    ended(book, job)
    book.clock.seconds += 59
    book.expire()
    assert book.find(job.id) is job
    assert book.files() == {"kept"}
    book.clock.seconds += 1
    book.expire()
    assert book.files() == set()
    with pytest.raises(Refusal, match="job: is not known, or was deleted; upload the clip again"):
        book.find(job.id)


def test_waiting_and_running_jobs_can_be_dropped(book: Book) -> None:
    book.scorer.gate.clear()
    running, waiting = book.add("running"), book.add("waiting")
    until(lambda: book.scorer.names == ["running"])
    book.drop(waiting)
    assert book.files() == {"running"}
    with pytest.raises(Refusal, match="was deleted"):
        waiting.outcome.result(timeout=1)
    book.drop(running)
    ended(book, running)
    assert book.scorer.num_stopped == 1
    assert book.files() == set()
    book.scorer.gate.set()
    assert ended(book, book.add("next")).score["video"] == "next"


def test_the_queue_has_an_end_and_the_last_places_are_for_newcomers(book: Book) -> None:
    book.scorer.gate.clear()
    book.add("running")
    until(lambda: book.scorer.names == ["running"])
    for number in range(14):
        with book.place(ME):
            book.add(f"n{number}")
    with (
        pytest.raises(Refusal, match=r"queue: is full \(14 uploads wait\); send it again") as told,
        book.place(ME),
    ):
        pass
    assert (told.value.status, told.value.retry_after_seconds) == (503, 15)
    full = pytest.raises(Refusal, match="16 uploads wait")
    with book.place(YOU), book.place(Owner("10.0.0.3", "")), full, book.place(Owner("10.0.0.4", "")):
        pass
    book.scorer.gate.set()
    until(lambda: len(book.scorer.names) == 15)
    with book.place(ME):
        pass


def test_a_full_disk_is_told_before_the_upload(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(book.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1))
    with pytest.raises(Refusal, match="disk: is nearly full") as told, book.place(ME):
        pass
    assert told.value.status == 507


def test_of_many_kept_clips_the_oldest_of_who_keeps_most_goes(book: Book) -> None:
    yours = book.add("yours", YOU)
    mine = [book.add(f"mine{number}") for number in range(15)]
    for job in (yours, *mine):
        ended(book, job)
    ended(book, book.add("more"))
    assert book.files() == {"yours", "more", *(f"mine{number}" for number in range(1, 15))}


def test_closing_deletes_everything(tmp_path: Path) -> None:
    book = Book(tmp_path / "uploads", Limits(max_upload_bytes=1))
    book.scorer.gate.clear()
    running, waiting = book.add("running"), book.add("waiting")
    until(lambda: book.scorer.names == ["running"])
    book.close()
    assert book.scorer.is_closed
    assert not book.folder.exists()
    assert isinstance(ended(book, running), Refusal)
    assert isinstance(waiting.outcome.exception(), Refusal)


def test_limits_are_checked() -> None:
    with pytest.raises(OptionError, match="max_seconds: is 0; pass a number above 0"):
        Limits(max_seconds=0)
    with pytest.raises(OptionError, match="num_frames: is 513; pass 1 to 512"):
        Limits(num_frames=513)


def test_refusals_keep_their_words_between_processes() -> None:
    refusal = Refusal("a.mp4", "is empty", "send another", "a video", 400, 7)
    again = pickle.loads(pickle.dumps(refusal))
    assert (again.to_dict(), again.status, again.retry_after_seconds) == (refusal.to_dict(), 400, 7)
    assert refusal_of(refusal, name="other", allowed="") is refusal


def test_errors_of_the_library_are_told_to_who_sent_the_file() -> None:
    cut = VideoTruncatedError("/tmp/x", "3 of 9 frames are in the file", "pass allow_truncated=True")
    told = refusal_of(cut, name="a.mp4", allowed="a video")
    assert (
        str(told) == "a.mp4: 3 of 9 frames are in the file; send the whole file, or one that was not cut off"
    )
    assert told.status == 422
    assert refusal_of(WorkerError("worker", "died", "restart"), name="a", allowed="").status == 500
