"""Bootstrap intervals of every metric, beside a loop that copies the frames of each resampled video.

    python benchmarks/bench_metrics.py [--videos 3125] [--frames 32] [--draws 1000] [--rounds 3] [--json FILE]

The loop stands for how it is done with scikit-learn's functions: draw videos, gather their frames,
call a metric on them. It measures four of the metrics where ours measures all, and so few draws
that it ends; its time is scaled to all draws. Both see the same draws, and their numbers are compared.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from benchmarks.measuring import add_json_option, record, time_in_turn  # noqa: E402
from deepfake_detect.metrics import METRIC_NAMES, resample_groups, resampled_metrics  # noqa: E402

_LOOP_DRAWS = 10
_LOOP_METRICS = {
    "auc": roc_auc_score,
    "average_precision": average_precision_score,
    "log_loss": lambda labels, scores: log_loss(labels, np.clip(scores, 1e-7, 1 - 1e-7)),
    "brier": brier_score_loss,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("videos", 3125), ("frames", 32), ("draws", 1000), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    add_json_option(parser, "metrics")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    videos = np.repeat(np.arange(arguments.videos), arguments.frames)
    labels = videos % 2
    scores = 1 / (1 + np.exp(-generator.normal(1.5 * labels - 0.7, 1)))
    resample_counts = resample_groups(arguments.videos, num_resamples=arguments.draws, seed=0)

    timings = time_in_turn(
        {
            "ours": lambda: resampled_metrics(labels, scores, videos, resample_counts, threshold=0.5),
            "loop": lambda: loop(labels, scores, videos, resample_counts[:_LOOP_DRAWS]),
        },
        num_rounds=arguments.rounds,
    )
    _, ours = resampled_metrics(labels, scores, videos, resample_counts[:_LOOP_DRAWS], threshold=0.5)
    columns = [METRIC_NAMES.index(name) for name in _LOOP_METRICS]
    difference = np.abs(ours[:, columns] - loop(labels, scores, videos, resample_counts[:_LOOP_DRAWS])).max()
    figures = {
        "ours": timings["ours"].rounded(),
        "loop": timings["loop"].rounded(),
        "loop_draws": _LOOP_DRAWS,
        "num_metrics": len(METRIC_NAMES),
        "num_loop_metrics": len(columns),
        "largest_difference": float(difference),
    }
    record("metrics", arguments, figures, packages=("numpy", "scikit-learn"))
    return 0


def loop(
    labels: np.ndarray, scores: np.ndarray, videos: np.ndarray, resample_counts: np.ndarray
) -> np.ndarray:
    """Return the metrics of each draw (D, M), one copy of the drawn frames at a time."""
    of_video = np.split(np.arange(len(videos)), np.flatnonzero(np.diff(videos)) + 1)
    found = []
    for draw in resample_counts:
        rows = np.concatenate([of_video[n] for n in np.repeat(np.arange(len(draw)), draw)])
        found.append([metric(labels[rows], scores[rows]) for metric in _LOOP_METRICS.values()])
    return np.array(found)


if __name__ == "__main__":
    sys.exit(main())
