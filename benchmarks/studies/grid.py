"""Resumable runs of several variants and seeds, and their means over seeds."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import atomic_path, file_lock, make_folder, read_json, write_json
from deepfake_detect.progress import progress_bar

CONFIDENCE = 0.95
History = list[dict[str, float]]


@dataclass(frozen=True)
class Variant:
    """Options of some of the runs.

    Attributes:
        name: For the table and the figure.
        network: Options of ``create_model``.
        training: Options of the training.
    """

    name: str
    network: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def run_grid(
    out: Path,
    variants: Sequence[Variant],
    num_seeds: int,
    measure: Callable[[Variant, int, Path], History],
    *,
    facts: Mapping[str, Any],
) -> dict[str, list[History]]:
    """Run each variant with each seed, one after another; a finished run is not repeated.

    Args:
        out: Folder of the study; each run writes a JSON file into its subfolder ``runs``.
        variants: Variants with different names.
        num_seeds: Number of seeds, which start at 0.
        measure: Called with variant, seed and a folder for each missing run; returns its history.
        facts: What else the runs depend on; JSON values.

    Returns:
        Name of a variant to its histories, one per seed.

    Raises:
        OptionError: ``num_seeds`` is below 1, or the folder holds runs of other options.
        OutputError: Another process runs a study there.
    """
    if num_seeds < 1:
        raise OptionError("--seeds", f"is {num_seeds}", "must be 1 or more")
    found: dict[str, list[History]] = {variant.name: [] for variant in variants}
    with file_lock(make_folder(out), what="study"), progress_bar() as progress:
        task = progress.add_task("runs", total=num_seeds * len(variants), note="")
        # Seeds in the outer loop: an interrupted study has complete rounds.
        for seed in range(num_seeds):
            for variant in variants:
                progress.update(task, note=f"{variant.name}, seed {seed}")
                found[variant.name].append(_one_run(out, variant, seed, measure, facts))
                progress.advance(task)
    return found


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean over the first axis, and the ends of its 95% interval by Student's t.

    With few seeds the interval of a normal distribution would be far too narrow, and a bootstrap of three
    values has only ten different resamples.

    Args:
        values: (seeds, N); the ends are NaN for a single seed.

    Example:
        >>> mean, low, high = mean_interval(np.array([[1.0], [2.0], [3.0]]))
        >>> round(float(low[0]), 2), float(mean[0]), round(float(high[0]), 2)
        (-0.48, 2.0, 4.48)
    """
    count = len(values)
    mean = values.mean(0)
    if count < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    reach = student_t.ppf((1 + CONFIDENCE) / 2, count - 1) * values.std(0, ddof=1) / np.sqrt(count)
    return mean, mean - reach, mean + reach


def over_seeds(histories: Sequence[History], key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and interval over seeds of one value of each record; see :func:`mean_interval`."""
    return mean_interval(np.array([[line[key] for line in history] for history in histories], float))


def write_table(path: Path, found: Mapping[str, Sequence[History]], *, by: str) -> None:
    """Write mean and interval of every value as CSV: one line per variant and value of ``by``."""
    lines: list[dict[str, Any]] = []
    for name, histories in found.items():
        values = [key for key in histories[0][0] if key != by]
        means = {key: over_seeds(histories, key) for key in values}
        for number, line in enumerate(histories[0]):
            row: dict[str, Any] = {"variant": name, by: line[by], "num_seeds": len(histories)}
            for key, ends in means.items():
                for word, end in zip(("mean", "low", "high"), ends, strict=True):
                    row[f"{key}_{word}"] = "" if np.isnan(end[number]) else f"{end[number]:.6f}"
            lines.append(row)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _one_run(
    out: Path,
    variant: Variant,
    seed: int,
    measure: Callable[[Variant, int, Path], History],
    facts: Mapping[str, Any],
) -> History:
    name = f"{re.sub(r'[^A-Za-z0-9]+', '_', variant.name)}-seed{seed}"
    path = out / "runs" / f"{name}.json"
    options = {**facts, "network": dict(variant.network), "training": dict(variant.training)}
    if path.exists():
        stored = read_json(path)
        if stored["options"] != options:
            raise OptionError(out, f"contains a run with other options ({path.name})", "pass another --out")
        return list(stored["history"])
    history = measure(variant, seed, out / "runs" / name)
    write_json(path, {"options": options, "history": history})
    return history
