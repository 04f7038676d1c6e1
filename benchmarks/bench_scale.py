"""What a video costs, stage by stage, and what follows for many workers, machines and datasets.

    python benchmarks/bench_scale.py --ffpp CLIP [CLIP ...] --dfdc CLIP [CLIP ...] [--frames 32]
        [--videos 12] [--workers 1 2 4] [--rounds 3] [--price-per-core-hour P]
        [--gpu-videos-per-second R] [--page FILE] [--json FILE]

The clips stand for the videos of FaceForensics++ and of DFDC. Of each, on one core with one thread:

    decode    the wanted frames as RGB, the whole file read for them
    faces     MTCNN on these frames
    crops     following people, cutting, encoding and writing (extraction)
    judge     following people, cutting, and the bundled detector on the crops (scoring)

From these costs and those of starting the tool a model tells how long tools/extract_faces.py takes
on --videos links to the clips, for each of --workers; nothing in it is fitted to these runs, which
are then measured. The tables go into benchmarks/scale.md, between its markers. Speeds of disk and
network, a price and the speed of a GPU are not measured: they are the reader's. Linux only, since
the process is held to one core.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.markers import markdown_table, replace_between  # noqa: E402
from benchmarks.paired import describe_machine  # noqa: E402
from deepfake_detect.device import limit_threads  # noqa: E402
from deepfake_detect.errors import DeepfakeDetectError  # noqa: E402
from deepfake_detect.extraction import ExtractionConfig  # noqa: E402
from deepfake_detect.extraction.video import Job, VideoExtraction, open_frames  # noqa: E402
from deepfake_detect.faces import MtcnnDetector  # noqa: E402
from deepfake_detect.faces.tracked_crops import TrackedCropper  # noqa: E402
from deepfake_detect.io.files import write_json  # noqa: E402
from deepfake_detect.progress import progress_bar  # noqa: E402
from deepfake_detect.records import REAL, DatasetVideo, Face, Frame  # noqa: E402
from deepfake_detect.scoring import Detector, load_detector  # noqa: E402

T = TypeVar("T")
_PAGE = ROOT / "benchmarks" / "scale.md"
_TOOL = ROOT / "tools" / "extract_faces.py"
_FFPP, _DFDC = "FF++", "DFDC"
_WORKLOADS = (
    ("FF++, 6,000 videos", _FFPP, 6_000),
    ("DFDC, 120,000 videos", _DFDC, 120_000),
    ("a million clips a day, as DFDC's", _DFDC, 1_000_000),
)
_CORES = (2, 16, 64, 256, 1024)
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3_600
_ON_GPU = ("faces", "judge")
# What a process of the pool does before its first video.
_WORKER_START = """
import numpy as np
import deepfake_detect.extraction.engines
from deepfake_detect.faces import MtcnnDetector
MtcnnDetector(device="cpu").detect(np.zeros((720, 1280, 3), np.uint8))
"""


@dataclass(frozen=True)
class VideoCost:
    """What one video takes: seconds of one core a stage, and megabytes (millions of bytes)."""

    decode_seconds: float
    faces_seconds: float
    crops_seconds: float
    judge_seconds: float
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
        gpus: That find and judge faces in place of the cores.
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
    stages = {"decode": cost.decode_seconds, "faces": cost.faces_seconds, "judge": cost.judge_seconds}
    return Work(stages, cost.read_mb, 0.0, is_pipelined=False)


_TASKS = {"extraction": extraction, "scoring": scoring}


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


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    # Of this process and those it starts: one thread each, as the model counts.
    os.environ["OMP_NUM_THREADS"] = "1"
    limit_threads(1)
    load = os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory() as folder:
            measured = _measure_all(options, Path(folder))
    except DeepfakeDetectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    machine = describe_machine("av", "torch", "opencv-python-headless", "facenet-pytorch")
    facts = f"Measured: {machine}; {load:.1f} processes were running before it began."
    if options.json:
        write_json(options.json, {"machine": machine, "load": load, **measured.as_json()})
    tables = {
        "stages": f"{facts}\n\n{_stage_table(measured)}",
        "check": _check_table(measured, options.videos),
        "limits": f"{_limit_table(measured, options)}\n\n{_gpu_table(measured, options)}",
        "cost": _cost_table(measured, options.price_per_core_hour),
    }
    return 0 if all(replace_between(options.page, name, text) for name, text in tables.items()) else 2


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ffpp", nargs="+", type=Path, required=True, help="clips as those of FF++")
    parser.add_argument("--dfdc", nargs="+", type=Path, required=True, help="clips as those of DFDC")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--videos", type=int, default=12, help="of the runs that check the model")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--disk-mb-s", type=float, default=500, help="assumed, of all disks together")
    parser.add_argument("--network-mb-s", type=float, default=125, help="assumed (125 is one gigabit)")
    parser.add_argument("--price-per-core-hour", type=float, help="adds a column of prices")
    parser.add_argument("--gpu-videos-per-second", type=float, help="assumed; adds a column of GPUs")
    parser.add_argument("--page", type=Path, default=_PAGE)
    parser.add_argument("--json", type=Path, help="where to leave the figures")
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class _Clip:
    """A clip's costs, and the stages' seconds by the clock."""

    path: Path
    kind: str
    cost: VideoCost
    wall_seconds: Mapping[str, float]


@dataclass(frozen=True)
class _Measured:
    """All that was measured; ``runs`` is by number of workers, ``work`` is of a mean video of them."""

    clips: Sequence[_Clip]
    start: Start
    work: Work
    runs: Mapping[int, Spent]

    def of_kind(self, kind: str) -> list[_Clip]:
        return [clip for clip in self.clips if clip.kind == kind]

    def cost(self, kind: str) -> VideoCost:
        return mean_cost([clip.cost for clip in self.of_kind(kind)])

    def as_json(self) -> dict[str, Any]:
        clips = [{**asdict(clip), "path": clip.path.name} for clip in self.clips]
        runs = {str(workers): asdict(spent) for workers, spent in self.runs.items()}
        return {"clips": clips, "start": asdict(self.start), "runs": runs}


def _measure_all(options: argparse.Namespace, folder: Path) -> _Measured:
    paths = [(path, _FFPP) for path in options.ffpp] + [(path, _DFDC) for path in options.dfdc]
    num_runs = (len(options.workers) + 2) * options.rounds
    with progress_bar() as progress:
        task = progress.add_task("measuring", total=len(paths) + num_runs, note="")

        def done(what: str) -> None:
            progress.update(task, advance=1, note=what)

        clips = []
        with _one_core():
            stages = _Stages(options.frames, folder / "stages")
            stages.spent(paths[0][0])  # the first of a process is slower
            for path, kind in paths:
                clips.append(stages.median(path, kind, options.rounds))
                done(path.name)
        tree, links = _linked([path for path, _ in paths], folder / "clips", options.videos)
        runs = _Runs(tree, folder, options.frames)
        spent: dict[int | str, list[Spent]] = {way: [] for way in (*options.workers, "tool", "worker")}
        for _ in range(options.rounds):
            for way, taken in spent.items():
                taken.append(runs.spent(way))
                done(f"{way} workers" if isinstance(way, int) else f"start of the {way}")
    of_path = {clip.path: clip.cost for clip in clips}
    medians = {way: _median(taken) for way, taken in spent.items()}
    return _Measured(
        clips,
        Start(medians["tool"], medians["worker"]),
        extraction(mean_cost([of_path[path] for path in links])),
        {workers: medians[workers] for workers in options.workers},
    )


def _median(spent: Sequence[Spent]) -> Spent:
    return Spent(statistics.median(s.wall for s in spent), statistics.median(s.cpu for s in spent))


@contextmanager
def _one_core() -> Iterator[None]:
    """Hold this thread, and those it starts, to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _timed(run: Callable[[], T]) -> tuple[T, Spent]:
    """Run something; return its result, and what it spent with its child processes."""
    began, cpu = time.perf_counter(), _cpu_seconds()
    result = run()
    return result, Spent(time.perf_counter() - began, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    used = os.times()
    return time.process_time() + used.children_user + used.children_system


class _Stages:
    """Runs the stages of a clip one after the other, each on its own."""

    def __init__(self, num_frames: int, out: Path) -> None:
        self._config = ExtractionConfig(num_frames=num_frames)
        self._out = out
        self._finder = MtcnnDetector(device="cpu")
        self._detector: Detector = load_detector(runtime="torch", device="cpu")

    def median(self, path: Path, kind: str, num_rounds: int) -> _Clip:
        rounds = [self.spent(path) for _ in range(num_rounds)]
        stages = {name: _median([one[name] for one in rounds]) for name in rounds[0]}
        read, written = path.stat().st_size, _num_bytes(self._out)
        cost = VideoCost(
            **{f"{name}_seconds": spent.cpu for name, spent in stages.items()},
            read_mb=read / 1e6,
            written_mb=written / 1e6,
        )
        return _Clip(path, kind, cost, {name: spent.wall for name, spent in stages.items()})

    def spent(self, path: Path) -> dict[str, Spent]:
        """Return what each stage spends on a clip; leave the clip's crops, and no other's."""
        shutil.rmtree(self._out, ignore_errors=True)
        job = Job(_as_video(path), self._out, self._config)
        frames, decode = _timed(lambda: list(open_frames(job)))
        found, faces = _timed(lambda: list(self._finder.detect_each([frame.image for frame in frames])))
        _, crops = _timed(lambda: _store(job, frames, found))
        _, judge = _timed(lambda: self._judge(frames, found))
        return {"decode": decode, "faces": faces, "crops": crops, "judge": judge}

    def _judge(self, frames: Sequence[Frame], found: Sequence[Sequence[Face]]) -> None:
        follower = TrackedCropper(self._detector.config.geometry)
        followed = [follower.follow(frame, faces) for frame, faces in zip(frames, found, strict=True)]
        self._detector.score_crops([face.crop for frame in followed for face in frame.faces])


def _store(job: Job, frames: Sequence[Frame], found: Sequence[Sequence[Face]]) -> None:
    video = VideoExtraction(job)
    for frame, faces in zip(frames, found, strict=True):
        video.take(frame, faces)
    video.end()


def _as_video(path: Path) -> DatasetVideo:
    return DatasetVideo("clips", f"clips/{path.stem}", "real", REAL, None, None, None, None, path)


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _linked(clips: Sequence[Path], root: Path, num_videos: int) -> tuple[Path, list[Path]]:
    """Make a tree of links to clips, in turn; return it and which clip each is."""
    folder = root / "real"
    folder.mkdir(parents=True)
    chosen = [clips[number % len(clips)] for number in range(num_videos)]
    for number, clip in enumerate(chosen):
        target = folder / f"{number:03d}{clip.suffix}"
        try:
            os.link(clip, target)
        except OSError:  # another disk
            shutil.copyfile(clip, target)
    return root, chosen


class _Runs:
    """Runs the tool, or only what comes before the first video."""

    def __init__(self, tree: Path, folder: Path, num_frames: int) -> None:
        self._tree, self._out, self._num_frames = tree, folder / "out", num_frames

    def spent(self, way: int | str) -> Spent:
        """Return what a run spends: with a number of workers, or of a start alone.

        "tool" is a run over the crops of the one before it, with nothing left to do.
        """
        if way == "worker":
            return self._run([sys.executable, "-c", _WORKER_START])
        if isinstance(way, int):
            shutil.rmtree(self._out, ignore_errors=True)
        workers = way if isinstance(way, int) else 1
        options = ["--frames", str(self._num_frames), "--workers", str(workers), "--device", "cpu"]
        tool = [sys.executable, str(_TOOL), str(self._tree), "--dataset", "folder", "--out", str(self._out)]
        return self._run([*tool, *options])

    def _run(self, command: Sequence[str]) -> Spent:
        run = {"check": True, "cwd": ROOT, "stdout": subprocess.DEVNULL}
        return _timed(lambda: subprocess.run(command, **run))[1]  # type: ignore[call-overload]


def _stage_table(measured: _Measured) -> str:
    rows = []
    for kind in (_FFPP, _DFDC):
        cost, clips = measured.cost(kind), measured.of_kind(kind)
        stages = [
            f"{getattr(cost, f'{name}_seconds'):.2f} ({_mean_wall(clips, name):.2f})"
            for name in clips[0].wall_seconds
        ]
        sums = [f"{sum(work(cost).stages.values()):.2f}" for work in _TASKS.values()]
        rows.append(
            [f"{kind} ({len(clips)})", *stages, *sums, f"{cost.read_mb:.2f}", f"{cost.written_mb:.2f}"]
        )
    names = list(measured.clips[0].wall_seconds)
    header = ["videos as of (clips)", *names, *_TASKS, "MB read", "MB written"]
    start = measured.start
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"Start of the tool: {_both(start.tool)} s; of each further process: {_both(start.worker)} s."
    )


def _mean_wall(clips: Sequence[_Clip], stage: str) -> float:
    return statistics.fmean(clip.wall_seconds[stage] for clip in clips)


def _both(spent: Spent) -> str:
    return f"{spent.cpu:.2f} ({spent.wall:.2f})"


def _check_table(measured: _Measured, num_videos: int) -> str:
    cores = os.cpu_count() or 1
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


def _limit_table(measured: _Measured, options: argparse.Namespace) -> str:
    def cell(work: Work, cores: int) -> str:
        site = Site(cores, cores, options.disk_mb_s, options.network_mb_s)
        return f"{throughput(work, site):,.1f}: {saturated(work, site)}"

    assumed = f"{options.network_mb_s:g} MB/s of network and {options.disk_mb_s:g} MB/s of disk"
    return (
        f"Videos a second and what saturates first, a worker a core, with {assumed} (assumed) for all "
        f"machines together:\n\n{_by_cores(measured, cell)}"
    )


def _gpu_table(measured: _Measured, options: argparse.Namespace) -> str:
    rate = options.gpu_videos_per_second

    def cell(work: Work, cores: int) -> str:
        fed = throughput(work, Site(cores, cores, gpus=1))
        return f"{fed:,.1f}" + (f": {math.ceil(fed / rate):,} GPUs" if rate else "")

    assumed = f" A GPU is assumed to do {rate:g} videos a second." if rate else ""
    return (
        "With GPUs that find and judge the faces, the cores feed them so many videos a second, network and "
        f"disk apart; GPUs that do fewer saturate first.{assumed}\n\n{_by_cores(measured, cell)}"
    )


def _by_cores(measured: _Measured, cell: Callable[[Work, int], str]) -> str:
    """Return a table with a line for each number of cores, and a column for each kind of work."""
    columns = {
        f"{kind}, {task}": work(measured.cost(kind))
        for kind in (_FFPP, _DFDC)
        for task, work in _TASKS.items()
    }
    rows = [[f"{cores:,}", *(cell(work, cores) for work in columns.values())] for cores in _CORES]
    return markdown_table(["cores", *columns], rows)


def _cost_table(measured: _Measured, price: float | None) -> str:
    rows = []
    for name, kind, num_videos in _WORKLOADS:
        for task, work in _TASKS.items():
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


if __name__ == "__main__":
    sys.exit(main())
