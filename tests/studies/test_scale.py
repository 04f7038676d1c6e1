"""The model of benchmarks/scale.md, and its page from made-up measurements."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bench_scale
from benchmarks.bench_scale import (
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

COST = VideoCost(
    decode_seconds=0.5,
    faces_seconds=1.0,
    crops_seconds=0.5,
    judge_seconds=2.5,
    read_mb=3.0,
    written_mb=1.0,
)
START = Start(tool=Spent(wall=3.0, cpu=2.0), worker=Spent(wall=4.0, cpu=3.0))
MARKERS = ("stages", "check", "limits", "cost")


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


def test_a_gpu_takes_faces_and_judging_from_the_cores() -> None:
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


def made_up(*_: object) -> bench_scale._Measured:
    wall = {"decode": 0.6, "faces": 1.1, "crops": 0.6, "judge": 2.6}
    clips = [bench_scale._Clip(Path(f"{kind}.mp4"), kind, COST, wall) for kind in ("FF++", "DFDC")]
    return bench_scale._Measured(clips, START, extraction(COST), {1: Spent(wall=20.0, cpu=25.0)})


def page_with(tmp_path: Path, names: tuple[str, ...]) -> Path:
    page = tmp_path / "scale.md"
    page.write_text("".join(f"<!-- {name} -->\nold\n<!-- end of {name} -->\n" for name in names))
    return page


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_scale, "_measure_all", made_up)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    page = page_with(tmp_path, MARKERS)
    options = ["--ffpp", "a.mp4", "--dfdc", "b.mp4", "--page", str(page)]
    options += ["--json", str(tmp_path / "all.json")]
    options += ["--price-per-core-hour", "0.5", "--gpu-videos-per-second", "3"]
    assert bench_scale.main(options) == 0
    text = page.read_text()
    assert "| FF++ (1) | 0.50 (0.60) | 1.00 (1.10) | 0.50 (0.60) | 2.50 (2.60) | 2.00 | 4.00 |" in text
    assert "| 1 | workers | 15.0 | 20.0 | -25% | 26.0 | 25.0 | +4% | 1.25 |" in text
    assert "| 64 | 31.2: network | 16.0: cores (judge) | 31.2: network | 16.0: cores (judge) |" in text
    assert "| 2 | 2.0: 1 GPUs | 4.0: 2 GPUs | 2.0: 1 GPUs | 4.0: 2 GPUs |" in text
    assert "| FF++, 6,000 videos | extraction | 3.3 | 0.1 | 0.21 | 6 | 1.67 |" in text
    assert (tmp_path / "all.json").is_file()
    assert "old" not in text


def test_a_page_without_the_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_scale, "_measure_all", made_up)
    page = page_with(tmp_path, MARKERS[:-1])
    assert bench_scale.main(["--ffpp", "a.mp4", "--dfdc", "b.mp4", "--page", str(page)]) == 2
    assert "holds 0 places for cost, not one" in capsys.readouterr().err


def test_a_missing_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, missing = page_with(tmp_path, MARKERS), str(tmp_path / "none.mp4")
    options = ["--ffpp", missing, "--dfdc", missing, "--page", str(page)]
    assert bench_scale.main(options) == 2
    assert "error: " in (error := capsys.readouterr().err)
    assert "none.mp4" in error
    assert "old" in page.read_text()


def test_the_published_page_has_all_markers() -> None:
    text = bench_scale._PAGE.read_text("utf-8")
    assert all(text.count(f"<!-- {name} -->") == 1 for name in MARKERS)
