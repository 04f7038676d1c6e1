"""The model of benchmarks/scale.md, and its tables from made-up measurements."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import bench_scale
from benchmarks.scale_model import (
    Site,
    Spent,
    Start,
    VideoCost,
    extraction,
    limits,
    mean_cost,
    run_cpu_seconds,
    run_seconds,
    saturated,
    scoring,
    throughput,
)
from benchmarks.scale_page import tables_of

COST = VideoCost(
    decode_seconds=0.5,
    faces_seconds=1.0,
    crops_seconds=0.5,
    score_seconds=2.5,
    read_mb=3.0,
    written_mb=1.0,
)
START = Start(tool=Spent(wall=3.0, cpu=2.0), worker=Spent(wall=4.0, cpu=3.0))


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the script from limiting the threads of the tests."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(bench_scale, "limit_threads", lambda num_threads: None)


def test_each_resource_allows_so_many_videos_a_second() -> None:
    site = Site(workers=3, cores=4, disk_mb_s=200, network_mb_s=100)
    assert limits(extraction(COST), site) == {"cores": 2, "workers": 3, "disk": 50, "network": 25}
    assert limits(scoring(COST), site) == {
        "cores": 1,
        "workers": 0.75,  # its stages follow one another
        "disk": pytest.approx(200 / 3),  # it writes nothing
        "network": pytest.approx(100 / 3),
    }


@pytest.mark.parametrize(
    ("site", "name"),
    [
        (Site(workers=1, cores=4), "workers"),
        (Site(workers=4, cores=4), "cores (faces)"),
        (Site(workers=99, cores=99, disk_mb_s=100), "disk"),
        (Site(workers=99, cores=99, disk_mb_s=100, network_mb_s=10), "network"),
        (Site(workers=9, cores=9, gpus=1, gpu_videos_per_second=8), "GPU"),
        (Site(workers=9, cores=9, gpus=2, gpu_videos_per_second=8), "cores (decode)"),
    ],
)
def test_the_scarcest_resource_saturates(site: Site, name: str) -> None:
    assert saturated(extraction(COST), site) == name


def test_doubling_the_cores_halves_the_time_until_the_disk_binds() -> None:
    speeds = [throughput(extraction(COST), Site(n, n, disk_mb_s=16)) for n in (1, 2, 4, 8, 16)]
    assert speeds == [0.5, 1, 2, 4, 4]


def test_a_gpu_takes_faces_and_scoring_from_the_cores() -> None:
    site = Site(workers=4, cores=4, gpus=1)
    assert limits(extraction(COST), site)["cores"] == 4
    assert limits(scoring(COST), site)["cores"] == 8
    assert limits(scoring(COST), site)["GPU"] == math.inf


def test_more_workers_than_cores_gain_nothing_and_start_later() -> None:
    seconds = {n: run_seconds(extraction(COST), Site(n, 2), 12, START) for n in (1, 2, 4)}
    assert seconds == {1: 3 + 12, 2: 3 + 4 + 12, 4: 3 + 8 + 12}
    cpu = {n: run_cpu_seconds(extraction(COST), Site(n, 2), 12, START) for n in (1, 2, 4)}
    assert cpu == {1: 2 + 24, 2: 2 + 6 + 24, 4: 2 + 12 + 24}


def test_the_mean_is_of_each_figure() -> None:
    other = replace(COST, decode_seconds=1.5, read_mb=5.0)
    assert mean_cost([COST, other]) == replace(COST, decode_seconds=1.0, read_mb=4.0)


WALL = {"decode": 0.6, "faces": 1.1, "crops": 0.6, "score": 2.6}
RESULT = {
    "machine": {"cores": 4},
    "arguments": {"videos": 12, "disk_mb_s": 500, "network_mb_s": 125},
    "figures": {
        "clips": [
            {"path": f"{kind}.mp4", "kind": kind, "cost": asdict(COST), "wall_seconds": WALL}
            for kind in ("FF++", "DFDC")
        ],
        "start": asdict(START),
        "runs": {"1": {"wall": 20.0, "cpu": 25.0}},
    },
}


def test_the_tables() -> None:
    assumed = {"price_per_core_hour": 0.5, "gpu_videos_per_second": 3}
    text = "".join(tables_of({**RESULT, "arguments": RESULT["arguments"] | assumed}).values())
    assert "| FF++ (1) | 0.50 (0.60) | 1.00 (1.10) | 0.50 (0.60) | 2.50 (2.60) | 2.00 | 4.00 |" in text
    assert "| 1 | workers | 15.0 | 20.0 | -25% | 26.0 | 25.0 | +4% | 1.25 |" in text
    assert "| 64 | 31.2: network | 16.0: cores (score) | 31.2: network | 16.0: cores (score) |" in text
    assert "| 2 | 2.0: 1 GPUs | 4.0: 2 GPUs | 2.0: 1 GPUs | 4.0: 2 GPUs |" in text
    assert "| FF++, 6,000 videos | extraction | 3.3 | 0.1 | 0.21 | 6 | 1.67 |" in text


def test_a_missing_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.mp4")
    options = ["--ffpp", missing, "--dfdc", missing, "--json", str(tmp_path / "scale.json")]
    assert bench_scale.main(options) == 2
    assert "error: " in (error := capsys.readouterr().err)
    assert "none.mp4" in error
