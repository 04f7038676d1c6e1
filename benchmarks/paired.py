"""Paired timing: every candidate once a round, in turn, so that all of them see the same machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import cv2
import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one candidate over the rounds, and the other candidates' ratios to it."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def spread(self) -> str:
        """Return the least and the greatest, as text."""
        return f"{min(self.seconds):.3f}-{max(self.seconds):.3f}"

    def times_faster_than(self, other: Timing) -> float:
        """Return the median over rounds of the other's time over this one's."""
        return statistics.median(b / a for a, b in zip(self.seconds, other.seconds, strict=True))


def time_in_turn(candidates: Mapping[str, Callable[[], object]], *, num_rounds: int) -> dict[str, Timing]:
    """Run each candidate once unmeasured, then once a round, in turn and in alternating order."""
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(num_rounds):
        names: Sequence[str] = list(candidates)
        for name in names if number % 2 == 0 else names[::-1]:
            started = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def describe_machine(*packages: str) -> str:
    """Return date, processor, threads and versions in one line."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    threads = f"torch {torch.get_num_threads()}, OpenCV {cv2.getNumThreads()}"
    return (
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {device}; threads: {threads}; "
        f"Python {platform.python_version()}, {versions}"
    )
