"""A clip's first verdict and the next ones, next to the pipeline that most people write.

    python benchmarks/bench_score.py CLIP [--frames 32] [--rounds 5] [--threads N] [--json FILE]

Of CLIP (any clip with a face that ffmpeg reads) the first ten seconds become a clip of 720 lines,
repeated where it is shorter. The rival, written out in `naive`: a seek of OpenCV to each of --frames
evenly spaced frames, facenet-pytorch's `MTCNN.detect` on each at its defaults, and its
InceptionResnetV1 in eager fp32, a face at a time, on the same square of 1.3 times the box. Both run
the same weights: random ones, whose output a line through mean and spread of the clip's own logits
turns into probabilities that differ from face to face.

    new          a new process, from its start to its end with the verdict
    warm         clip after clip in one process
    difference   of the probabilities of faces that both found, the largest; a face is the same
                 when the boxes overlap by more than half
    default      `tools/score_video.py CLIP` and nothing else
    decoding     the sampled frames are decoded, and nothing is done with them
    bundled      the detector that comes with the library, next to the same rival
    ONNX         the same detectors exported and run by `--runtime onnx`, which loads no PyTorch
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

_RESULT = ROOT / "benchmarks" / "results" / "score.json"
_SECONDS, _HEIGHT = 10, 720
_MARGIN, _SIDE = 1.3, 160
_RIVAL, _OURS, _BUNDLED = "seek, facenet-pytorch, eager FaceNet", "the same FaceNet", "the bundled detector"
_DEFAULT, _DECODE = "the default command", "decoding alone"
_OURS_TORCH, _BUNDLED_TORCH = f"{_OURS}, PyTorch", f"{_BUNDLED}, PyTorch"
_OURS_ONNX, _BUNDLED_ONNX = f"{_OURS}, ONNX Runtime", f"{_BUNDLED}, ONNX Runtime"
_Scored = list[list[tuple[list[float], float]]]
"""For each frame its faces: box (left, top, right, bottom) and fake probability."""


class Naive:
    """The pipeline that most people write; nothing here is of this library."""

    def __init__(self, weights: str) -> None:
        import torch
        from facenet_pytorch import MTCNN, InceptionResnetV1

        saved = torch.load(weights)
        self._faces = MTCNN(keep_all=True)
        network = InceptionResnetV1()
        network.logits, network.classify = torch.nn.Identity(), True
        network.load_state_dict(saved["network"])
        self._network = network.eval()
        self._head = torch.nn.Linear(512, 1)
        self._head.load_state_dict(saved["head"])
        self._slope, self._intercept = saved["slope"], saved["intercept"]

    def score(self, clip: str, num_frames: int) -> _Scored:
        """Return the faces of evenly spaced frames with their probabilities."""
        import cv2
        import numpy as np

        capture = cv2.VideoCapture(clip)
        last = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - 1
        scored: _Scored = []
        for index in np.linspace(0, last, num_frames).round().astype(int).tolist():
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            image = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
            boxes, _ = self._faces.detect(image)
            found = [] if boxes is None else boxes.tolist()
            scored.append([(box, self._probability(image, box)) for box in found])
        return scored

    def _probability(self, image: Any, box: list[float]) -> float:
        import cv2
        import numpy as np
        import torch

        left, top, right, bottom = box
        side = max(1, round(max(right - left, bottom - top) * _MARGIN))
        x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
        padded = np.pad(image, ((side, side), (side, side), (0, 0)), mode="reflect")
        crop = padded[y + side : y + 2 * side, x + side : x + 2 * side]
        way = cv2.INTER_AREA if side > _SIDE else cv2.INTER_LINEAR
        small = cv2.resize(crop, (_SIDE, _SIDE), interpolation=way).astype(np.float32)
        tensor = torch.from_numpy((small - 127.5) / 128).permute(2, 0, 1)
        with torch.no_grad():
            logit = self._head(torch.relu(self._network(tensor[None]))).item()
        return float(1 / (1 + np.exp(-(self._slope * logit + self._intercept))))


def main() -> int:
    arguments = _parse()
    if arguments.threads:
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    if arguments.naive:  # the rival in a process of its own, which loads nothing of this library
        weights, clip = arguments.naive
        print(json.dumps(Naive(weights).score(clip, arguments.frames)))
        return 0
    if arguments.clip is None:
        raise SystemExit("name a clip")
    with tempfile.TemporaryDirectory() as folder:
        return _measure(arguments, Path(folder))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="WAY", help="ways to time, by a part of their names")
    parser.add_argument("--threads", type=int, help="of torch; by default as many as it chooses")
    parser.add_argument("--json", type=Path, default=_RESULT, metavar="FILE", help="where the result goes")
    parser.add_argument("--naive", nargs=2, metavar=("WEIGHTS", "CLIP"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(arguments: argparse.Namespace, folder: Path) -> int:
    from benchmarks.measuring import record
    from deepfake_detect.runtimes.export import export

    clip, weights, detector = folder / "clip.mp4", folder / "naive.pt", folder / "facenet.safetensors"
    _make_clip(arguments.clip, clip)
    _make_detectors(weights, detector, clip, arguments.frames)
    places = _Places(clip, weights, detector)
    export(detector, format="onnx", out=places.exported)
    rows = [*_cold(places, arguments), *_warm(places, arguments)]
    naive = json.loads((folder / "naive.json").read_text())
    agreement = {
        way: _agreement(naive, folder / f"{name}.json")
        for way, name in ((_OURS_TORCH, "ours"), (_OURS_ONNX, "onnx"))
        if (folder / f"{name}.json").exists()
    }
    packages = ("torch", "facenet-pytorch", "onnxruntime", "opencv-python-headless", "av")
    record("score", arguments, {"rows": rows, "agreement": agreement}, packages=packages)
    return 0


def _make_clip(source: Path, out: Path) -> None:
    """Write ten seconds of a clip in 720 lines."""
    import cv2

    from deepfake_detect.video import AllFrames, VideoWriter, read_frames, read_metadata

    shown = read_metadata(source)
    width = round(shown.width * _HEIGHT / shown.height / 2) * 2
    wanted = round(_SECONDS * shown.frames_per_second)
    with VideoWriter(out, width=width, height=_HEIGHT, frames_per_second=shown.frames_per_second) as writer:
        done = 0
        while done < wanted:
            for frame in read_frames(source, sampling=AllFrames(), allow_truncated=True):
                if done < wanted:
                    writer.write(cv2.resize(frame.image, (width, _HEIGHT), interpolation=cv2.INTER_AREA))
                    done += 1


def _make_detectors(weights: Path, detector: Path, clip: Path, num_frames: int) -> None:
    """Write the same random weights for the rival and as a detector file."""
    import numpy as np
    import torch

    from deepfake_detect.models.checkpoint import DetectorConfig, save_detector
    from deepfake_detect.models.classifier import create_model
    from deepfake_detect.records import CropGeometry

    torch.manual_seed(0)
    model = create_model("facenet").eval()
    parts = {"network": model.encoder[0].state_dict(), "head": model.head[-1].state_dict()}
    torch.save({**parts, "slope": 1.0, "intercept": 0.0}, weights)
    found = np.array([p for faces in Naive(str(weights)).score(str(clip), num_frames) for _, p in faces])
    if not len(found):
        raise SystemExit(f"{clip}: shows no face")
    logits = np.log(found / (1 - found))
    slope = 1 / max(float(logits.std()), 1e-6)
    line = {"slope": slope, "intercept": -slope * float(logits.mean())}
    torch.save({**parts, **line}, weights)
    calibration = {"method": "platt", **line}
    config = DetectorConfig("random", "0", model.spec, CropGeometry(_MARGIN), calibration=calibration)
    save_detector(detector, model, config)


@dataclass(frozen=True)
class _Places:
    """The clip, and the same weights for the rival and for the detector."""

    clip: Path
    weights: Path
    detector: Path

    @property
    def exported(self) -> Path:
        return self.detector.with_suffix(".onnx")


def _cold(places: _Places, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    clip, frames = str(places.clip), ["--frames", str(arguments.frames)]
    ours = [sys.executable, str(ROOT / "tools" / "score_video.py"), clip, *frames, "--json", "-"]
    onnx = ["--runtime", "onnx"]
    rival = [sys.executable, __file__, "--naive", str(places.weights), clip, *frames]

    def run(command: list[str], out: str) -> None:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        (places.clip.parent / out).write_bytes(done.stdout)

    ways: dict[str, Callable[[], object]] = {
        _RIVAL: lambda: run(rival, "naive.json"),
        _DEFAULT: lambda: run([sys.executable, str(ROOT / "tools" / "score_video.py"), clip], "default.txt"),
        _OURS_TORCH: lambda: run([*ours, "--detector", str(places.detector)], "ours.json"),
        _BUNDLED_TORCH: lambda: run([*ours, "--runtime", "torch"], "bundled.json"),
        _OURS_ONNX: lambda: run([*ours, *onnx, "--detector", str(places.exported)], "onnx.json"),
        _BUNDLED_ONNX: lambda: run([*ours, *onnx], "bundled_onnx.json"),
    }
    return _timed("new", ways, arguments)


def _warm(places: _Places, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from deepfake_detect import load_detector
    from deepfake_detect.video import EvenlySpaced, read_frames

    naive, num_frames = Naive(str(places.weights)), arguments.frames
    detectors = {
        _OURS_TORCH: load_detector(places.detector, runtime="torch"),
        _BUNDLED_TORCH: load_detector(runtime="torch"),
        _OURS_ONNX: load_detector(places.exported),
        _BUNDLED_ONNX: load_detector(runtime="onnx"),
    }
    ways: dict[str, Callable[[], object]] = {_RIVAL: lambda: naive.score(str(places.clip), num_frames)}
    for name, detector in detectors.items():
        ways[name] = functools.partial(detector.score_video, places.clip, num_frames=num_frames)
    ways[_DECODE] = lambda: list(read_frames(places.clip, sampling=EvenlySpaced(num_frames)))
    return _timed("warm", ways, arguments)


def _timed(
    process: str, ways: dict[str, Callable[[], object]], arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Time ways in turn, by the clock and by the CPU time of this process and its children."""
    from benchmarks.measuring import time_in_turn

    only = [_RIVAL, *(arguments.only or ways)]
    ways = {name: run for name, run in ways.items() if any(part in name for part in only)}
    spent: dict[str, list[float]] = {name: [] for name in ways}

    def counted(name: str) -> None:
        before = os.times()
        ways[name]()
        spent[name].append(sum(os.times()[:4]) - sum(before[:4]))

    timings = time_in_turn(
        {name: functools.partial(counted, name) for name in ways}, num_rounds=arguments.rounds
    )
    return [
        {
            "process": process,
            "way": name,
            "seconds": timing.rounded(),
            "cpu_seconds": [round(one, 2) for one in spent[name][1:]],
        }
        for name, timing in timings.items()
    ]


def _agreement(naive: _Scored, ours: Path) -> dict[str, Any]:
    """Compare the probabilities of faces that both found."""
    frames = json.loads(ours.read_text())["frames"]
    differences, num_ours = [], 0
    for theirs, frame in zip(naive, frames, strict=True):
        num_ours += len(frame["faces"])
        for face in frame["faces"]:
            overlaps = [_overlap(face["box_xyxy"], box) for box, _ in theirs]
            best = max(range(len(overlaps)), key=overlaps.__getitem__, default=None)
            if best is not None and overlaps[best] > 0.5:
                differences.append(abs(face["fake_probability"] - theirs[best][1]))
    probabilities = [p for faces in naive for _, p in faces]
    return {
        "rival": len(probabilities),
        "ours": num_ours,
        "both": len(differences),
        "largest_difference": max(differences, default=float("nan")),
        "rival_from": round(min(probabilities), 3),
        "rival_to": round(max(probabilities), 3),
    }


def _overlap(box: list[float], other: list[float]) -> float:
    """Return intersection over union."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((one[2] - one[0]) * (one[3] - one[1]) for one in (box, other))
    return shared / (areas - shared)


if __name__ == "__main__":
    sys.exit(main())
