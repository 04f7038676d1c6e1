"""Faces a second of the bundled detector, beside the same network run as it comes out of timm.

    python benchmarks/bench_detector.py [--detector PATH] [--batch 32] [--threads 2] [--rounds 9] [--json]

The crops are the faces of ``examples/demo.mp4``, at their own sizes. ``crops`` is the way from crops to
probabilities, preprocessing included; ``network`` the network alone on tensors; ``eager timm`` the network
alone in PyTorch's usual memory layout. The ways in bf16 are run where the processor has it. Beside each
stands how far its probabilities are from those of eager timm, largest and mean over the crops.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from markers import markdown_table
from paired import describe_machine, time_in_turn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from deepfake_detect.data.transforms import crops_to_tensor  # noqa: E402
from deepfake_detect.device import fast_precision  # noqa: E402
from deepfake_detect.explanation.sources import crops_of_clip  # noqa: E402
from deepfake_detect.models.config import DetectorConfig  # noqa: E402
from deepfake_detect.records import INFERENCE_PRECISIONS  # noqa: E402
from deepfake_detect.scoring import load_detector  # noqa: E402

_CLIP = Path(__file__).resolve().parents[1] / "examples" / "demo.mp4"
_EAGER = "eager timm"
_CPU = torch.device("cpu")
_BATCHES_PER_TURN = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("batch", 32), ("threads", 2), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--detector", help="(default: the bundled one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    figures = measure(arguments.detector, batch_size=arguments.batch, num_rounds=arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(describe_machine("torch", "timm"))
    eager = figures["faces_per_second"][_EAGER]
    rows = [
        (
            way,
            f"{speed:.0f}",
            f"{speed / eager:.2f}",
            *(f"{apart:.1e}" for apart in figures["difference"][way]),
        )
        for way, speed in figures["faces_per_second"].items()
    ]
    print(markdown_table(("way", "faces a second", "ratio", "largest difference", "mean"), rows))
    return 0


def measure(path: str | None, *, batch_size: int, num_rounds: int) -> dict[str, Any]:
    """Return faces a second of each way, medians over rounds in turn, and how far each is from eager
    timm in probabilities, largest and mean.
    """
    ways = _ways(path, batch_size)
    eager = ways[_EAGER]()
    difference = {}
    for name, way in ways.items():
        apart = np.abs(way() - eager)
        difference[name] = (float(apart.max()), float(apart.mean()))
    repeated = {
        name: (lambda way=way: [way() for _ in range(_BATCHES_PER_TURN)]) for name, way in ways.items()
    }
    timings = time_in_turn(repeated, num_rounds=num_rounds)
    num_faces = batch_size * _BATCHES_PER_TURN
    speeds = {name: num_faces / timing.median for name, timing in timings.items()}
    return {"faces_per_second": speeds, "difference": difference}


def _ways(path: str | None, batch_size: int) -> dict[str, Callable[[], np.ndarray]]:
    """Return what is timed: each gives the probabilities of one batch."""
    exact = load_detector(path, runtime="torch", device="cpu")
    crops = _crops(batch_size, exact.config)
    images = crops_to_tensor(crops, exact.config.model.preprocessing).contiguous()
    eager = copy.deepcopy(exact.model).to(memory_format=torch.contiguous_format)

    def run_eager() -> np.ndarray:
        with torch.no_grad():
            return exact.probabilities(eager(images).double().numpy())

    ways: dict[str, Callable[[], np.ndarray]] = {_EAGER: run_eager}
    for precision in INFERENCE_PRECISIONS:
        if precision in ("fp32", fast_precision(_CPU)):
            detector = load_detector(path, runtime="torch", device="cpu", precision=precision)
            ways[f"network, {precision}"] = lambda own=detector: own.probabilities(own.batch_logits(images))
            ways[f"crops, {precision}"] = lambda own=detector: own.score_crops(crops)
    return ways


def _crops(count: int, config: DetectorConfig) -> list[np.ndarray]:
    """Return so many face crops of the demo clip, from the start again where it has fewer."""
    people = crops_of_clip(
        _CLIP, geometry=config.geometry, num_frames=count, device=_CPU, show_progress=False
    )
    found = [crop.picture for person in people for crop in person]
    return [found[number % len(found)] for number in range(count)]


if __name__ == "__main__":
    sys.exit(main())
