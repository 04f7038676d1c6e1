"""Detectors side by side on a validation split: plain and damaged crops, and reals of other sources.

    python benchmarks/ablation.py NAME=detector.safetensors ... --manifest FILE --dataset NAME [--split val]
        [--allow-test] [--mirrored] [--precision bf16] [--num-draws 1000] [--json FILE]

AUC is that of crops of the dataset named, with a bootstrap interval over videos; the damages are those
of ``evaluate --robustness``. Rows of other datasets, reals alone, tell how many are called fake at the
threshold at which the dataset's reals and fakes are mistaken equally often, so that calibration plays
no part. What is chosen by this table must be chosen on validation: the test split is refused without
--allow-test.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.markers import markdown_table  # noqa: E402
from deepfake_detect.data.crops import read_crop  # noqa: E402
from deepfake_detect.data.manifest import Manifest, read_manifest  # noqa: E402
from deepfake_detect.errors import DeepfakeDetectError, OptionError  # noqa: E402
from deepfake_detect.evaluation.corruptions import Corrupted  # noqa: E402
from deepfake_detect.io.files import write_json  # noqa: E402
from deepfake_detect.metrics.bootstrap import bootstrap_intervals  # noqa: E402
from deepfake_detect.progress import progress_bar  # noqa: E402
from deepfake_detect.records import FAKE, INFERENCE_PRECISIONS  # noqa: E402
from deepfake_detect.scoring import Detector, load_detector  # noqa: E402

_DAMAGES = {
    "plain": None,
    "JPEG 40": Corrupted("jpeg", 40),
    "blur sigma 2": Corrupted("blur", 2),
    "half the side": Corrupted("downscale", 0.5),
}
_BATCH = 64
Judge = Callable[[Sequence[np.ndarray]], np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("detectors", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--dataset", required=True, help="whose reals are told from its fakes")
    parser.add_argument("--split", default="val")
    parser.add_argument("--allow-test", action="store_true", help="measure on the test split")
    parser.add_argument(
        "--mirrored", action="store_true", help="take the mean of the logits of a crop and its mirror image"
    )
    parser.add_argument("--precision", choices=INFERENCE_PRECISIONS, default="fp32")
    parser.add_argument("--num-draws", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        return _run(options)
    except DeepfakeDetectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    if options.split == "test" and not options.allow_test:
        raise OptionError("--split", "is test, which selects nothing", "pass val, or --allow-test")
    named = [part.partition("=") for part in options.detectors]
    if not all(path for _, _, path in named):
        raise OptionError("detectors", "lack a name", "write NAME=FILE")
    rows = read_manifest(options.manifest).split(options.split)
    found = {}
    for name, _, path in named:
        detector = load_detector(path, precision=options.precision)
        judge = partial(mirrored, detector) if options.mirrored else detector.score_crops
        found[name] = measure(judge, rows, options.dataset, num_resamples=options.num_draws)
    header = ["detector", *(f"AUC, {name}" for name in _DAMAGES), "other reals called fake"]
    print(markdown_table(header, [[name, *cells(figures)] for name, figures in found.items()]))
    if options.json is not None:
        write_json(options.json, found)
    return 0


def mirrored(detector: Detector, crops: Sequence[np.ndarray]) -> np.ndarray:
    """Return a probability a crop, from the mean of its logit and its mirror image's."""
    logits = (detector.logits(crops) + detector.logits([crop[:, ::-1] for crop in crops])) / 2
    return detector.probabilities(logits)


def measure(judge: Judge, rows: Manifest, dataset: str, *, num_resamples: int) -> dict[str, list[float]]:
    """Return AUC, low and high for each damage, and the share of other reals called fake with their number.

    Args:
        judge: From crops to the probabilities that are measured.
        rows: One crop a video.
        dataset: Whose rows of both classes are told apart; other rows are reals.
        num_resamples: Of the bootstrap.

    Raises:
        OptionError: The dataset lacks a class, or other datasets have fakes.
    """
    columns = rows.columns(["path", "label", "dataset"])
    labels = columns["label"].to_numpy()
    is_own = np.array([name == dataset for name in columns["dataset"].to_pylist()])
    if len(set(labels[is_own])) < 2 or (labels[~is_own] == FAKE).any():
        raise OptionError(
            "--dataset", f"{dataset} has one class, or others have fakes", "choose by --manifest"
        )
    paths = [rows.root / path for path in columns["path"].to_pylist()]
    figures: dict[str, list[float]] = {}
    for name, damage in _DAMAGES.items():
        chosen = paths if damage is None else [path for path, own in zip(paths, is_own, strict=True) if own]
        scores = _scores(judge, chosen, damage, name)
        own_scores = scores[is_own] if damage is None else scores
        own = labels[is_own]
        auc = bootstrap_intervals(
            own, own_scores, np.arange(len(own)), threshold=0.5, num_resamples=num_resamples
        )["auc"]
        figures[name] = [auc.value, auc.low, auc.high]
        if damage is None:
            called = scores[~is_own] > equal_error_threshold(own, own_scores)
            figures["others"] = [float(called.mean()) if len(called) else float("nan"), len(called)]
    return figures


def _scores(judge: Judge, paths: Sequence[Path], damage: Corrupted | None, note: str) -> np.ndarray:
    parts = []
    with progress_bar() as progress:
        task = progress.add_task("judging", total=len(paths), note=note)
        for first in range(0, len(paths), _BATCH):
            crops = [read_crop(path) for path in paths[first : first + _BATCH]]
            parts.append(judge(crops if damage is None else [damage(crop) for crop in crops]))
            progress.advance(task, len(crops))
    return np.concatenate(parts)


def equal_error_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the score above which as large a share of reals lies as of fakes does not."""
    candidates = np.unique(scores)
    reals, fakes = np.sort(scores[labels != FAKE]), np.sort(scores[labels == FAKE])
    false_alarms = 1 - np.searchsorted(reals, candidates, side="right") / len(reals)
    misses = np.searchsorted(fakes, candidates, side="right") / len(fakes)
    return float(candidates[np.argmin(np.abs(false_alarms - misses))])


def cells(figures: dict[str, list[float]]) -> list[str]:
    """Return a detector's figures as a table's cells."""
    aucs = ["{:.3f} [{:.3f}, {:.3f}]".format(*figures[name]) for name in _DAMAGES]
    share, count = figures["others"]
    return [*aucs, f"{share:.1%} of {count:,.0f}"]


if __name__ == "__main__":
    sys.exit(main())
