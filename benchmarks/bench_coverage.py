"""How often the 95% intervals of every metric hold the true value, in small sets, by simulation.

    python benchmarks/bench_coverage.py [--videos 20 50 200] [--sets 1000] [--resamples 300]

Scores of a video are those of two normal distributions: separation 1.8 is an AUC of .90, separation 3.3
one of .99. The probability is the true one of two classes of equal size, or an overconfident one (its
logit times 1.7), which changes log loss, Brier score and ECE alone. In sets of people, a third of the
variance is the person's, in reals and fakes alike, and whole people are resampled. The true value is that
of two million videos.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from benchmarks.measuring import add_json_option, record  # noqa: E402
from deepfake_detect.metrics import (  # noqa: E402
    METRIC_NAMES,
    count_groups,
    intervals_of,
    resample_groups,
    resampled_metrics,
)

_LARGE = 1_000_000
_CALIBRATED_ECE = 0.002  # chance alone, in two million samples; it is 0
_OF_PERSON = 1 / 3  # of the variance


@dataclass(frozen=True)
class Case:
    """A detector and a test set: separation of the classes, temperature error, fraction of fakes, people."""

    separation: float
    sharpness: float = 1.0
    fakes: float = 0.5
    videos_per_person: int = 1

    def labels(self, size: int) -> np.ndarray:
        num_fakes = round(size * self.fakes)
        return np.repeat([0, 1], [size - num_fakes, num_fakes])

    def people(self, size: int) -> np.ndarray:
        return np.arange(size) % max(1, size // self.videos_per_person)

    def scores(self, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        noise = generator.normal(size=len(labels))
        if self.videos_per_person > 1:
            of_person = generator.normal(size=len(labels))[self.people(len(labels))]
            noise = np.sqrt(_OF_PERSON) * of_person + np.sqrt(1 - _OF_PERSON) * noise
        evidence = noise + labels * self.separation - self.separation / 2
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
    "80% fakes": Case(1.8, fakes=0.8),
    "5 videos a person": Case(1.8, videos_per_person=5),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[20, 50, 200])
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    add_json_option(parser, "coverage")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"cases": {}}
    for name in arguments.cases:
        case = CASES[name]
        truth = case.truth()
        found["cases"][name] = {str(n): coverage(case, truth, n, arguments) for n in arguments.videos}
        print(f"{name}: {found['cases'][name]}", flush=True)
    record("coverage", arguments, found, packages=("numpy", "scipy"))
    return 0


def coverage(
    case: Case, truth: np.ndarray, size: int, arguments: argparse.Namespace
) -> dict[str, dict[str, float | None]]:
    """Return by metric: how often its interval and plain percentiles hold the truth, how often each is none.

    ``covered`` is over the sets with an interval, ``too_few`` the fraction without; ``flat`` the fraction of
    percentile intervals of no width, such as [1.000, 1.000].
    """
    found = np.array([*measured(case, truth, size, arguments)])  # (sets, metrics, 4)
    is_given = found[..., 0] == 1
    held = (found[..., 1] * is_given).sum(0) / np.maximum(is_given.sum(0), 1)
    return {
        name: {
            "covered": round(float(held[column]), 4) if is_given[:, column].any() else None,
            "too_few": round(1 - float(is_given[:, column].mean()), 4),
            "percentile": round(float(found[:, column, 2].mean()), 4),
            "flat": round(float(found[:, column, 3].mean()), 4),
        }
        for column, name in enumerate(METRIC_NAMES)
    }


def measured(
    case: Case, truth: np.ndarray, size: int, arguments: argparse.Namespace
) -> Iterator[list[tuple[bool, bool, bool, bool]]]:
    """Yield for each set and metric: is there an interval, does it and do the percentiles hold the truth,
    are the percentiles of no width.
    """
    labels, generator, people = case.labels(size), np.random.default_rng(size), case.people(size)
    if case.videos_per_person == 1:
        people = np.arange(size)
    counts_of = count_groups(labels, people)
    for number in range(arguments.sets):
        counts = resample_groups(people.max() + 1, num_resamples=arguments.resamples, seed=number)
        values, resampled = resampled_metrics(
            labels, case.scores(labels, generator), people, counts, threshold=0.5
        )
        ours = intervals_of(values, resampled, counts_of).values()
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
        yield [
            (not np.isnan(one.low), one.low <= true <= one.high, least <= true <= most, least == most)
            for one, true, least, most in zip(ours, truth, low, high, strict=True)
        ]


if __name__ == "__main__":
    sys.exit(main())
