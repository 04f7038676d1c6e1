"""Tasks on a Ray cluster, each by a worker that keeps its networks from one task to the next.

A worker has one task at a time and nothing is queued behind it. So memory is bounded by the number
of workers, whoever dies loses only the task in its hands, and that task is known: it runs again,
elsewhere, and one that has taken several workers with it is left behind. Ray would restart a dead
worker by itself, but waits with its task for room on the machines that are left, maybe for ever;
here the task goes to whoever is free.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from deepfake_detect.errors import OptionError, WorkerError

T = TypeVar("T")
R = TypeVar("R")
_MOST_DEATHS_AT_BIRTH = 3  # in a row, of workers that never were ready: they will not start at all
_STANDALONE = "local"
_PATIENCE_SECONDS = 10
_REFUSAL = "AuthenticationError"
_SECONDS = [0.1, 0.3, 1, 3, 10, 30, 100, 300]  # bounds of the histogram on Ray's dashboard


@dataclass(frozen=True)
class RayOptions:
    """Where tasks run, and with what.

    Attributes:
        address: Of a running cluster, ``host:port``, ``ray://host:port`` or ``"auto"`` for the one of
            this machine; ``None`` starts one of this machine alone, for this run.
        num_workers: Workers in all; ``None`` is as many as the cluster has room for at the start.
        cpus_per_worker: Cores that a worker takes.
        gpus_per_worker: GPUs that a worker takes; a fraction shares one.
        max_attempts: Workers that a task may take with it before it is left behind.

    Raises:
        OptionError: One of them is out of range.
    """

    address: str | None = None
    num_workers: int | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    max_attempts: int = 3

    def __post_init__(self) -> None:
        for name in ("num_workers", "cpus_per_worker", "max_attempts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(name, f"is {value}", "pass 1 or more")
        share = self.gpus_per_worker
        if not 0 <= share < float("inf") or (share > 1 and share != int(share)):
            raise OptionError("gpus_per_worker", f"is {share}", "pass a share up to 1, or a whole number")


@dataclass(frozen=True)
class Lost:
    """What comes of a task that took every worker with it.

    Attributes:
        num_attempts: Workers that died of it.
        cause: How the last one died, in a line.
    """

    num_attempts: int
    cause: str


class Worker(Protocol):
    """What a worker is made of: called with a task, it returns the result."""

    def __call__(self, task: Any, /) -> Any: ...


@contextmanager
def ray_cluster(options: RayOptions) -> Iterator[None]:
    """Join the cluster for the time of a block, or start one of this machine alone.

    Raises:
        OptionError: Ray is not installed, there is no such cluster, or it wants a token.

    Example:
        >>> with ray_cluster(RayOptions()):  # doctest: +SKIP
        ...     print(dict(map_on_ray(range(3), make_squarer, RayOptions())))
        {0: 0, 1: 1, 2: 4}
    """
    if importlib.util.find_spec("ray") is None:
        raise OptionError("engine", "ray is not installed", "run: pip install 'deepfake_detect[cluster]'")
    # Nothing leaves the machine that was not asked to: Ray reports its use unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        if options.address not in (None, "auto", _STANDALONE):
            _knock(options.address)  # Ray itself would wait for minutes for who does not answer
        ray.init(
            address=options.address or _STANDALONE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=None if options.address else False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        if _REFUSAL in str(error.__cause__):  # Ray keeps no more than its name
            raise OptionError(
                "ray_address",
                f"{options.address}: the cluster wants a token",
                "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH as on its machines",
            ) from error
        reason = _first_line(error)
        raise OptionError(
            "ray_address", f"{options.address}: no cluster answers ({reason})", "start one: ray start --head"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Open a connection to a cluster and close it."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        raise ValueError("an address is host:port")
    with socket.create_connection((host, int(port)), timeout=_PATIENCE_SECONDS):
        pass


def map_on_ray(
    tasks: Iterable[T], make_worker: Callable[[], Worker], options: RayOptions
) -> Generator[tuple[T, Any | Lost], None, None]:
    """Give tasks to workers of the cluster that was joined; yield what comes of them, as they end.

    Args:
        tasks: Picklable; taken one by one, as workers become free. A task may run more than once, at
            least in part: what it leaves has to be put in place in one step.
        make_worker: Called once in each worker; a function of a module, or a partial of one, since
            workers import it.
        options: Of the run.

    Yields:
        (task, result): what the worker returned, or :class:`Lost`.

    Raises:
        OptionError: No machine of the cluster has room for a worker.
        WorkerError: Workers die before they are ready.
        DeepfakeDetectError: What a worker raised; other exceptions likewise. The run ends with it.
    """
    with _closing(_Pool(tasks, make_worker, options)) as pool:
        yield from pool.run()


@contextmanager
def _closing(pool: _Pool[T]) -> Iterator[_Pool[T]]:
    try:
        yield pool
    finally:
        pool.stop()


@dataclass(eq=False)
class _Attempt(Generic[T]):
    """A task and how many workers it has had."""

    task: T
    num_started: int = 0


class _Pool(Generic[T]):
    """The workers of one run, and which task each has in its hands."""

    def __init__(self, tasks: Iterable[T], make_worker: Callable[[], Worker], options: RayOptions) -> None:
        self._waiting = (_Attempt(task) for task in tasks)
        self._again: deque[_Attempt[T]] = deque()
        self._options = options
        self._make_worker = make_worker
        self._actor_class = _actor_class(options)
        # What is waited for -> the worker, and its task; without one it is being born.
        self._running: dict[Any, tuple[Any, _Attempt[T] | None]] = {}
        self._idle: list[Any] = []
        self._num_deaths_at_birth = 0

    def run(self) -> Iterator[tuple[T, Any | Lost]]:
        import ray

        for _ in range(self._options.num_workers or _room(self._options)):
            self._bear()
        while self._hand_out():
            (ended,), _ = ray.wait(list(self._running), num_returns=1)
            actor, attempt = self._running.pop(ended)
            try:
                result = ray.get(ended)
            except ray.exceptions.RayActorError as error:
                yield from self._buried(attempt, error)
                continue
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            self._idle.append(actor)
            self._num_deaths_at_birth = 0
            if attempt is not None:
                yield attempt.task, result

    def stop(self) -> None:
        """End all workers."""
        import ray

        for actor in [*self._idle, *(actor for actor, _ in self._running.values())]:
            with suppress(Exception):  # one that is dead, or a cluster that is gone
                ray.kill(actor)

    def _bear(self) -> None:
        actor = self._actor_class.remote(self._make_worker, os.getcwd())
        self._running[actor.ready.remote()] = actor, None

    def _hand_out(self) -> bool:
        """Give tasks to those who have none; tell whether any task is left in somebody's hands."""
        while self._idle and (attempt := self._next()) is not None:
            actor = self._idle.pop()
            attempt.num_started += 1
            self._running[actor.work.remote(attempt.task)] = actor, attempt
        is_work_left = any(attempt for _, attempt in self._running.values())
        if not is_work_left and not self._idle and (attempt := self._next()) is not None:
            self._again.appendleft(attempt)  # all workers are still being born
            return True
        return is_work_left

    def _next(self) -> _Attempt[T] | None:
        return self._again.popleft() if self._again else next(self._waiting, None)

    def _buried(self, attempt: _Attempt[T] | None, error: Exception) -> Iterator[tuple[T, Lost]]:
        """Put another worker in place of a dead one; its task runs again, or is left behind."""
        cause = _first_line(error)
        if attempt is None:
            self._num_deaths_at_birth += 1
            if self._num_deaths_at_birth >= _MOST_DEATHS_AT_BIRTH:
                raise WorkerError(
                    "ray", f"workers die before they are ready ({cause})", "see the logs of the cluster"
                ) from error
        elif attempt.num_started < self._options.max_attempts:
            self._again.append(attempt)
        else:
            yield attempt.task, Lost(attempt.num_started, cause)
        self._bear()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _room(options: RayOptions) -> int:
    """Return how many workers fit on the machines, each being whole on one of them."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    room = sum(_room_on(resources, options) for resources in machines)
    if room == 0:
        needs = f"{options.cpus_per_worker} CPU and {options.gpus_per_worker:g} GPU"
        raise OptionError("ray", f"no machine of the cluster has {needs} for a worker", "ask for less")
    return room


def _room_on(resources: dict[str, float], options: RayOptions) -> int:
    wanted = {"CPU": options.cpus_per_worker, "GPU": options.gpus_per_worker}
    return min(int(resources.get(name, 0) / share) for name, share in wanted.items() if share)


def _actor_class(options: RayOptions) -> Any:
    import ray

    # Death is dealt with here, and not by Ray: see above.
    return ray.remote(
        num_cpus=options.cpus_per_worker, num_gpus=options.gpus_per_worker, max_restarts=0, max_task_retries=0
    )(_Actor)


class _Actor:
    """A process of the cluster with its worker."""

    def __init__(self, make_worker: Callable[[], Worker], folder: str) -> None:
        self._make_worker, self._folder = make_worker, folder

    def ready(self) -> None:
        """Make the worker; here rather than at birth, where Ray would hide what goes wrong."""
        from ray.util.metrics import Counter, Histogram

        try:
            os.chdir(self._folder)  # so that relative paths mean here what they mean there
        except OSError as error:
            raise OptionError(
                self._folder,
                f"is not there on {socket.gethostname()}",
                "share the folder between the machines",
            ) from error
        self._worker = self._make_worker()
        self._done = Counter("deepfake_detect_tasks_done", "Videos or files that were worked through")
        self._seconds = Histogram("deepfake_detect_task_seconds", "Time of one", boundaries=_SECONDS)

    def work(self, task: Any) -> Any:
        started = time.perf_counter()
        result = self._worker(task)
        self._done.inc()
        self._seconds.observe(time.perf_counter() - started)
        return result
