"""What a video costs, stage by stage, and what follows for many workers, machines and datasets.

    python benchmarks/bench_scale.py --ffpp CLIP [CLIP ...] --dfdc CLIP [CLIP ...] [--frames 32]
        [--videos 12] [--workers 1 2 4] [--rounds 3] [--price-per-core-hour P]
        [--gpu-videos-per-second R] [--json FILE]

The clips stand for the videos of FaceForensics++ and of DFDC. Of each, on one core with one thread:

    decode    the wanted frames as RGB, the whole file read for them
    faces     MTCNN on these frames
    crops     following people, cutting, encoding and writing (extraction)
    score     following people, cutting, and the bundled detector on the crops (scoring)

From these costs and those of starting the tool a model computes how long tools/extract_faces.py takes
on --videos links to the clips, for each of --workers; nothing in it is fitted to these runs, which
are then measured. The tables stand in benchmarks/scale.md. Speeds of disk and
network, a price and the speed of a GPU are not measured: they are the reader's. Linux only, since
the process is held to one core.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.measuring import add_json_option, record  # noqa: E402
from benchmarks.scale_model import Spent, VideoCost  # noqa: E402
from benchmarks.scale_page import DFDC, FFPP, Clip  # noqa: E402
from deepfake_detect.device import limit_threads  # noqa: E402
from deepfake_detect.errors import DeepfakeDetectError  # noqa: E402
from deepfake_detect.extraction import ExtractionConfig  # noqa: E402
from deepfake_detect.extraction.video import Job, VideoExtraction, open_frames  # noqa: E402
from deepfake_detect.faces import MtcnnDetector  # noqa: E402
from deepfake_detect.faces.tracked_crops import TrackedCropper  # noqa: E402
from deepfake_detect.progress import progress_bar  # noqa: E402
from deepfake_detect.records import REAL, DatasetVideo, Face, Frame  # noqa: E402
from deepfake_detect.scoring import Detector, load_detector  # noqa: E402

T = TypeVar("T")
_TOOL = ROOT / "tools" / "extract_faces.py"
# What a process of the pool does before its first video.
_WORKER_START = """
import numpy as np
import deepfake_detect.extraction.engines
from deepfake_detect.faces import MtcnnDetector
MtcnnDetector(device="cpu").detect(np.zeros((720, 1280, 3), np.uint8))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    # Of this process and those it starts: one thread each, as the model counts.
    os.environ["OMP_NUM_THREADS"] = "1"
    limit_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = _measure_all(options, Path(folder))
    except DeepfakeDetectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    record("scale", options, figures, packages=("av", "torch", "onnxruntime", "opencv-python-headless"))
    return 0


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
    add_json_option(parser, "scale")
    return parser.parse_args(arguments)


def _measure_all(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    paths = [(path, FFPP) for path in options.ffpp] + [(path, DFDC) for path in options.dfdc]
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
        tree = _linked([path for path, _ in paths], folder / "clips", options.videos)
        runs = _Runs(tree, folder, options.frames)
        spent: dict[int | str, list[Spent]] = {way: [] for way in (*options.workers, "tool", "worker")}
        for _ in range(options.rounds):
            for way, taken in spent.items():
                taken.append(runs.spent(way))
                done(f"{way} workers" if isinstance(way, int) else f"start of the {way}")
    medians = {way: _median(taken) for way, taken in spent.items()}
    return {
        "clips": [asdict(clip) for clip in clips],
        "start": {way: asdict(medians[way]) for way in ("tool", "worker")},
        "runs": {str(workers): asdict(medians[workers]) for workers in options.workers},
        "rounds": {str(way): [asdict(one) for one in taken] for way, taken in spent.items()},
    }


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

    def median(self, path: Path, kind: str, num_rounds: int) -> Clip:
        rounds = [self.spent(path) for _ in range(num_rounds)]
        stages = {name: _median([one[name] for one in rounds]) for name in rounds[0]}
        read, written = path.stat().st_size, _num_bytes(self._out)
        cost = VideoCost(
            **{f"{name}_seconds": spent.cpu for name, spent in stages.items()},
            read_mb=read / 1e6,
            written_mb=written / 1e6,
        )
        return Clip(path.name, kind, cost, {name: spent.wall for name, spent in stages.items()})

    def spent(self, path: Path) -> dict[str, Spent]:
        """Return what each stage spends on a clip; leave the clip's crops, and no other's."""
        shutil.rmtree(self._out, ignore_errors=True)
        job = Job(_as_video(path), self._out, self._config)
        frames, decode = _timed(lambda: list(open_frames(job)))
        found, faces = _timed(lambda: list(self._finder.detect_each([frame.image for frame in frames])))
        _, crops = _timed(lambda: _store(job, frames, found))
        _, score = _timed(lambda: self._score(frames, found))
        return {"decode": decode, "faces": faces, "crops": crops, "score": score}

    def _score(self, frames: Sequence[Frame], found: Sequence[Sequence[Face]]) -> None:
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


def _linked(clips: Sequence[Path], root: Path, num_videos: int) -> Path:
    """Make a tree of links to clips, in turn; return it."""
    folder = root / "real"
    folder.mkdir(parents=True)
    chosen = [clips[number % len(clips)] for number in range(num_videos)]
    for number, clip in enumerate(chosen):
        target = folder / f"{number:03d}{clip.suffix}"
        try:
            os.link(clip, target)
        except OSError:  # another disk
            shutil.copyfile(clip, target)
    return root


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


if __name__ == "__main__":
    sys.exit(main())
