"""Self-blended images of a batch at once, beside the same one image after another.

    python benchmarks/bench_self_blend.py [--batch 32] [--side 224] [--threads 2] [--rounds 9] [--json]

Both make the same kind of picture of the same portrait, at places that differ from image to image.
On a machine with a GPU the batch is also made there. The statistics of the two are compared over
some hundred draws.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from markers import markdown_table
from paired import describe_machine, time_in_turn
from skimage import data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from deepfake_detect.device import keep_freed_memory  # noqa: E402
from deepfake_detect.forgery import blend_batch, find_landmarks, self_blend  # noqa: E402

_PORTRAIT = (slice(34, 200), slice(142, 308))  # the face, its box widened 1.5 times
_NUM_DRAWS = 320
# One turn is so many batches, so that the threads of the way before, which wait awake for a while for
# more work, are at rest for most of it.
_BATCHES_PER_TURN = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("batch", 32), ("side", 224), ("threads", 2), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the tables")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    keep_freed_memory()  # as training does
    crops, landmarks = portraits(arguments.batch, arguments.side)
    milliseconds = measure(crops, landmarks, num_rounds=arguments.rounds)
    agreement = compare(crops, landmarks)
    if arguments.json:
        print(json.dumps({"ms_per_image": milliseconds, "statistics": agreement}, indent=2))
        return 0
    print(describe_machine("torch", "numpy", "opencv-python-headless", "albumentations"))
    one = milliseconds["one by one"]
    rows = [(name, f"{value:.2f}", f"{one / value:.1f}x") for name, value in milliseconds.items()]
    print(markdown_table(("way", "ms per image", "times as fast"), rows))
    rows = [
        (name, f"{values['one by one']:.4f}", f"{values['batch']:.4f}") for name, values in agreement.items()
    ]
    print(markdown_table((f"mean over {_NUM_DRAWS} draws", "one by one", "batch"), rows))
    return 0


def portraits(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a face at slightly different places: RGB uint8 (N, H, W, 3) and landmarks (N, 5, 2)."""
    crop = cv2.resize(data.astronaut()[_PORTRAIT], (side, side), interpolation=cv2.INTER_LINEAR)
    found = next(find_landmarks([crop], device="cpu"))
    assert found is not None, "the portrait has a face"
    shifts = np.random.default_rng(0).uniform(-0.03, 0.03, (count, 2)) * side
    moves = [np.array([(1.0, 0, x), (0, 1.0, y)]) for x, y in shifts]
    crops = [cv2.warpAffine(crop, move, (side, side), borderMode=cv2.BORDER_REFLECT_101) for move in moves]
    return np.stack(crops), found + shifts[:, None]


def measure(crops: np.ndarray, landmarks: np.ndarray, *, num_rounds: int) -> dict[str, float]:
    """Return milliseconds per image of each way, the median over rounds taken in turn."""
    ways: dict[str, Callable[[], object]] = {
        "one by one": lambda: [
            self_blend(crop, points, rng=number)
            for number, (crop, points) in enumerate(zip(crops, landmarks, strict=True))
        ]
    }
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        ways[f"batch on {device}"] = batch_maker(crops, landmarks, device)
    timings = time_in_turn({name: _often(way) for name, way in ways.items()}, num_rounds=num_rounds)
    num_images = len(crops) * _BATCHES_PER_TURN
    return {name: timing.median / num_images * 1000 for name, timing in timings.items()}


def _often(way: Callable[[], object]) -> Callable[[], object]:
    def repeat() -> None:
        for _ in range(_BATCHES_PER_TURN):
            way()

    return repeat


def batch_maker(crops: np.ndarray, landmarks: np.ndarray, device: str) -> Callable[[], object]:
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous().to(device)
    generator = torch.Generator(device).manual_seed(0)

    def make() -> torch.Tensor:
        blended = blend_batch(images, landmarks, generator=generator).blended
        if device == "cuda":
            torch.cuda.synchronize()
        return blended

    return make


def compare(crops: np.ndarray, landmarks: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the mean of each statistic for both ways."""
    singles, batched = [], []
    for number in range(_NUM_DRAWS):
        crop = crops[number % len(crops)]
        singles.append(statistics(crop, *self_blend(crop, landmarks[number % len(crops)], rng=number)))
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
    generator = torch.Generator().manual_seed(0)
    while len(batched) < _NUM_DRAWS:
        made = blend_batch(images, landmarks, generator=generator)
        blended = made.blended.permute(0, 2, 3, 1).numpy()
        batched += map(statistics, crops, blended, made.masks.numpy())
    means = {"one by one": np.mean(singles, axis=0), "batch": np.mean(batched[:_NUM_DRAWS], axis=0)}
    return {name: {way: float(means[way][n]) for way in means} for n, name in enumerate(_STATISTICS)}


_STATISTICS = ("mask area", "mask mean", "mask's steepest edge", "change inside", "change outside", "tint")


def statistics(real: np.ndarray, blended: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
    """Return ``_STATISTICS``: shares, shares a pixel, and gray levels of 255."""
    change, share = blended.astype(float) - real, mask / mask.max()
    return (
        float((share > 0.05).mean()),
        float(mask.mean()),
        float(np.hypot(*np.gradient(share)).max()),
        float(np.abs(change)[share > 0.5].mean()),
        float(np.abs(change)[mask == 0].mean()),
        float(change[share > 0.9].mean(0).std()),
    )


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"{time.perf_counter() - started:.0f} s in all", file=sys.stderr)
    sys.exit(code)
