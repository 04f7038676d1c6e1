"""Whole extraction beside pure decoding of the same files.

    python benchmarks/bench_extract.py CLIP [CLIP ...] [--videos 24] [--clip-frames 300] [--frames 32]
        [--workers 1 2] [--rounds 5] [--json FILE]

The clips are encoded anew as FaceForensics++ is (H.264, 1280x720 or upright, CRF 23), repeated or cut
to --clip-frames, into a temporary tree, copied under as many names as --videos says. For each number
of workers, in turn:

    decoding        every frame of every file, not converted, PyAV in as many processes; once with
                    one FFmpeg thread a process and once with as many as FFmpeg chooses
    wanted frames   the evenly spaced frames as RGB with this library's reader, in as many processes
    extraction      tools/extract_faces.py, a fresh process

A run of the tool starts by importing its libraries in each process (the decoding processes run
already). Its speed is told apart from that start: videos a second from when the first of them were
done. The ratio is that speed over the decoding speed of the faster kind. CPU seconds are those of the
whole run, its start included; where other programs use the machine too, they say more than the clock.
Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import functools
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.measuring import add_json_option, record, time_in_turn  # noqa: E402
from deepfake_detect.video import EvenlySpaced, read_frames  # noqa: E402

_TOOL = ROOT / "tools" / "extract_faces.py"
_LONG, _SHORT, _RATE = 1280, 720, 25
_KINDS = {"decoding, one thread a process": "NONE", "decoding, FFmpeg's threads": "AUTO"}
_WANTED, _EXTRACTION = "wanted frames", "extraction"


def main() -> int:
    arguments = _parse()
    with tempfile.TemporaryDirectory() as folder:
        encoded = [
            _encode(clip, Path(folder) / f"{number}.mp4", arguments.clip_frames)
            for number, clip in enumerate(arguments.clips)
        ]
        tree = _tree(Path(folder) / "tree", encoded, arguments.videos)
        speed = [row for count in arguments.workers for row in _measure(tree, count, arguments)]
        memory = [_memory(Path(folder), arguments.clips[0], count) for count in (300, 1200)]
    packages = ("av", "onnxruntime", "opencv-python-headless")
    record("extract", arguments, {"speed": speed, "memory": memory}, packages=packages)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--clip-frames", type=int, default=300)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    add_json_option(parser, "extract")
    return parser.parse_args()


def _encode(source: Path, target: Path, num_frames: int) -> Path:
    """Encode a clip as FaceForensics++ does, repeated or cut to a number of frames; return the target."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        video = reader.streams.video[0]
        is_wide = video.width >= video.height
        width, height = (_LONG, _SHORT) if is_wide else (_SHORT, _LONG)
        stream: Any = writer.add_stream("libx264", rate=_RATE, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, picture in zip(range(num_frames), _repeated(reader, video), strict=False):
            small = picture.reformat(width, height, "yuv420p", interpolation="AREA")
            small.pts, small.time_base = number, Fraction(1, _RATE)
            writer.mux(stream.encode(small))
        writer.mux(stream.encode(None))
    return target


def _repeated(reader: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
    while True:
        reader.seek(0)
        yield from reader.decode(video)


def _tree(root: Path, clips: Sequence[Path], num_videos: int) -> Path:
    folder = root / "original_sequences" / "youtube" / "c23" / "videos"
    folder.mkdir(parents=True)
    for number in range(num_videos):
        shutil.copyfile(clips[number % len(clips)], folder / f"{number:03d}.mp4")
    return root


def _measure(tree: Path, num_workers: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time every way with one number of workers; return a row each."""
    files = sorted(tree.rglob("*.mp4"))
    extraction = _Extraction(tree, num_workers, arguments.frames)
    with ProcessPoolExecutor(num_workers, get_context("spawn")) as pool:
        works: dict[str, Callable[[], float]] = {
            name: functools.partial(_in_pool, pool, _decode, files, kind) for name, kind in _KINDS.items()
        }
        works[_WANTED] = functools.partial(_in_pool, pool, _read_wanted, files, arguments.frames)
        works[_EXTRACTION] = extraction
        cpu_seconds: dict[str, list[float]] = {name: [] for name in works}
        ways = {name: functools.partial(_counted, work, cpu_seconds[name]) for name, work in works.items()}
        timings = time_in_turn(ways, num_rounds=arguments.rounds)
    seconds = {name: timing.rounded() for name, timing in timings.items()}
    seconds[_EXTRACTION] = [round(one, 4) for one in extraction.seconds[1:]]  # the first run was not measured
    return [
        {
            "workers": num_workers,
            "way": name,
            "videos": len(files),
            "seconds": seconds[name],
            "whole_run_seconds": timing.rounded(),
            "cpu_seconds": [round(one, 3) for one in cpu_seconds[name][1:]],
            "start_seconds": [round(one, 3) for one in extraction.starts[1:]] if name == _EXTRACTION else [],
        }
        for name, timing in timings.items()
    ]


def _counted(work: Callable[[], float], cpu_seconds: list[float]) -> None:
    cpu_seconds.append(work())


def _in_pool(
    pool: ProcessPoolExecutor, work: Callable[[Path, Any], float], files: Sequence[Path], how: Any
) -> float:
    """Return the CPU seconds of reading files."""
    return sum(pool.map(work, files, repeat(how)))


def _decode(path: Path, thread_type: str) -> float:
    began = time.process_time()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = thread_type
        for _ in container.decode(stream):
            pass
    return time.process_time() - began


def _read_wanted(path: Path, num_frames: int) -> float:
    began = time.process_time()
    for _ in read_frames(path, sampling=EvenlySpaced(num_frames)):
        pass
    return time.process_time() - began


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass
class _Extraction:
    """Runs the tool; remembers, of each run, how long all videos take once it has started.

    Attributes:
        starts: Seconds until the first videos, one a worker, were done, less what they take.
        seconds: Seconds for as many videos as there are, at the speed after that.
    """

    tree: Path
    num_workers: int
    num_frames: int
    starts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        used_before = _children_cpu_seconds()
        with tempfile.TemporaryDirectory() as out:
            began = time.time()
            options = ["--frames", str(self.num_frames), "--workers", str(self.num_workers)]
            subprocess.run(_command(self.tree, out, *options), check=True, stdout=subprocess.DEVNULL)
            ended = sorted(path.stat().st_mtime for path in Path(out, "index").rglob("*.parquet"))
        first, last = ended[self.num_workers - 1], ended[-1]
        each = (last - first) / (len(ended) - self.num_workers)
        self.seconds.append(each * len(ended))
        self.starts.append(first - began - each * self.num_workers)
        return _children_cpu_seconds() - used_before


def _command(tree: Path, out: str, *options: str) -> list[str]:
    return [
        sys.executable,
        str(_TOOL),
        str(tree),
        "--dataset",
        "ffpp",
        "--out",
        out,
        "--device",
        "cpu",
        *options,
    ]


def _memory(folder: Path, clip: Path, num_frames: int) -> dict[str, Any]:
    """Extract every 4th frame of one long clip; return the peak memory of the tool's processes."""
    encoded = _encode(clip, folder / f"long{num_frames}.mp4", num_frames)
    tree = _tree(folder / f"long{num_frames}", [encoded], 1)
    peak = 0.0
    with tempfile.TemporaryDirectory() as out:
        options = ["--frames", str(num_frames // 4), "--workers", "1"]
        with subprocess.Popen(_command(tree, out, *options), stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, sum(map(_megabytes, _processes_below(process.pid))))
                time.sleep(0.02)
    return {"frames": num_frames, "peak_mb": peak}


def _processes_below(pid: int) -> list[int]:
    """Return a process and all it has started."""
    children: list[int] = []
    with suppress(OSError):  # it has ended meanwhile
        listed = [path.read_text("ascii").split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        children = [int(child) for child in chain.from_iterable(listed)]
    return [pid, *chain.from_iterable(map(_processes_below, children))]


def _megabytes(pid: int) -> float:
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
