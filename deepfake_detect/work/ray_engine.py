"""Workers on the machines of a Ray cluster; the only importer of Ray.

Crashes are handled by the scheduler and not by Ray, which would restart a worker by itself but wait
with its task for room on the machines that are left, maybe forever.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from deepfake_detect.device import limit_threads
from deepfake_detect.errors import OptionError
from deepfake_detect.extras import missing_library
from deepfake_detect.options import check_options, option
from deepfake_detect.work.messages import Crashed, Done, Message, Ready

_THIS_MACHINE = "local"
_CONNECT_SECONDS = 10
_WANTS_TOKEN = "AuthenticationError"  # nosec B105 # the name of an error
_SECONDS = [0.1, 0.3, 1, 3, 10, 30, 100, 300]  # bounds of the histogram on Ray's dashboard


@dataclass(frozen=True)
class RayOptions:
    """Which cluster, how many workers, and what a worker takes of it.

    Raises:
        OptionError: One of them is out of range.
    """

    ray_address: str | None = option(
        None,
        help=(
            "address of the Ray cluster, or auto for the one on this machine (default: start a "
            "cluster on this machine only)"
        ),
        metavar="HOST:PORT",
    )
    num_workers: int | None = option(
        None, help="total number of workers (default: as many as fit)", low=1, is_hidden=True
    )
    cpus_per_worker: int = option(1, help="cores and threads per worker on Ray", low=1)
    gpus_per_worker: float = option(0.0, help="GPUs per worker on Ray; below 1, workers share one", low=0)

    def __post_init__(self) -> None:
        check_options(self)
        gpus = self.gpus_per_worker
        if gpus > 1 and not gpus.is_integer():
            raise OptionError("gpus_per_worker", f"is {gpus:g}", "must be 0 to 1, or an integer")


@contextmanager
def ray_cluster(options: RayOptions) -> Iterator[None]:
    """Join the cluster for the duration of a block, or start one of this machine alone.

    Inside such a block, another one is without effect.

    Raises:
        OptionError: Ray is not installed, there is no such cluster, or it requires a token.

    Example:
        >>> with ray_cluster(RayOptions()):  # doctest: +SKIP
        ...     print(dict(map_tasks(range(3), make_squarer, engine="ray")))
        {0: 0, 1: 1, 2: 4}
    """
    if importlib.util.find_spec("ray") is None:
        raise missing_library("engine", "ray")
    # Ray reports its use over the network unless this is set.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    address = None if options.ray_address == _THIS_MACHINE else options.ray_address
    try:
        if address not in (None, "auto"):
            host, _, port = address.removeprefix("ray://").rpartition(":")
            if not port.isdigit():
                raise ValueError("an address is host:port")
            # Ray itself would wait for minutes.
            socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
        with nullcontext() if address else _on_loopback():
            ray.init(
                address=address or _THIS_MACHINE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=None if address else False,
            )
    except (OSError, ValueError, RuntimeError) as error:
        if _WANTS_TOKEN in str(error.__cause__):  # Ray keeps no more than the name of its cause
            raise OptionError(
                "ray_address",
                f"{address}: the cluster requires a token",
                "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH as on its machines",
            ) from error
        raise OptionError(
            "ray_address",
            f"{address}: no cluster responds ({_first_line(error)})",
            "start one: ray start --head",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Make Ray listen on the loopback interface: anyone who reaches a cluster's ports can run code on it.

    Ray replaces a loopback address by the machine's own, unless it was told that there are no clusters.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


class RayWorkers:
    """Starts workers on the cluster that was joined, and waits for them.

    Without ``num_workers`` there are as many as the cluster has room for now.
    """

    def __init__(
        self, make_worker: Callable[[], Callable[[Any], Any]], options: RayOptions, num_workers: int | None
    ) -> None:
        import ray

        room = _room(options)
        self.num_workers = num_workers or room
        self._make_worker = make_worker
        self._num_threads = options.cpus_per_worker
        self._actor_class: Any = ray.remote(
            num_cpus=options.cpus_per_worker,
            num_gpus=options.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
        )(_Actor)

    def start(self) -> _RayWorker:
        """Start a worker."""
        return _RayWorker(self._actor_class.remote(self._make_worker, os.getcwd(), self._num_threads))

    def wait(self, workers: Sequence[_RayWorker]) -> Sequence[_RayWorker]:
        """Wait until one of the workers has a message or is gone; return it."""
        import ray

        by_pending = {worker.pending: worker for worker in workers}
        (ended,), _ = ray.wait(list(by_pending), num_returns=1)
        return [by_pending[ended]]

    def stop(self, workers: Sequence[_RayWorker]) -> None:
        """End the workers."""
        for worker in workers:
            worker.stop()


class _RayWorker:
    """The scheduler's view of an actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._is_ready = False
        self.pending: Any = actor.ready.remote()

    def give(self, task: Any) -> None:
        self.pending = self._actor.work.remote(task)

    def receive(self) -> Message:
        import ray

        try:
            result = ray.get(self.pending)
        except ray.exceptions.RayActorError as error:
            return Crashed(_first_line(error))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        if not self._is_ready:
            self._is_ready = True
            return Ready()
        return Done(result)

    def stop(self) -> None:
        import ray

        with suppress(Exception):  # the actor is dead, or the cluster is gone
            ray.kill(self._actor)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _room(options: RayOptions) -> int:
    """Return how many workers fit on the machines, each on one of them."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    needed = {"CPU": options.cpus_per_worker, "GPU": options.gpus_per_worker}
    room = sum(min(int(one.get(name, 0) / n) for name, n in needed.items() if n) for one in machines)
    if room == 0:
        needs = f"{options.cpus_per_worker} CPU and {options.gpus_per_worker:g} GPU"
        raise OptionError(
            "ray",
            f"no machine of the cluster has {needs} for a worker",
            "lower `cpus_per_worker` or `gpus_per_worker`",
        )
    return room


class _Actor:
    """A process of the cluster with its worker."""

    def __init__(
        self, make_worker: Callable[[], Callable[[Any], Any]], folder: str, num_threads: int
    ) -> None:
        self._make_worker, self._folder, self._num_threads = make_worker, folder, num_threads

    def ready(self) -> None:
        """Make the worker; not in the constructor, where Ray would hide an exception."""
        from ray.util.metrics import Counter, Histogram

        try:
            os.chdir(self._folder)  # so that relative paths mean the same here
        except OSError as error:
            raise OptionError(
                self._folder,
                f"does not exist on {socket.gethostname()}",
                "share the folder between the machines",
            ) from error
        limit_threads(self._num_threads)
        self._worker = self._make_worker()
        limit_threads(self._num_threads)  # of libraries that only now are loaded
        self._done = Counter("deepfake_detect_tasks_done", "Tasks that ended")
        self._seconds = Histogram("deepfake_detect_task_seconds", "Time per task", boundaries=_SECONDS)

    def work(self, task: Any) -> Any:
        started = time.perf_counter()
        result = self._worker(task)
        self._done.inc()
        self._seconds.observe(time.perf_counter() - started)
        return result
