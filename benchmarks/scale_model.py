"""The model of what many workers, machines and datasets cost, from the costs of one video."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

_ON_GPU = ("faces", "score")


@dataclass(frozen=True)
class VideoCost:
    """What one video takes: seconds of one core a stage, and megabytes (millions of bytes)."""

    decode_seconds: float
    faces_seconds: float
    crops_seconds: float
    score_seconds: float
    read_mb: float
    written_mb: float


@dataclass(frozen=True)
class Work:
    """A tool's work on one video.

    Attributes:
        stages: Name -> seconds of one core.
        read_mb: Megabytes read.
        written_mb: Megabytes written.
        is_pipelined: Whether a worker's stages run at the same time, each on a thread of its own.
    """

    stages: Mapping[str, float]
    read_mb: float
    written_mb: float
    is_pipelined: bool


@dataclass(frozen=True)
class Site:
    """What there is to work with.

    Attributes:
        workers: Videos worked on at the same time.
        cores: Of all machines together.
        disk_mb_s: Megabytes a second that the disks read and write, all together.
        network_mb_s: Megabytes a second between workers and disks; no bound where they are in one machine.
        gpus: That find and score faces in place of the cores.
        gpu_videos_per_second: Videos whose faces one of them finds and judges; an assumption.
    """

    workers: int
    cores: int
    disk_mb_s: float = math.inf
    network_mb_s: float = math.inf
    gpus: int = 0
    gpu_videos_per_second: float = math.inf


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of CPU in all threads and child processes."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Start:
    """What is spent until work begins.

    Attributes:
        tool: Of the tool, from its start to its end, with nothing left to do.
        worker: Of a process of its pool, until its first video.
    """

    tool: Spent
    worker: Spent


def extraction(cost: VideoCost) -> Work:
    """Return the work of tools/extract_faces.py, whose threads overlap the stages."""
    stages = {"decode": cost.decode_seconds, "faces": cost.faces_seconds, "crops": cost.crops_seconds}
    return Work(stages, cost.read_mb, cost.written_mb, is_pipelined=True)


def scoring(cost: VideoCost) -> Work:
    """Return the work of tools/score_video.py, which writes next to nothing."""
    stages = {"decode": cost.decode_seconds, "faces": cost.faces_seconds, "score": cost.score_seconds}
    return Work(stages, cost.read_mb, 0.0, is_pipelined=False)


TASKS = {"extraction": extraction, "scoring": scoring}


def limits(work: Work, site: Site) -> dict[str, float]:
    """Return the videos a second that each resource would allow, were the others without bound."""
    seconds = _on_cores(work, site).values()
    moved_mb = work.read_mb + work.written_mb
    found = {
        "cores": site.cores / sum(seconds),
        "workers": site.workers / (max(seconds) if work.is_pipelined else sum(seconds)),
        "disk": site.disk_mb_s / moved_mb,
        "network": site.network_mb_s / moved_mb,
    }
    return found | ({"GPU": site.gpus * site.gpu_videos_per_second} if site.gpus else {})


def throughput(work: Work, site: Site) -> float:
    """Return videos a second: what the scarcest resource allows."""
    return min(limits(work, site).values())


def saturated(work: Work, site: Site) -> str:
    """Return the resource that binds; of cores, with the stage that takes most of them."""
    found = limits(work, site)
    name = min(found, key=found.__getitem__)
    if name != "cores":
        return name
    stages = _on_cores(work, site)
    return f"cores ({max(stages, key=stages.__getitem__)})"


def _on_cores(work: Work, site: Site) -> dict[str, float]:
    return {name: seconds for name, seconds in work.stages.items() if not (site.gpus and name in _ON_GPU)}


def run_seconds(work: Work, site: Site, num_videos: int, start: Start) -> float:
    """Return the seconds by the clock of one run of the tool: its start, then all videos."""
    births = start.worker.wall * max(1.0, site.workers / site.cores) if site.workers > 1 else 0.0
    return start.tool.wall + births + num_videos / throughput(work, site)


def run_cpu_seconds(work: Work, site: Site, num_videos: int, start: Start) -> float:
    """Return the CPU seconds of one run of the tool, in all its processes."""
    births = start.worker.cpu * site.workers if site.workers > 1 else 0.0
    return start.tool.cpu + births + num_videos * sum(work.stages.values())


def mean_cost(costs: Sequence[VideoCost]) -> VideoCost:
    """Return the mean of each figure."""
    names = asdict(costs[0])
    return VideoCost(**{name: statistics.fmean(getattr(cost, name) for cost in costs) for name in names})
