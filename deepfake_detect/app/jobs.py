"""Uploads on their way from the queue to a result, and to their deletion.

One thread takes jobs in turn and hands them to the scorer; the requests look on. An upload is
deleted as soon as nothing needs it: at once when it fails, when its sender wants only the numbers,
or leaves; for the page's player some time after scoring; all of them when the server ends.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from deepfake_detect.app.fair_queue import FairQueue, Owner
from deepfake_detect.app.limits import Limits
from deepfake_detect.app.refusals import Refusal, refusal_of
from deepfake_detect.app.uploads import Upload
from deepfake_detect.errors import DeepfakeDetectError

Stage = Literal["waiting", "checking", "looking", "explaining", "done", "failed"]
# One part in so many of the places is kept for those who have none yet.
_SHARE_FOR_NEWCOMERS = 8
_RETRY_SECONDS = 15


@dataclass(frozen=True)
class Progress:
    """How far a job is: its stage, and frames done of those to do (0 of 0 where none are counted)."""

    stage: Stage
    num_done: int = 0
    num_total: int = 0


@dataclass(frozen=True)
class Task:
    """What the scorer is asked for.

    Attributes:
        path: The file.
        name: What its sender calls it.
        is_picture: Whether it is a single picture.
        num_frames: Evenly spaced frames to look at.
        wants_page: Whether faces, heat maps and the report are wanted beside the numbers.
    """

    path: Path
    name: str
    is_picture: bool
    num_frames: int
    wants_page: bool


@dataclass(frozen=True)
class ScoredClip:
    """What comes of a job.

    Attributes:
        score: ``ClipResult.to_dict()`` with the file's content credentials as ``provenance``.
        page: What the page shows beside it, as JSON; empty where it was not wanted.
        report_html: The self-contained report; empty where it was not wanted.
    """

    score: dict[str, Any]
    page: dict[str, Any] = field(default_factory=dict)
    report_html: str = ""


class Scorer(Protocol):
    """Who judges clips, one at a time."""

    def score(
        self, task: Task, on_progress: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> ScoredClip:
        """Judge a clip; end soon, with any error of the library, once ``is_cancelled`` says so.

        Raises:
            DeepfakeDetectError: The clip cannot be judged.
        """
        ...

    def close(self) -> None:
        """Give back what was taken."""
        ...


@dataclass(eq=False)
class Job:
    """An upload on its way; changed by the book that holds it alone."""

    id: str
    owner: Owner
    upload: Upload
    task: Task
    outcome: Future[ScoredClip]
    progress: Progress = Progress("waiting")
    is_cancelled: bool = False
    ended_at: float | None = None

    def forget_upload(self) -> None:
        self.upload.path.unlink(missing_ok=True)


class JobBook:
    """All jobs of a server.

    Args:
        scorer: Who judges.
        limits: Which to keep.
        folder: Where uploads lie; it is deleted on :meth:`close`.
        now: A clock in seconds that never goes back.
    """

    def __init__(
        self, scorer: Scorer, limits: Limits, folder: Path, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self.folder = folder
        self._scorer = scorer
        self._now = now
        self._jobs: dict[str, Job] = {}
        self._queue: FairQueue[Job] = FairQueue()
        self._places: Counter[str] = Counter()
        self._running: Job | None = None
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._thread.start()

    @contextmanager
    def place(self, owner: Owner) -> Iterator[None]:
        """Hold a place for an upload while it comes.

        Raises:
            Refusal: There is none left, or no room on the disk.
        """
        with self._changed:
            self._check_place(owner.address)
            self._places[owner.address] += 1
        try:
            yield
        finally:
            self._give_back_place(owner)

    def submit(self, owner: Owner, upload: Upload, *, num_frames: int, wants_page: bool) -> Job:
        """Put an upload into the queue; from here on the book deletes it."""
        task = Task(upload.path, upload.name, upload.kind.is_image, num_frames, wants_page)
        job = Job(secrets.token_urlsafe(24), owner, upload, task, Future())
        with self._changed:
            self._make_room()
            self._jobs[job.id] = job
            self._places[owner.address] += 1
            self._queue.put(owner, job)
            self._changed.notify_all()
        return job

    def find(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            Refusal: There is none of that id, or no longer.
        """
        with self._changed:
            job = self._jobs.get(job_id)
        if job is None:
            raise Refusal(
                "job", "is not known, or was deleted", "upload the clip again", "a job that is kept", 404
            )
        return job

    def status(self, job: Job) -> dict[str, Any]:
        """Return how far a job is, as JSON: stage, place in the queue (1 is next), frames, error."""
        with self._changed:
            place = self._queue.place(job)
        error = job.outcome.exception() if job.outcome.done() and not job.outcome.cancelled() else None
        return {
            "id": job.id,
            "name": job.task.name,
            "is_picture": job.task.is_picture,
            "stage": job.progress.stage,
            "place": place,
            "frames_done": job.progress.num_done,
            "frames_total": job.progress.num_total,
            "error": error.to_dict() if isinstance(error, Refusal) else None,
        }

    def counts(self) -> dict[str, int]:
        """Return how many jobs wait and run."""
        with self._changed:
            return {"waiting": len(self._queue), "running": int(self._running is not None)}

    def drop(self, job: Job) -> None:
        """Forget a job and its upload; one that is being scored is stopped first."""
        with self._changed:
            self._jobs.pop(job.id, None)
            job.is_cancelled = True
            if self._queue.discard(job):
                self._free_place(job.owner)
                _answer(
                    job, Refusal("job", "was deleted", "upload the clip again", "a job that is kept", 410)
                )
            if job is self._running:
                return  # its thread deletes the upload when the scorer has let go of it
        job.forget_upload()

    def expire(self) -> None:
        """Drop what was kept long enough."""
        with self._changed:
            kept = [job for job in self._jobs.values() if job.ended_at is not None]
            old = [job for job in kept if self._now() - (job.ended_at or 0) >= self.limits.keep_seconds]
        for job in old:
            self.drop(job)

    def close(self) -> None:
        """End the thread and the scorer, and delete every upload."""
        with self._changed:
            self._is_closed = True
            jobs = list(self._jobs.values())
            self._changed.notify_all()
        for job in jobs:
            self.drop(job)
        self._scorer.close()
        self._thread.join(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_place(self, address: str) -> None:
        most = self.limits.max_waiting
        taken, own = self._places.total(), self._places[address]
        is_full = taken >= most or (own > 0 and taken >= most - most // _SHARE_FOR_NEWCOMERS)
        if is_full:
            raise Refusal(
                "queue",
                f"is full ({taken} uploads wait)",
                f"send it again in {_RETRY_SECONDS} s or more",
                f"{most} uploads at once, the last of them for those who have none waiting",
                503,
                _RETRY_SECONDS,
            )
        if shutil.disk_usage(self.folder).free < 2 * self.limits.max_upload_bytes:
            raise Refusal("disk", "is nearly full", "free some of it", "as much as fits", 507)

    def _give_back_place(self, owner: Owner) -> None:
        with self._changed:
            self._free_place(owner)

    def _free_place(self, owner: Owner) -> None:
        self._places[owner.address] -= 1
        if self._places[owner.address] <= 0:
            del self._places[owner.address]

    def _make_room(self) -> None:
        """Drop the oldest finished job of the address that keeps most, where too many are kept."""
        kept = [job for job in self._jobs.values() if job.ended_at is not None]
        if len(kept) < self.limits.max_waiting:
            return
        ((address, _),) = Counter(job.owner.address for job in kept).most_common(1)
        self.drop(next(job for job in kept if job.owner.address == address))

    def _work(self) -> None:
        while True:
            with self._changed:
                while not len(self._queue) and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                job = self._running = self._queue.take()
                self._free_place(job.owner)
            self._judge(job)

    def _judge(self, job: Job) -> None:
        outcome: ScoredClip | Exception
        try:
            outcome = self._scorer.score(
                job.task, lambda progress: setattr(job, "progress", progress), lambda: job.is_cancelled
            )
        except DeepfakeDetectError as error:
            outcome = refusal_of(error, name=job.task.name, allowed=self.limits.sentence())
        except Exception as error:  # the thread must live on for the others
            outcome = Refusal(
                job.task.name,
                f"met a fault of this program ({type(error).__name__}: {error})",
                "report it with the file",
                self.limits.sentence(),
                500,
            )
        self._settle(job, outcome)

    def _settle(self, job: Job, outcome: ScoredClip | Exception) -> None:
        has_failed = isinstance(outcome, Exception)
        with self._changed:
            self._running = None
            job.ended_at = self._now()
            if has_failed or not job.task.wants_page or job.is_cancelled:
                job.forget_upload()
        job.progress = Progress("failed" if has_failed else "done")
        _answer(job, outcome)


def _answer(job: Job, outcome: ScoredClip | Exception) -> None:
    if not job.outcome.set_running_or_notify_cancel():
        return  # whoever waited has left: there is nobody to tell
    if isinstance(outcome, Exception):
        job.outcome.set_exception(outcome)
    else:
        job.outcome.set_result(outcome)
