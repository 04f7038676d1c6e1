"""The promises of the runner, by each engine; the Ray cluster's two machines are two groups of processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.errors import DeviceError, OptionError, OutputError, WorkerError
from deepfake_detect.work import (
    Crashed,
    Done,
    Note,
    RayOptions,
    Ready,
    TaskFailure,
    WorkerProcess,
    map_tasks,
    ray_cluster,
)
from tests.work.workers import (
    Squarer,
    crash_at_the_start,
    find_no_device,
    make_lambda_returner,
    make_reporter,
    make_thread_counter,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    with ray_cluster(RayOptions(ray_address=cluster.address)):
        yield cluster
    cluster.shutdown()


@pytest.fixture(params=["processes", "ray"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return str(request.param)


def squares(tasks: list[str], folder: Path, **options: Any) -> dict[str, Any]:
    return dict(map_tasks(tasks, partial(Squarer, folder), **options))


def doubled(found: dict[str, Any]) -> dict[str, str]:
    return {task: result for task, (result, _) in found.items()}


def begun(folder: Path) -> dict[str, int]:
    return {path.stem: len(path.read_text().splitlines()) for path in folder.glob("*.begun")}


def test_each_worker_is_made_once_and_takes_one_task_at_a_time(engine: Any, tmp_path: Path) -> None:
    tasks = [f"slow{number}" for number in range(4)]
    found = squares(tasks, tmp_path, engine=engine, num_workers=2)
    assert doubled(found) == {task: task * 2 for task in tasks}
    assert len({pid for _, pid in found.values()}) == 2
    assert os.getpid() not in {pid for _, pid in found.values()}


def test_there_are_no_more_workers_than_tasks(engine: Any, tmp_path: Path) -> None:
    (results,) = squares(["a"], tmp_path, engine=engine).values()
    assert results[0] == "aa"
    assert squares([], tmp_path, engine=engine) == {}


def test_tasks_are_taken_as_workers_become_free(engine: Any, tmp_path: Path) -> None:
    taken: list[str] = []

    def tasks() -> Iterator[str]:
        for number in range(5):
            taken.append(f"t{number}")
            yield taken[-1]

    ends = []
    for _ in map_tasks(tasks(), partial(Squarer, tmp_path), engine=engine, num_workers=1):
        ends.append(len(taken))
    assert ends == [1, 2, 3, 4, 5]


def test_a_crash_loses_only_the_current_task(engine: Any, tmp_path: Path) -> None:
    tasks = ["a", "poison", "once", "b", "c"]
    found = squares(tasks, tmp_path, engine=engine, num_workers=2)
    failure = found.pop("poison")
    assert isinstance(failure, TaskFailure)
    assert failure.num_attempts == 3
    assert failure.cause
    assert doubled(found) == {name: name * 2 for name in ("a", "once", "b", "c")}
    assert begun(tmp_path) == {"a": 1, "b": 1, "c": 1, "once": 2, "poison": 3}


def test_how_a_process_ended_is_reported(tmp_path: Path) -> None:
    found = squares(["poison", "killed"], tmp_path, engine="processes", num_workers=2, max_attempts=1)
    assert found == {"poison": TaskFailure(1, "exit 3"), "killed": TaskFailure(1, "signal SIGKILL")}


@pytest.mark.parametrize(("task", "kind"), [("full", OutputError), ("bug", ZeroDivisionError)])
def test_an_exception_in_a_worker_ends_the_run(engine: Any, tmp_path: Path, task: str, kind: type) -> None:
    with pytest.raises(kind):
        squares(["a", task, "b"], tmp_path, engine=engine, num_workers=1)
    assert not (tmp_path / "b.begun").exists()
    assert not multiprocessing.active_children()


def test_exceptions_and_results_that_cannot_be_pickled(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="raised OwnError: 1"):
        squares(["own error"], tmp_path, engine="processes")
    with pytest.raises(WorkerError, match="result: cannot be sent .*; return values that can be pickled"):
        list(map_tasks([1], make_lambda_returner, engine="processes"))


def test_an_exception_shows_where_in_the_worker_it_was_raised(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        squares(["bug"], tmp_path, engine="processes")
    assert 'raise ZeroDivisionError("by accident")' in str(caught.value.__cause__)


def test_workers_that_cannot_be_made(engine: Any) -> None:
    with pytest.raises(DeviceError, match="torch finds no CUDA device"):
        list(map_tasks(["a"], find_no_device, engine=engine, num_workers=1))
    with pytest.raises(WorkerError, match="workers: 3 in a row crashed before they were ready"):
        list(map_tasks(["a"], crash_at_the_start, engine=engine, num_workers=1))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("engine", ["here", "processes"])
def test_results_in_order(engine: Any, tmp_path: Path) -> None:
    tasks = ["late", "a", "b", "c"]
    ended: list[str] = []
    options = {"engine": engine, "num_workers": 2, "in_order": True, "on_end": ended.append}
    assert list(squares(tasks, tmp_path, **options)) == tasks
    assert ended == tasks if engine == "here" else ended[-1] != "c" or ended.index("late") > 0


def test_few_results_are_held_back_for_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfake_detect.work.runner._AHEAD_PER_WORKER", 2)
    num_ended = 0

    def count(_: str) -> None:
        nonlocal num_ended
        num_ended += 1

    options: Any = {"engine": "processes", "num_workers": 2, "in_order": True, "on_end": count}
    results = map_tasks(["slow", *"abcdefgh"], partial(Squarer, tmp_path), **options)
    assert next(results)[0] == "slow"
    assert num_ended == 4  # 2 workers, 2 tasks each: those behind the slow one wait
    assert [task for task, _ in results] == list("abcdefgh")


def test_closing_the_generator_ends_the_workers(tmp_path: Path) -> None:
    tasks = ["a", "slow1", "slow2"]
    results = map_tasks(tasks, partial(Squarer, tmp_path), engine="processes", num_workers=2)
    next(results)
    assert len(multiprocessing.active_children()) == 2
    started = time.monotonic()
    results.close()
    assert not multiprocessing.active_children()
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("engine", ["here", "processes"])
def test_progress_from_inside_a_task(engine: Any) -> None:
    notes: list[tuple[int, int]] = []
    results = map_tasks(
        [3, 2], make_reporter, engine=engine, num_workers=1, on_progress=lambda *note: notes.append(note)
    )
    assert list(results) == [(3, "counted"), (2, "counted")]
    assert notes == [(3, 0), (3, 1), (3, 2), (2, 0), (2, 1)]


def test_a_cancelled_task_ends_at_its_next_report() -> None:
    process = WorkerProcess(make_reporter, num_threads=1)
    assert process.receive() == Ready()
    process.give(100_000)
    assert process.receive() == Note(0)
    process.cancel()
    while isinstance(message := process.receive(), Note):
        pass
    assert message == Done("cancelled")
    process.give(1)
    assert [process.receive(), process.receive()] == [Note(0), Done("counted")]
    assert not process.poll(0)
    process.terminate()
    assert process.poll(10)
    assert isinstance(process.receive(), Crashed)
    assert not process.is_alive()
    process.stop()


def test_threads_are_limited() -> None:
    options: Any = {"engine": "processes", "num_workers": 1}
    assert list(map_tasks([0], make_thread_counter, num_threads=1, **options)) == [(0, (1, 1, 1))]
    num_cores = os.cpu_count() or 1
    ((_, counts),) = map_tasks([0], make_thread_counter, **options)
    assert counts == (num_cores,) * 3


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from functools import partial\nfrom pathlib import Path\n"
        "from deepfake_detect.work import WorkerProcess\n"
        "from tests.work.workers import Squarer\n"
        "if __name__ == '__main__':\n"
        f"    folder = Path({str(tmp_path)!r})\n"
        "    orphaned = partial(Path.touch, folder / 'orphaned')\n"
        "    process = WorkerProcess(partial(Squarer, folder), on_orphaned=orphaned)\n"
        "    process.receive(); process.give('a'); print(process.receive().result[1], flush=True)\n"
        "    process.give('slow')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    pid = int(done.stdout)
    deadline = time.monotonic() + 1.5  # the task takes 2 s
    while not (tmp_path / "orphaned").exists() or _is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_tasks_run_here_one_after_the_other(tmp_path: Path) -> None:
    found = squares(["a", "b"], tmp_path)
    assert found == {"a": ("aa", os.getpid()), "b": ("bb", os.getpid())}
    with pytest.raises(ZeroDivisionError):
        squares(["bug"], tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": 0}, "num_workers: is 0; must be 1 or more"),
        ({"max_attempts": 0}, "max_attempts: is 0; must be 1 or more"),
        ({"engine": "threads"}, "engine: is 'threads'; must be one of here, processes, ray"),
    ],
)
def test_options_of_the_runner_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        map_tasks([1], make_reporter, **options)


def test_no_machine_has_room(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no machine of the cluster has 2 CPU and 0 GPU"):
        squares(["a"], tmp_path, engine="ray", ray=RayOptions(cpus_per_worker=2))
    with pytest.raises(OptionError, match="has 1 CPU and 0.5 GPU"):
        squares(["a"], tmp_path, engine="ray", ray=RayOptions(gpus_per_worker=0.5))


def test_a_machine_that_goes_loses_only_its_current_tasks(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2)
    tasks = [f"slow{number}" for number in range(8)]
    found = {}
    for number, (task, result) in enumerate(map_tasks(tasks, partial(Squarer, tmp_path), engine="ray")):
        found[task] = result
        if number == 0:
            cluster.remove_node(node, allow_graceful=False)
    assert doubled(found) == {task: task * 2 for task in tasks}
    assert sum(begun(tmp_path).values()) in (9, 10)  # of the two current ones at least one had not ended


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": 0}, "num_workers: is 0; must be 1 or more"),
        ({"cpus_per_worker": 0}, "cpus_per_worker: is 0; must be 1 or more"),
        ({"gpus_per_worker": -1}, "gpus_per_worker: is -1; must be 0 or more"),
        ({"gpus_per_worker": 1.5}, "gpus_per_worker: is 1.5; must be 0 to 1, or an integer"),
    ],
)
def test_options_of_ray_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RayOptions(**options)


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(
            OptionError, match="engine: needs ray, which is not installed; install the extra 'cluster'"
        ),
        ray_cluster(RayOptions()),
    ):
        pass


def test_a_cluster_that_requires_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")

    def reject(**_: Any) -> None:
        cause = RuntimeError("Last connection error: ray.exceptions.AuthenticationError: RPC error")
        raise ConnectionError("Failed to connect to Ray cluster") from cause

    monkeypatch.setattr("ray.init", reject)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with (
        pytest.raises(
            OptionError, match="the cluster requires a token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN"
        ),
        ray_cluster(RayOptions(ray_address="auto")),
    ):
        pass
