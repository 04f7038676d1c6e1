"""A comparison of backbones as records, and as files: CSV, Markdown and a figure."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.io.files import atomic_path
from deepfake_detect.metrics import Interval
from deepfake_detect.plurals import counted
from deepfake_detect.report import page
from deepfake_detect.report.speed import save_speed_figure


@dataclass(frozen=True)
class BackboneRow:
    """One backbone in one finetune mode.

    Attributes:
        backbone, finetune: What was trained.
        weights: Initial weights, ``"random"`` where none were given.
        reason: Why there are no figures; empty where there are, and the rest is then meaningful.
        val_auc: Mean over seeds of the AUC over validation videos, with a 95% bootstrap interval
            over videos.
        test_auc: The same on the test split; ``None`` where it was not measured.
        seed_aucs: Validation AUC of each seed.
        num_val_videos: Videos that the validation AUC is over.
        num_parameters: Of the whole network.
        trained_parameters: How many of them are trained, LoRA's matrices included.
        faces_per_second: Of the network alone; see :func:`backbone_study.measure_speeds`.
        seconds: Of training with validation, mean over seeds.
    """

    backbone: str
    finetune: str
    weights: str
    reason: str = ""
    val_auc: Interval = Interval(float("nan"), float("nan"), float("nan"))
    test_auc: Interval | None = None
    seed_aucs: tuple[float, ...] = ()
    num_val_videos: int = 0
    num_parameters: int = 0
    trained_parameters: int = 0
    faces_per_second: float = 0.0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Backbone and finetune mode."""
        return f"{self.backbone} {self.finetune}"

    @property
    def megabytes(self) -> float:
        """Size of the parameters as float32, in units of 10^6 bytes."""
        return self.num_parameters * 4 / 1e6


@dataclass(frozen=True)
class BackboneComparison:
    """The result of a comparison.

    Attributes:
        rows: Best validation AUC first, then those that failed, in the order of the options.
        num_seeds: Runs of each row.
        has_test: Whether the test split was measured too.
        device: Where faces per second were measured.
    """

    rows: tuple[BackboneRow, ...]
    num_seeds: int
    has_test: bool
    device: str

    @property
    def num_failed(self) -> int:
        """Rows without figures."""
        return sum(bool(row.reason) for row in self.rows)

    @property
    def num_val_videos(self) -> int:
        """Videos that the validation AUC is over."""
        return max(row.num_val_videos for row in self.rows)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows as text, without columns that are empty."""
        rows = [[str(cell) for cell in _cells(row, _TEXTS)] for row in self.rows]
        kept = [n for n, title in enumerate(_header(_TEXTS)) if title == "val AUC" or any(r[n] for r in rows)]
        return [_header(_TEXTS)[n] for n in kept], [[row[n] for n in kept] for row in rows]

    def caption(self) -> str:
        """Return what the figures mean."""
        measured = "was measured on request and does not affect the ranking"
        test = f"The test split {measured if self.has_test else 'was not read'}."
        if self.num_failed == len(self.rows):
            return test
        return (
            f"Ranked by the AUC over {self.num_val_videos:,} validation videos, which also selected each "
            f"run's epoch: expect lower values on new videos. Mean over {counted(self.num_seeds, 'seed')}, "
            f"95% bootstrap interval over videos. {test} Faces per second: the networks alone, float32, "
            f"alternating on the same crops in one process ({self.device}). Training seconds include "
            "validation."
        )


def write_comparison(comparison: BackboneComparison, folder: Path) -> None:
    """Write ``comparison.csv``, ``comparison.md`` and, where something was trained, ``comparison.png``."""
    table = page.markdown_table(*comparison.table())
    page.write_text(
        folder / "comparison.md", f"# Backbones by the same protocol\n\n{table}\n\n{comparison.caption()}\n"
    )
    with (
        atomic_path(folder / "comparison.csv") as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_header(_NUMBERS))
        writer.writerows(_cells(row, _NUMBERS) for row in comparison.rows)
    points = [(row.name, row.faces_per_second, row.val_auc) for row in comparison.rows if not row.reason]
    if points:
        title = f"{len(points)} networks, {comparison.num_val_videos:,} validation videos"
        save_speed_figure(points, folder / "comparison.png", title=title)


# The columns of figures by title; those that name the row stand before them, the reason after them.
_TEXTS: dict[str, Callable[[BackboneRow], str]] = {
    "val AUC": lambda row: row.val_auc.text(),
    "test AUC": lambda row: "" if row.test_auc is None else row.test_auc.text(),
    "per seed": lambda row: " ".join(f"{auc:.3f}" for auc in row.seed_aucs),
    "parameters": lambda row: f"{row.num_parameters:,}",
    "trained": lambda row: f"{row.trained_parameters:,}",
    "MB": lambda row: f"{row.megabytes:.1f}",
    "faces/s": lambda row: f"{row.faces_per_second:.1f}",
    "training s": lambda row: f"{row.seconds:.1f}",
}
_NUMBERS: dict[str, Callable[[BackboneRow], object]] = {
    "val_auc": lambda row: row.val_auc.value,
    "val_auc_low": lambda row: row.val_auc.low,
    "val_auc_high": lambda row: row.val_auc.high,
    "test_auc": lambda row: "" if row.test_auc is None else row.test_auc.value,
    "test_auc_low": lambda row: "" if row.test_auc is None else row.test_auc.low,
    "test_auc_high": lambda row: "" if row.test_auc is None else row.test_auc.high,
    "num_parameters": lambda row: row.num_parameters,
    "trained_parameters": lambda row: row.trained_parameters,
    "megabytes": lambda row: row.megabytes,
    "faces_per_second": lambda row: row.faces_per_second,
    "training_seconds": lambda row: row.seconds,
}


def _header(columns: Mapping[str, object]) -> list[str]:
    return ["backbone", "finetune", "weights", *columns, "failed" if columns is _TEXTS else "reason"]


def _cells(row: BackboneRow, columns: Mapping[str, Callable[[BackboneRow], object]]) -> list[object]:
    figures = ["" if row.reason else figure(row) for figure in columns.values()]
    return [row.backbone, row.finetune, row.weights, *figures, row.reason]
