"""Tasks in, results out: one scheduler for this process, several processes, or a Ray cluster.

A worker has one task at a time and nothing is queued behind it. So memory is bounded by the number
of workers, and a worker that crashes loses only its current task, which runs again on another one.
A task that has crashed several workers is given up, and that is its result.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Generic, Literal, Protocol, TypeVar

from deepfake_detect.errors import OptionError, WorkerError
from deepfake_detect.work.messages import Crashed, Done, Message, Note, Ready, set_reporter
from deepfake_detect.work.process import WorkerProcess, wait_for_messages
from deepfake_detect.work.ray_engine import RayOptions, RayWorkers, ray_cluster

_log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
Engine = Literal["here", "processes", "ray"]
_MAX_FAILED_STARTS = 3  # in a row: then no worker will ever start
_AHEAD_PER_WORKER = 8  # results that may wait for their turn


@dataclass(frozen=True)
class TaskFailure:
    """The result of a task that crashed every worker it was given to.

    Attributes:
        num_attempts: Workers that crashed.
        cause: How the last one ended, in one line.
    """

    num_attempts: int
    cause: str


def map_tasks(
    tasks: Iterable[T],
    make_worker: Callable[[], Callable[[T], R]],
    *,
    engine: Engine = "here",
    num_workers: int | None = None,
    num_threads: int | None = None,
    in_order: bool = False,
    max_attempts: int = 3,
    ray: RayOptions | None = None,
    on_progress: Callable[[T, Any], None] | None = None,
    on_end: Callable[[T], None] | None = None,
) -> Generator[tuple[T, R | TaskFailure], None, None]:
    """Run tasks with workers that keep their model from task to task; yield the results.

    Closing the generator ends the workers; workers also end with this process.

    Args:
        tasks: Taken one by one as workers become free; picklable unless they run here. A task may run
            more than once, so what it writes has to be moved into place in one step.
        make_worker: Called once per worker; returns a function of a task. A module's function or a
            partial of one, since other processes import it.
        engine: ``"here"`` runs tasks one after the other in this process, ``"processes"`` in spawned
            processes, ``"ray"`` on a Ray cluster.
        num_workers: Processes, or workers on the cluster; never more than there are tasks. ``None``
            is one per core, or on Ray ``ray.num_workers``. Without effect here.
        num_threads: Threads that numeric libraries may use in a process; ``None`` divides the cores
            among the workers. Without effect here; on Ray it is ``ray.cpus_per_worker``.
        in_order: Whether results come in the order of the tasks rather than as they end. Few results
            are held back: a slow task pauses the tasks far behind it.
        max_attempts: Workers that a task may crash before it is given up.
        ray: Which cluster, and what a worker takes of it. A cluster that was joined by
            :func:`ray_cluster` is used.
        on_progress: Called with a task and each value its worker passes to :func:`report`.
        on_end: Called with each task as it ends, also where its result is held back.

    Yields:
        (task, result), or (task, :class:`TaskFailure`) for a task that was given up.

    Raises:
        OptionError: An option is out of range, or no machine of the cluster has room for a worker.
        WorkerError: Workers crash before they are ready.
        Exception: Whatever a worker or ``make_worker`` raised; the run ends with it.

    Example:
        >>> list(map_tasks(["b", "a"], lambda: str.upper))
        [('b', 'B'), ('a', 'A')]
    """
    for name, value in (("num_workers", num_workers), ("max_attempts", max_attempts)):
        if value is not None and value < 1:
            raise OptionError(name, f"is {value}", "must be 1 or more")
    if engine == "here":
        return _run_here(tasks, make_worker, on_progress, on_end)
    if engine == "processes":
        workers: Callable[[], _Workers] = partial(_Processes, make_worker, num_workers, num_threads)
        cluster = nullcontext
    elif engine == "ray":
        options = RayOptions() if ray is None else ray
        workers = partial(RayWorkers, make_worker, options, num_workers or options.num_workers)
        cluster = partial(ray_cluster, options)  # type: ignore[assignment]
    else:
        raise OptionError("engine", f"is {engine!r}", "must be one of here, processes, ray")
    return _run(tasks, workers, cluster, in_order, max_attempts, on_progress, on_end)


def _run_here(
    tasks: Iterable[T],
    make_worker: Callable[[], Callable[[T], R]],
    on_progress: Callable[[T, Any], None] | None,
    on_end: Callable[[T], None] | None,
) -> Generator[tuple[T, R | TaskFailure], None, None]:
    worker = make_worker()
    for task in tasks:
        set_reporter(partial(on_progress, task) if on_progress else None)
        try:
            result = worker(task)
        finally:
            set_reporter(None)
        if on_end:
            on_end(task)
        yield task, result


def _run(
    tasks: Iterable[T],
    make_workers: Callable[[], _Workers],
    cluster: Callable[[], Any],
    in_order: bool,
    max_attempts: int,
    on_progress: Callable[[T, Any], None] | None,
    on_end: Callable[[T], None] | None,
) -> Generator[tuple[T, Any | TaskFailure], None, None]:
    with ExitStack() as stack:
        stack.enter_context(cluster())
        scheduler = _Scheduler(tasks, make_workers(), in_order, max_attempts, on_progress, on_end)
        stack.enter_context(closing(scheduler))
        yield from scheduler.run()


class _Worker(Protocol):
    def give(self, task: Any) -> None: ...

    def receive(self) -> Message: ...


class _Workers(Protocol):
    """How an engine starts workers, waits for them and ends them."""

    num_workers: int

    def start(self) -> Any: ...

    def wait(self, workers: Sequence[Any]) -> Sequence[Any]: ...

    def stop(self, workers: Sequence[Any]) -> None: ...


class _Processes:
    def __init__(
        self, make_worker: Callable[[], Callable[[T], R]], num_workers: int | None, num_threads: int | None
    ) -> None:
        num_cores = os.cpu_count() or 1
        self.num_workers = num_workers or num_cores
        threads = num_threads or max(1, num_cores // self.num_workers)
        self._start = partial(WorkerProcess, make_worker, num_threads=threads)

    def start(self) -> WorkerProcess:
        return self._start()

    def wait(self, workers: Sequence[WorkerProcess]) -> Sequence[WorkerProcess]:
        return wait_for_messages(workers)

    def stop(self, workers: Sequence[WorkerProcess]) -> None:
        for worker in workers:
            worker.terminate()  # all at once: each may take a while
        for worker in workers:
            worker.stop()


@dataclass(eq=False)
class _Attempt(Generic[T]):
    """A task, its position, and how many workers it was given to."""

    index: int
    task: T
    num_started: int = 0


class _Scheduler(Generic[T]):
    """Which worker has which task."""

    def __init__(
        self,
        tasks: Iterable[T],
        engine: _Workers,
        in_order: bool,
        max_attempts: int,
        on_progress: Callable[[T, Any], None] | None,
        on_end: Callable[[T], None] | None,
    ) -> None:
        self._untaken = (_Attempt(index, task) for index, task in enumerate(tasks))
        self._waiting: deque[_Attempt[T]] = deque()  # taken, but not given to a worker that is ready
        self._engine = engine
        self._in_order = in_order
        self._max_attempts = max_attempts
        self._on_progress = on_progress
        self._on_end = on_end
        self._starting: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._working: dict[_Worker, _Attempt[T]] = {}
        self._held: dict[int, tuple[T, Any]] = {}
        self._turn = 0
        self._num_taken = 0
        self._num_failed_starts = 0

    def run(self) -> Iterator[tuple[T, Any | TaskFailure]]:
        """Run all tasks; yield them with their results."""
        while self._assign():
            for worker in self._engine.wait([*self._starting, *self._working]):
                yield from self._handle(worker, worker.receive())

    def close(self) -> None:
        """End all workers."""
        self._engine.stop([*self._starting, *self._idle, *self._working])

    def _assign(self) -> bool:
        """Give tasks to ready workers and start missing workers; return whether a task is unfinished."""
        for attempt in islice(self._untaken, self._room()):
            self._waiting.append(attempt)
            self._num_taken += 1
        while self._waiting and self._idle:
            # Only to a worker that is ready: one that a cluster has no room for never will be.
            worker, attempt = self._idle.pop(), self._waiting.popleft()
            attempt.num_started += 1
            worker.give(attempt.task)
            self._working[worker] = attempt
        while len(self._starting) < len(self._waiting) and self._num_alive() < self._engine.num_workers:
            _log.debug("starting worker %d of %d", self._num_alive() + 1, self._engine.num_workers)
            self._starting.add(self._engine.start())
        return bool(self._waiting or self._working)

    def _room(self) -> int:
        """Return how many more tasks may be taken now."""
        room = self._engine.num_workers - len(self._working) - len(self._waiting)
        if self._in_order:
            ahead = self._num_taken - self._turn
            room = min(room, _AHEAD_PER_WORKER * self._engine.num_workers - ahead)
        return max(0, room)

    def _num_alive(self) -> int:
        return len(self._starting) + len(self._idle) + len(self._working)

    def _handle(self, worker: _Worker, message: Message) -> Iterator[tuple[T, Any | TaskFailure]]:
        if isinstance(message, Ready):
            self._starting.discard(worker)
            self._idle.append(worker)
            self._num_failed_starts = 0
        elif isinstance(message, Note):
            if self._on_progress and worker in self._working:
                self._on_progress(self._working[worker].task, message.value)
        elif isinstance(message, Done):
            attempt = self._working.pop(worker)
            self._idle.append(worker)
            yield from self._finished(attempt, message.result)
        elif worker in self._starting:
            self._starting.discard(worker)
            self._count_failed_start(message)
        else:
            yield from self._crashed(self._working.pop(worker), message)

    def _crashed(self, attempt: _Attempt[T], message: Crashed) -> Iterator[tuple[T, Any | TaskFailure]]:
        _log.info("a worker crashed (%s), attempt %d of its task", message.cause, attempt.num_started)
        if attempt.num_started < self._max_attempts:
            self._waiting.append(attempt)
        else:
            yield from self._finished(attempt, TaskFailure(attempt.num_started, message.cause))

    def _count_failed_start(self, message: Crashed) -> None:
        self._num_failed_starts += 1
        if self._num_failed_starts >= _MAX_FAILED_STARTS:
            raise WorkerError(
                "workers",
                f"{_MAX_FAILED_STARTS} in a row crashed before they were ready ({message.cause})",
                "see what they wrote to standard error or to the cluster's logs",
            )

    def _finished(self, attempt: _Attempt[T], result: Any) -> Iterator[tuple[T, Any | TaskFailure]]:
        if self._on_end:
            self._on_end(attempt.task)
        if not self._in_order:
            yield attempt.task, result
            return
        self._held[attempt.index] = attempt.task, result
        while self._turn in self._held:
            self._turn += 1
            yield self._held.pop(self._turn - 1)
