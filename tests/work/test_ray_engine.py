"""Tasks on a Ray cluster of two machines, which here are two groups of processes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.errors import DeviceError, OptionError, OutputError, WorkerError
from deepfake_detect.work import Lost, RayOptions, map_on_ray, ray_cluster
from tests.work.workers import Squarer, die_at_birth, find_no_device

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    options = RayOptions(address=cluster.address)
    with ray_cluster(options):
        yield cluster
    cluster.shutdown()


def squares(tasks: list[str], folder: Path, **options: Any) -> dict[str, Any]:
    return dict(map_on_ray(tasks, partial(Squarer, folder), RayOptions(**options)))


def test_each_worker_is_made_once_and_takes_one_task_at_a_time(cluster: Any, tmp_path: Path) -> None:
    tasks = [f"slow{number}" for number in range(4)]
    found = squares(tasks, tmp_path)
    assert {task: result for task, (result, _) in found.items()} == {task: task * 2 for task in tasks}
    assert len({pid for _, pid in found.values()}) == 2  # all that the cluster has room for


def test_tasks_are_taken_as_workers_become_free(cluster: Any, tmp_path: Path) -> None:
    taken: list[str] = []

    def tasks() -> Iterator[str]:
        for number in range(5):
            taken.append(f"t{number}")
            yield taken[-1]

    ends = []
    for _ in map_on_ray(tasks(), partial(Squarer, tmp_path), RayOptions(num_workers=1)):
        ends.append(len(taken))
    assert ends == [1, 2, 3, 4, 5]


def test_who_dies_loses_the_task_in_its_hands_alone(cluster: Any, tmp_path: Path) -> None:
    found = squares(["a", "poison", "once", "b", "c"], tmp_path)
    lost = found.pop("poison")
    assert isinstance(lost, Lost)
    assert lost.num_attempts == 3
    assert lost.cause
    assert {task: result for task, (result, _) in found.items()} == {
        name: name * 2 for name in ("a", "once", "b", "c")
    }
    begun = {path.stem: len(path.read_text().splitlines()) for path in tmp_path.glob("*.begun")}
    assert begun == {"a": 1, "b": 1, "c": 1, "once": 2, "poison": 3}


@pytest.mark.parametrize(("task", "kind"), [("full", OutputError), ("bug", ZeroDivisionError)])
def test_what_a_worker_raises_ends_the_run(cluster: Any, tmp_path: Path, task: str, kind: type) -> None:
    with pytest.raises(kind):
        squares(["a", task, "b"], tmp_path, num_workers=1)
    assert not (tmp_path / "b.begun").exists()


def test_workers_that_cannot_be_made(cluster: Any) -> None:
    with pytest.raises(DeviceError, match="torch sees no CUDA device"):
        list(map_on_ray(["a"], find_no_device, RayOptions(num_workers=1)))
    with pytest.raises(WorkerError, match="workers die before they are ready"):
        list(map_on_ray(["a"], die_at_birth, RayOptions(num_workers=1)))


def test_no_machine_has_room(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no machine of the cluster has 2 CPU and 0 GPU"):
        squares(["a"], tmp_path, cpus_per_worker=2)
    with pytest.raises(OptionError, match="has 1 CPU and 0.5 GPU"):
        squares(["a"], tmp_path, gpus_per_worker=0.5)


def test_a_machine_that_goes_loses_its_tasks_in_hand(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2)
    tasks = [f"slow{number}" for number in range(8)]
    found = {}
    for number, (task, result) in enumerate(map_on_ray(tasks, partial(Squarer, tmp_path), RayOptions())):
        found[task] = result
        if number == 0:
            cluster.remove_node(node, allow_graceful=False)
    assert {task: result for task, (result, _) in found.items()} == {task: task * 2 for task in tasks}
    begun = [len(path.read_text().splitlines()) for path in tmp_path.glob("*.begun")]
    assert sum(begun) in (9, 10)  # of the two in hand there at least one had not ended


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": 0}, "num_workers: is 0; pass 1 or more"),
        ({"cpus_per_worker": 0}, "cpus_per_worker: is 0; pass 1 or more"),
        ({"max_attempts": 0}, "max_attempts: is 0; pass 1 or more"),
        ({"gpus_per_worker": -1}, "gpus_per_worker: is -1; pass a share"),
        ({"gpus_per_worker": 1.5}, "gpus_per_worker: is 1.5; pass a share"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RayOptions(**options)


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(OptionError, match="ray is not installed; run: pip install"),
        ray_cluster(RayOptions()),
    ):
        pass


def test_a_cluster_that_wants_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        cause = RuntimeError("Last connection error: ray.exceptions.AuthenticationError: RPC error")
        raise ConnectionError("Failed to connect to Ray cluster") from cause

    monkeypatch.setattr("ray.init", refuse)
    with (
        pytest.raises(
            OptionError, match="the cluster wants a token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN"
        ),
        ray_cluster(RayOptions(address="auto")),
    ):
        pass
