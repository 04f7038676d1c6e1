"""Faces a second, agreement, size and cold start of each runtime, beside PyTorch in eager mode.

    python benchmarks/bench_runtimes.py CLIP [--slim VENV] [--calibrate MANIFEST] [--batch 32]
        [--rounds 7] [--cold-rounds 3] [--threads 2] [--json FILE]

The bundled detector is exported to each runtime and scores the same crops, of its own input size, in
the same rounds. ``eager PyTorch`` is the network in PyTorch's usual memory layout, with the crops
made tensors one by one; ``PyTorch`` is what this library does, in bf16 too
where the processor has it. int8 comes with --calibrate only.
Agreement is with eager PyTorch, on faces of CLIP. A cold start is a fresh process, from its start to
its end with the verdict on CLIP, which should be one of ten seconds; of --slim, an environment with
numpy, opencv-python-headless and onnxruntime alone, the same with this checkout's package. Sizes of
environments are those of all their files.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.measuring import add_json_option, record, time_in_turn  # noqa: E402
from deepfake_detect.data.transforms import crop_to_tensor, resize_square  # noqa: E402
from deepfake_detect.device import fast_precision  # noqa: E402
from deepfake_detect.faces import track_faces  # noqa: E402
from deepfake_detect.runtimes.export import export  # noqa: E402
from deepfake_detect.scoring import Detector, load_detector  # noqa: E402
from deepfake_detect.video import EvenlySpaced, read_frames  # noqa: E402

_EAGER = "eager PyTorch"
# Name, format, precision, runtime that reads it.
_EXPORTS = (
    ("ONNX Runtime fp32", "onnx", "fp32", "onnx"),
    ("ONNX Runtime fp16", "onnx", "fp16", "onnx"),
    ("ONNX Runtime int8", "onnx", "int8", "onnx"),
    ("OpenVINO fp32", "openvino", "fp32", "openvino"),
    ("OpenVINO bf16", "openvino", "bf16", "openvino"),
    ("OpenVINO int8", "openvino", "int8", "openvino"),
)


@dataclass(frozen=True)
class Way:
    """A way from crops to probabilities, and the size of its file in bytes."""

    score: Callable[[list[np.ndarray]], np.ndarray]
    num_bytes: int


def main() -> int:
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        detector = load_detector(runtime="torch", device="cpu")
        crops = _faces(arguments.clip, detector, arguments.batch)
        figures = {
            "batch": arguments.batch,
            "warm": _warm(_ways(detector, Path(folder), arguments), crops, arguments.rounds),
            "cold": _cold(arguments, Path(folder)),
            "environments_mb": {name: _megabytes(place) for name, place in _environments(arguments).items()},
        }
    record("runtimes", arguments, figures, packages=("torch", "onnxruntime", "openvino"))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--slim", type=Path, help="environment without PyTorch")
    parser.add_argument("--calibrate", type=Path, help="manifest, for int8")
    for name, default in (("batch", 32), ("rounds", 7), ("cold-rounds", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    add_json_option(parser, "runtimes")
    return parser.parse_args()


def _faces(clip: Path, detector: Detector, count: int) -> list[np.ndarray]:
    """Return crops of the network's input size, one after the other until there are enough."""
    size = detector.config.model.preprocessing.image_size
    frames = read_frames(clip, sampling=EvenlySpaced(count))
    with closing(frames):
        found = track_faces(frames, detector=detector.face_finder(None), geometry=detector.config.geometry)
        crops = [resize_square(face.crop, size) for frame in found for face in frame.faces]
    if not crops:
        raise SystemExit(f"{clip}: shows no face")
    return [crops[number % len(crops)] for number in range(count)]


def _ways(detector: Detector, folder: Path, arguments: argparse.Namespace) -> dict[str, Way]:
    preprocessing = detector.config.model.preprocessing
    eager = copy.deepcopy(detector.model).to(memory_format=torch.contiguous_format)

    def run_eager(crops: list[np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            images = torch.stack([crop_to_tensor(crop, preprocessing) for crop in crops])
            return detector.probabilities(eager(images).double().numpy())

    weights = (ROOT / "deepfake_detect" / "weights" / "default.safetensors").stat().st_size
    ways = {_EAGER: Way(run_eager, weights), "PyTorch": Way(detector.score_crops, weights)}
    if fast_precision(torch.device("cpu")) == "bf16":
        fast = load_detector(runtime="torch", device="cpu", precision="bf16")
        ways["PyTorch bf16"] = Way(fast.score_crops, weights)
    for name, format, precision, runtime in _EXPORTS:
        if precision == "int8" and arguments.calibrate is None:
            continue
        out = folder / f"{format}_{precision}{'.onnx' if format == 'onnx' else '.xml'}"
        calibrate = arguments.calibrate if precision == "int8" else None
        report = export(format=format, precision=precision, out=out, calibrate=calibrate, tolerance=1.0)
        loaded = load_detector(out, runtime=runtime, num_threads=arguments.threads)
        ways[name] = Way(loaded.score_crops, report.num_bytes)
    return ways


def _warm(ways: Mapping[str, Way], crops: list[np.ndarray], num_rounds: int) -> dict[str, dict[str, Any]]:
    wanted = ways[_EAGER].score(crops)
    timings = time_in_turn(
        {name: (lambda way=way: way.score(crops)) for name, way in ways.items()}, num_rounds=num_rounds
    )
    return {
        name: {
            "seconds": timings[name].rounded(),
            "largest_difference": float(np.abs(way.score(crops) - wanted).max()),
            "megabytes": way.num_bytes / 1e6,
        }
        for name, way in ways.items()
    }


def _cold(arguments: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Time whole processes, in turn."""
    tool = [str(ROOT / "tools" / "score_video.py"), str(arguments.clip), "--json", "-"]
    bundled = folder / "openvino_fp32.xml"
    commands = {
        "PyTorch": [sys.executable, *tool, "--runtime", "torch"],
        "ONNX Runtime": [sys.executable, *tool, "--runtime", "onnx"],
        "OpenVINO": [sys.executable, *tool, "--runtime", "openvino", "--detector", str(bundled)],
    }
    if arguments.slim is not None:
        python = str(arguments.slim / "bin" / "python")
        commands["ONNX Runtime, slim environment"] = [python, *tool, "--runtime", "onnx"]

    def run(command: list[str]) -> None:
        subprocess.run(command, check=True, capture_output=True)

    timings = time_in_turn(
        {name: (lambda command=command: run(command)) for name, command in commands.items()},
        num_rounds=arguments.cold_rounds,
    )
    return {name: timing.rounded() for name, timing in timings.items()}


def _environments(arguments: argparse.Namespace) -> dict[str, Path]:
    places = {"full": Path(sys.prefix)}
    return places if arguments.slim is None else {**places, "slim": arguments.slim}


def _megabytes(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


if __name__ == "__main__":
    sys.exit(main())
