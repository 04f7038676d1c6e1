"""How often the 95 % intervals of every metric hold the true value, in small sets, by simulation.

    python benchmarks/bench_coverage.py [--videos 20 50 200] [--sets 500] [--draws 400]

Scores of a video are those of two normal distributions: separation 1.8 is an AUC of .90, separation 3.3
one of .99. The probability is the true one of two classes of equal size, or an overconfident one (its
logit times 1.7), which changes log loss, Brier score and ECE alone. The true value is that of two million
videos. A cell is the fraction of sets whose interval holds it, for ours and for plain percentiles of the
same resamples; (n) is the percentage of sets with too few videos for an interval, in which nothing is
claimed; [n] that of percentile intervals of no width, such as [1.000, 1.000].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from deepfake_detect.metrics import (  # noqa: E402
    METRIC_NAMES,
    count_groups,
    intervals_of,
    resample_groups,
    resampled_metrics,
)

_LARGE = 1_000_000
_CALIBRATED_ECE = 0.002  # chance alone, in two million samples; it is 0


@dataclass(frozen=True)
class Case:
    """A detector and a test set: separation of the classes, temperature error, fraction of fakes."""

    separation: float
    sharpness: float = 1.0
    fakes: float = 0.5

    def labels(self, size: int) -> np.ndarray:
        num_fakes = round(size * self.fakes)
        return np.repeat([0, 1], [size - num_fakes, num_fakes])

    def scores(self, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        evidence = generator.normal(labels * self.separation, 1.0) - self.separation / 2
        return 1 / (1 + np.exp(-self.sharpness * self.separation * evidence))

    def truth(self) -> np.ndarray:
        labels = self.labels(2 * _LARGE)
        scores, whole = self.scores(labels, np.random.default_rng(9)), np.zeros(len(labels), np.int64)
        values, _ = resampled_metrics(labels, scores, whole, np.ones((1, 1), np.uint8), threshold=0.5)
        ece = METRIC_NAMES.index("ece")
        values[ece] = 0.0 if values[ece] < _CALIBRATED_ECE else values[ece]
        return values


CASES = {
    "AUC .90": Case(1.8),
    "overconfident": Case(1.8, sharpness=1.7),
    "AUC .99": Case(3.3),
    "80 % fakes": Case(1.8, fakes=0.8),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[20, 50, 200])
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--draws", type=int, default=400)
    arguments = parser.parse_args()
    for name, case in CASES.items():
        print(f"\n{name}\n| metric | true | " + " | ".join(f"{n} videos" for n in arguments.videos) + " |")
        print("|---|---|" + "---|" * len(arguments.videos))
        truth = case.truth()
        columns = [cells(case, truth, size, arguments) for size in arguments.videos]
        for row in zip(METRIC_NAMES, (f"{one:.3f}" for one in truth), *columns, strict=True):
            print("| " + " | ".join(row) + " |", flush=True)
    return 0


def cells(case: Case, truth: np.ndarray, size: int, arguments: argparse.Namespace) -> list[str]:
    """Return the coverage of each metric in sets of a size, in words."""
    found = np.array([*measured(case, truth, size, arguments)])  # (sets, metrics, 4)
    is_given = found[..., 0] == 1
    held = (found[..., 1] * is_given).sum(0) / np.maximum(is_given.sum(0), 1)
    missing = 100 * (1 - is_given.mean(0))
    words = []
    for column in range(len(METRIC_NAMES)):
        ours = "too few" if missing[column] == 100 else f"{held[column]:.3f}"
        ours += f" ({missing[column]:.0f})" if 0 < missing[column] < 100 else ""
        flat = 100 * found[:, column, 3].mean()
        words.append(f"{ours}; {found[:, column, 2].mean():.3f}" + (f" [{flat:.0f}]" if flat >= 0.5 else ""))
    return words


def measured(
    case: Case, truth: np.ndarray, size: int, arguments: argparse.Namespace
) -> Iterator[list[tuple[bool, bool, bool, bool]]]:
    """Yield for each set and metric: is there an interval, does it and do the percentiles hold the truth,
    are the percentiles of no width.
    """
    labels, generator, groups = case.labels(size), np.random.default_rng(size), np.arange(size)
    for number in range(arguments.sets):
        counts = resample_groups(size, num_resamples=arguments.draws, seed=number)
        values, resampled = resampled_metrics(
            labels, case.scores(labels, generator), groups, counts, threshold=0.5
        )
        ours = intervals_of(values, resampled, count_groups(labels, groups)).values()
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
        yield [
            (not np.isnan(one.low), one.low <= true <= one.high, least <= true <= most, least == most)
            for one, true, least, most in zip(ours, truth, low, high, strict=True)
        ]


if __name__ == "__main__":
    sys.exit(main())
