"""Uploads from the queue to a result, and to their deletion.

A thread for each scorer takes jobs in turn; the requests only look. An upload is deleted as soon as it
is no longer needed: at once when scoring fails, when its sender wants only
the numbers, or leaves; some time after scoring when the page's player uses it; all of them when the
server ends.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from deepfake_detect.app.fair_queue import FairQueue, Owner
from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError, internal_error, request_error
from deepfake_detect.app.uploads import Upload
from deepfake_detect.errors import DeepfakeDetectError

Stage = Literal["waiting", "checking", "looking", "explaining", "done", "failed"]
# One in this many slots is reserved for addresses that have none yet.
_SLOTS_PER_NEWCOMER_SLOT = 8
_RETRY_SECONDS = 15
LEAVE_SECONDS = 10.0
"""For how long a job outlives its page, which may just be reloaded."""


@dataclass(frozen=True)
class Progress:
    """Progress of a job: its stage, and frames done of those to do (0 of 0 where not counted)."""

    stage: Stage
    num_done: int = 0
    num_total: int = 0


@dataclass(frozen=True)
class Task:
    """A request to the scorer.

    Attributes:
        path: The file.
        name: The client's name for it.
        is_image: Whether it is a still image.
        num_frames: Number of evenly spaced frames to score.
        wants_page: Whether to return faces, heat maps and the report with the numbers.
    """

    path: Path
    name: str
    is_image: bool
    num_frames: int
    wants_page: bool


@dataclass(frozen=True)
class ScoredClip:
    """Outcome of a job.

    Attributes:
        score: ``ClipResult.to_dict()`` with the file's Content Credentials as ``provenance``.
        page: Further content of the page, as JSON; empty where it was not wanted.
        report_html: The self-contained report; empty where it was not wanted.
    """

    score: dict[str, Any]
    page: dict[str, Any] = field(default_factory=dict)
    report_html: str = ""


class Scorer(Protocol):
    """Scores clips, one at a time."""

    def score(
        self, task: Task, on_progress: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> ScoredClip:
        """Score a clip; once ``is_cancelled()`` is true, end soon with any error of the library.

        Raises:
            DeepfakeDetectError: The clip cannot be scored.
        """
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


@dataclass(eq=False)
class Job:
    """An upload and its progress; only the :class:`JobStore` that holds it changes it."""

    id: str
    owner: Owner
    upload: Upload
    task: Task
    outcome: Future[ScoredClip]
    progress: Progress = Progress("waiting")
    is_cancelled: bool = False
    ended_at: float | None = None
    left_at: float | None = None

    @property
    def annotated_path(self) -> Path:
        """Where the clip with boxes is, once its page has asked for it."""
        return self.upload.path.with_name(f"{self.upload.path.stem}-boxes.mp4")

    def delete_upload(self) -> None:
        """Delete the uploaded file, and what was made of it."""
        self.upload.path.unlink(missing_ok=True)
        self.annotated_path.unlink(missing_ok=True)


class JobStore:
    """All jobs of a server.

    Args:
        scorers: Score the clips, each one at a time.
        limits: Limits to enforce.
        folder: Where uploads are; deleted on :meth:`close`.
        now: A monotonic clock in seconds.
    """

    def __init__(
        self,
        scorers: Sequence[Scorer],
        limits: Limits,
        folder: Path,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.folder = folder
        self._scorers = scorers
        self._now = now
        self._jobs: dict[str, Job] = {}
        self._queue: FairQueue[Job] = FairQueue()
        self._slots: Counter[str] = Counter()
        self._running: set[Job] = set()
        self._is_closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, args=(scorer,), name="scoring", daemon=True)
            for scorer in scorers
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def reserve_slot(self, owner: Owner) -> Iterator[None]:
        """Reserve a slot while an upload is received.

        Raises:
            RequestError: No slot is free, or the disk is nearly full.
        """
        with self._changed:
            self._check_slot(owner.address)
            self._slots[owner.address] += 1
        try:
            yield
        finally:
            with self._changed:
                self._free_slot(owner)

    def submit(self, owner: Owner, upload: Upload, *, num_frames: int, wants_page: bool) -> Job:
        """Put an upload into the queue; the store deletes it from now on."""
        task = Task(upload.path, upload.name, upload.kind.is_image, num_frames, wants_page)
        job = Job(secrets.token_urlsafe(24), owner, upload, task, Future())
        with self._changed:
            self._make_room()
            self._jobs[job.id] = job
            self._slots[owner.address] += 1
            self._queue.put(owner, job)
            self._changed.notify_all()
        return job

    def find(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            RequestError: There is no job with that id, or it was deleted.
        """
        with self._changed:
            job = self._jobs.get(job_id)
            if job is not None:
                job.left_at = None
        if job is None:
            cause = "does not exist, or was deleted"
            raise RequestError("job", cause, "upload the clip again", "an existing job", 404)
        return job

    def status(self, job: Job) -> dict[str, Any]:  # JSON
        """Return a job as JSON: stage, position in the queue (1 is next), frames, error, outcome."""
        with self._changed:
            position = self._queue.position(job)
        error = outcome = None
        if job.outcome.done() and not job.outcome.cancelled():
            error = job.outcome.exception()
            outcome = None if error else _outline(job.outcome.result())
        return {
            "id": job.id,
            "name": job.task.name,
            "is_picture": job.task.is_image,
            "stage": job.progress.stage,
            "place": position,
            "frames_done": job.progress.num_done,
            "frames_total": job.progress.num_total,
            "error": error.to_dict() if isinstance(error, RequestError) else None,
            "outcome": outcome,
        }

    def counts(self) -> dict[str, int]:
        """Return the numbers of waiting and running jobs, and of scorers."""
        with self._changed:
            num_running = len(self._running)
            return {"waiting": len(self._queue), "running": num_running, "workers": len(self._scorers)}

    def delete(self, job: Job) -> None:
        """Delete a job and its upload; a running job is stopped first."""
        with self._changed:
            self._jobs.pop(job.id, None)
            job.is_cancelled = True
            if self._queue.discard(job):
                self._free_slot(job.owner)
                deleted = RequestError("job", "was deleted", "upload the clip again", "an existing job", 410)
                _set_outcome(job, deleted)
            if job in self._running:
                return  # its thread deletes the upload when the scorer has ended
        job.delete_upload()

    def leave(self, job: Job) -> None:
        """Delete a job soon, unless its page asks for it again: a page that is reloaded leaves too."""
        with self._changed:
            job.left_at = self._now()

    def expire(self) -> None:
        """Delete jobs that were kept long enough, or whose page has left."""
        now, keep = self._now(), self.limits.keep_seconds
        with self._changed:
            old = [
                job
                for job in self._jobs.values()
                if (job.ended_at is not None and now - job.ended_at >= keep)
                or (job.left_at is not None and now - job.left_at >= LEAVE_SECONDS)
            ]
        for job in old:
            self.delete(job)

    def close(self) -> None:
        """End the thread and the scorer, and delete all uploads."""
        with self._changed:
            self._is_closed = True
            jobs = list(self._jobs.values())
            self._changed.notify_all()
        for job in jobs:
            self.delete(job)
        for scorer in self._scorers:
            scorer.close()
        for thread in self._threads:
            thread.join(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_slot(self, address: str) -> None:
        num_slots = self.limits.max_waiting
        num_taken, num_own = self._slots.total(), self._slots[address]
        num_for_newcomers = num_slots // _SLOTS_PER_NEWCOMER_SLOT
        if num_taken >= num_slots or (num_own > 0 and num_taken >= num_slots - num_for_newcomers):
            raise RequestError(
                "queue",
                f"is full ({num_taken} uploads are waiting)",
                f"try again in {_RETRY_SECONDS} s",
                f"{num_slots} uploads at once, the last ones reserved for clients with none waiting",
                503,
                _RETRY_SECONDS,
            )
        waiting_mb, most_mb = self._waiting_bytes() / 2**20, self.limits.max_waiting_mb
        if waiting_mb >= most_mb:
            raise RequestError(
                "queue",
                f"is full ({waiting_mb:.0f} MB of uploads are waiting)",
                f"try again in {_RETRY_SECONDS} s",
                f"{most_mb:g} MB at once",
                503,
                _RETRY_SECONDS,
            )
        if shutil.disk_usage(self.folder).free < 2 * self.limits.max_upload_bytes:
            raise RequestError(
                "disk", "is nearly full", "free some space", "uploads that fit on the disk", 507
            )

    def _waiting_bytes(self) -> int:
        """Return the size of the uploads that arrive, wait or are scored."""
        finished = {job.upload.path for job in self._jobs.values() if job.ended_at is not None}
        sizes = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # it was deleted just now
                sizes.append(0 if path in finished else path.stat().st_size)
        return sum(sizes)

    def _free_slot(self, owner: Owner) -> None:
        self._slots[owner.address] -= 1
        if self._slots[owner.address] <= 0:
            del self._slots[owner.address]

    def _make_room(self) -> None:
        """If too many jobs are kept, delete the oldest finished one of the address that keeps most."""
        kept = [job for job in self._jobs.values() if job.ended_at is not None]
        if len(kept) < self.limits.max_waiting:
            return
        ((address, _),) = Counter(job.owner.address for job in kept).most_common(1)
        self.delete(next(job for job in kept if job.owner.address == address))

    def _work(self, scorer: Scorer) -> None:
        while True:
            with self._changed:
                while not len(self._queue) and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                job = self._queue.take()
                self._running.add(job)
                self._free_slot(job.owner)
            self._end(job, self._outcome(scorer, job))

    def _outcome(self, scorer: Scorer, job: Job) -> ScoredClip | Exception:
        name, allowed = job.task.name, self.limits.sentence()
        try:
            return scorer.score(
                job.task, lambda progress: setattr(job, "progress", progress), lambda: job.is_cancelled
            )
        except DeepfakeDetectError as error:
            return request_error(error, name=name, allowed=allowed)
        except Exception as error:  # the thread must stay alive for the other jobs
            traceback.print_exc()
            return internal_error(error, name=name, allowed=allowed)

    def _end(self, job: Job, outcome: ScoredClip | Exception) -> None:
        has_failed = isinstance(outcome, Exception)
        with self._changed:
            self._running.discard(job)
            job.ended_at = self._now()
            if has_failed or not job.task.wants_page or job.is_cancelled:
                job.delete_upload()
        job.progress = Progress("failed" if has_failed else "done")
        _set_outcome(job, outcome)


def _outline(clip: ScoredClip) -> dict[str, Any]:  # JSON
    """Return a clip's verdict, its headline, and its fake probability."""
    values = {key: clip.score.get(key) for key in ("verdict", "fake_probability")}
    return {**values, "headline": clip.page.get("headline")}


def _set_outcome(job: Job, outcome: ScoredClip | Exception) -> None:
    if not job.outcome.set_running_or_notify_cancel():
        return  # the request that waited for it is gone
    if isinstance(outcome, Exception):
        job.outcome.set_exception(outcome)
    else:
        job.outcome.set_result(outcome)
