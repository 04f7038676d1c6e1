"""Results of benchmarks, and the words of their figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Result = Mapping[str, Any]


def result_path(name: str) -> Path:
    """Return where the result of a benchmark is."""
    return ROOT / "benchmarks" / "results" / f"{name}.json"


def read_result(name: str) -> Any:
    """Return a result, or None if the benchmark was not run."""
    path = result_path(name)
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Return the median, with the least and the greatest in brackets."""
    found = sorted(values)
    median = f"{statistics.median(found):,.{digits}f}"
    if len(found) == 1:
        return median
    return f"{median} ({found[0]:,.{digits}f}-{found[-1]:,.{digits}f})"


def ratio(rival: Sequence[float], own: Sequence[float]) -> float:
    """Return the median over rounds of the rival's seconds over one's own."""
    return statistics.median(b / a for a, b in zip(own, rival, strict=True))
