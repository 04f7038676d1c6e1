"""The tables of benchmarks/scale.md, from the result of bench_scale.py and the model."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.markers import markdown_table
from benchmarks.scale_model import (
    TASKS,
    Site,
    Spent,
    Start,
    VideoCost,
    Work,
    extraction,
    mean_cost,
    run_cpu_seconds,
    run_seconds,
    saturated,
    throughput,
)

FFPP, DFDC = "FF++", "DFDC"
_WORKLOADS = (
    ("FF++, 6,000 videos", FFPP, 6_000),
    ("DFDC, 120,000 videos", DFDC, 120_000),
    ("a million clips a day, as DFDC's", DFDC, 1_000_000),
)
_CORES = (2, 16, 64, 256, 1024)
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3_600


@dataclass(frozen=True)
class Clip:
    """A clip's costs, and the stages' seconds by the clock."""

    path: str
    kind: str
    cost: VideoCost
    wall_seconds: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """All that was measured; ``runs`` is by number of workers, of ``num_videos`` links to the clips."""

    clips: Sequence[Clip]
    start: Start
    runs: Mapping[int, Spent]
    num_videos: int
    num_cores: int

    @property
    def work(self) -> Work:
        """Return the work on a mean video of the runs."""
        count = len(self.clips)
        return extraction(mean_cost([self.clips[number % count].cost for number in range(self.num_videos)]))

    def of_kind(self, kind: str) -> list[Clip]:
        return [clip for clip in self.clips if clip.kind == kind]

    def cost(self, kind: str) -> VideoCost:
        return mean_cost([clip.cost for clip in self.of_kind(kind)])


def measured_of(result: Mapping[str, Any]) -> Measured:
    """Return what a result holds."""
    figures = result["figures"]
    start = {name: Spent(**spent) for name, spent in figures["start"].items()}
    return Measured(
        [Clip(**{**clip, "cost": VideoCost(**clip["cost"])}) for clip in figures["clips"]],
        Start(**start),
        {int(workers): Spent(**spent) for workers, spent in figures["runs"].items()},
        result["arguments"]["videos"],
        result["machine"]["cores"],
    )


def tables_of(result: Mapping[str, Any]) -> dict[str, str]:
    """Return marker -> table."""
    measured, given = measured_of(result), result["arguments"]
    return {
        "stages": _stage_table(measured),
        "check": _check_table(measured),
        "limits": f"{_limit_table(measured, given)}\n\n{_gpu_table(measured, given)}",
        "cost": _cost_table(measured, given.get("price_per_core_hour")),
    }


def _stage_table(measured: Measured) -> str:
    rows = []
    for kind in (FFPP, DFDC):
        cost, clips = measured.cost(kind), measured.of_kind(kind)
        stages = [
            f"{getattr(cost, f'{name}_seconds'):.2f} ({_mean_wall(clips, name):.2f})"
            for name in clips[0].wall_seconds
        ]
        sums = [f"{sum(work(cost).stages.values()):.2f}" for work in TASKS.values()]
        rows.append(
            [f"{kind} ({len(clips)})", *stages, *sums, f"{cost.read_mb:.2f}", f"{cost.written_mb:.2f}"]
        )
    names = list(measured.clips[0].wall_seconds)
    header = ["videos as of (clips)", *names, *TASKS, "MB read", "MB written"]
    start = measured.start
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"Start of the tool: {_both(start.tool)} s; of each further process: {_both(start.worker)} s."
    )


def _mean_wall(clips: Sequence[Clip], stage: str) -> float:
    return statistics.fmean(clip.wall_seconds[stage] for clip in clips)


def _both(spent: Spent) -> str:
    return f"{spent.cpu:.2f} ({spent.wall:.2f})"


def _check_table(measured: Measured) -> str:
    cores, num_videos = measured.num_cores, measured.num_videos
    rows = []
    for workers, run in measured.runs.items():
        site = Site(workers, cores)
        wall = run_seconds(measured.work, site, num_videos, measured.start)
        cpu = run_cpu_seconds(measured.work, site, num_videos, measured.start)
        seconds = [f"{wall:.1f}", f"{run.wall:.1f}", _error(wall, run.wall)]
        of_cpu = [f"{cpu:.1f}", f"{run.cpu:.1f}", _error(cpu, run.cpu)]
        rows.append([workers, saturated(measured.work, site), *seconds, *of_cpu, f"{run.cpu / run.wall:.2f}"])
    of_cpu = ["CPU s, model", "CPU s, measured", "error"]
    header = ["workers", "what binds", "seconds, model", "measured", "error", *of_cpu, "cores it got"]
    return f"{num_videos} videos on {cores} cores:\n\n{markdown_table(header, rows)}"


def _error(modeled: float, measured: float) -> str:
    return f"{100 * (modeled / measured - 1):+.0f}%"


def _limit_table(measured: Measured, given: Mapping[str, Any]) -> str:
    def cell(work: Work, cores: int) -> str:
        site = Site(cores, cores, given["disk_mb_s"], given["network_mb_s"])
        return f"{throughput(work, site):,.1f}: {saturated(work, site)}"

    assumed = f"{given['network_mb_s']:g} MB/s of network and {given['disk_mb_s']:g} MB/s of disk"
    return (
        f"Videos a second and what saturates first, a worker a core, with {assumed} (assumed) for all "
        f"machines together:\n\n{_by_cores(measured, cell)}"
    )


def _gpu_table(measured: Measured, given: Mapping[str, Any]) -> str:
    rate = given.get("gpu_videos_per_second")

    def cell(work: Work, cores: int) -> str:
        fed = throughput(work, Site(cores, cores, gpus=1))
        return f"{fed:,.1f}" + (f": {math.ceil(fed / rate):,} GPUs" if rate else "")

    assumed = f" A GPU is assumed to do {rate:g} videos a second." if rate else ""
    return (
        "With GPUs that find and score the faces, the cores feed them so many videos a second, network and "
        f"disk apart; GPUs that do fewer saturate first.{assumed}\n\n{_by_cores(measured, cell)}"
    )


def _by_cores(measured: Measured, cell: Callable[[Work, int], str]) -> str:
    """Return a table with a line for each number of cores, and a column for each kind of work."""
    columns = {
        f"{kind}, {task}": work(measured.cost(kind)) for kind in (FFPP, DFDC) for task, work in TASKS.items()
    }
    rows = [[f"{cores:,}", *(cell(work, cores) for work in columns.values())] for cores in _CORES]
    return markdown_table(["cores", *columns], rows)


def _cost_table(measured: Measured, price: float | None) -> str:
    rows = []
    for name, kind, num_videos in _WORKLOADS:
        for task, work in TASKS.items():
            one = work(measured.cost(kind))
            hours = num_videos * sum(one.stages.values()) / _HOUR_SECONDS
            row: list[object] = [name, task, f"{hours:,.1f}"]
            row += [f"{hours * _HOUR_SECONDS / _DAY_SECONDS:,.1f}"]
            row += [
                f"{num_videos * one.read_mb / _DAY_SECONDS:,.2f}",
                f"{num_videos * one.written_mb / 1e3:,.0f}",
            ]
            rows.append(row if price is None else [*row, f"{hours * price:,.2f}"])
    header = ["what", "task", "core-hours", "cores for one day", "MB/s read then", "GB stored"]
    return markdown_table(header if price is None else [*header, f"price at {price:g} a core-hour"], rows)
