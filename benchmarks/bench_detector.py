"""Faces a second of the bundled detector, beside the same network run as it comes out of timm.

    python benchmarks/bench_detector.py [--detector PATH] [--batch 32] [--threads 2] [--rounds 9] [--json]

``crops`` is the way from 256-pixel crops to probabilities, preprocessing included; ``network`` the
network alone on tensors; ``eager timm`` the network alone in PyTorch's usual memory layout, without
the allocator's memory being kept. The largest difference of the logits is told beside the speed.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from markers import markdown_table
from paired import describe_machine, time_in_turn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from deepfake_detect.data.transforms import crop_to_tensor  # noqa: E402
from deepfake_detect.scoring import load_detector  # noqa: E402

_CROP_SIDE = 256
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
    rows = [(way, f"{speed:.0f}") for way, speed in figures["faces_per_second"].items()]
    print(markdown_table(("way", "faces a second"), rows))
    print(f"largest difference of the logits: {figures['largest_difference']:.1e}")
    return 0


def measure(path: str | None, *, batch_size: int, num_rounds: int) -> dict[str, Any]:
    """Return faces a second of each way, medians over rounds in turn, and how far they differ."""
    rng = np.random.default_rng(0)
    crops = list(rng.integers(256, size=(batch_size, _CROP_SIDE, _CROP_SIDE, 3), dtype=np.uint8))
    detector = load_detector(path, device="cpu")
    eager = copy.deepcopy(detector.model).to(memory_format=torch.contiguous_format)
    images = torch.stack([crop_to_tensor(crop, detector.config.model.preprocessing) for crop in crops])

    def run_eager() -> np.ndarray:
        with torch.no_grad():
            logits: np.ndarray = eager(images).double().numpy()
        return logits

    ways = {
        "crops": lambda: detector.score_crops(crops),
        "network": lambda: detector.batch_logits(images),
        "eager timm": run_eager,
    }
    repeated = {
        name: (lambda way=way: [way() for _ in range(_BATCHES_PER_TURN)]) for name, way in ways.items()
    }
    timings = time_in_turn(repeated, num_rounds=num_rounds)
    num_faces = batch_size * _BATCHES_PER_TURN
    return {
        "faces_per_second": {name: num_faces / timing.median for name, timing in timings.items()},
        "largest_difference": float(np.abs(detector.batch_logits(images) - run_eager()).max()),
    }


if __name__ == "__main__":
    sys.exit(main())
