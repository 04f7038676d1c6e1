"""A comparison of backbones as records, and as files: CSV, Markdown and a figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.io.files import atomic_path
from deepfake_detect.metrics import Interval
from deepfake_detect.report import page
from deepfake_detect.report.speed import save_speed_figure

_HEADER = (
    *("backbone", "finetune", "weights", "val AUC", "test AUC", "per seed", "parameters", "trained"),
    *("MB", "faces/s", "training s", "failed"),
)
_CSV_HEADER = (
    *("backbone", "finetune", "weights", "val_auc", "val_auc_low", "val_auc_high"),
    *("test_auc", "test_auc_low", "test_auc_high", "num_parameters", "trained_parameters"),
    *("megabytes", "faces_per_second", "training_seconds", "reason"),
)
_NUM_NAMES = 3  # columns that name the row


@dataclass(frozen=True)
class BackboneRow:
    """One backbone in one finetune mode.

    Attributes:
        backbone, finetune: What was trained.
        weights: Initial weights, ``"random"`` where none were given.
        reason: Why there are no figures; empty where there are, and the rest is then meaningful.
        val_auc: Mean over seeds of the AUC over validation videos, with a 95 % bootstrap interval
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
        rows = [_cells(row) for row in self.rows]
        kept = [n for n in range(len(_HEADER)) if n <= _NUM_NAMES or any(row[n] for row in rows)]
        return [_HEADER[n] for n in kept], [[row[n] for n in kept] for row in rows]

    def caption(self) -> str:
        """Return what the figures mean."""
        test = (
            "The test split was measured on request and does not affect the ranking."
            if self.has_test
            else "The test split was not read."
        )
        if self.num_failed == len(self.rows):
            return test
        return (
            f"Ranked by the AUC over {self.num_val_videos:,} validation videos, which also selected each "
            f"run's epoch: expect less on new videos. Mean over {self.num_seeds} seed(s), 95 % bootstrap "
            f"interval over videos. {test} Faces per second: the networks alone, float32, alternating on "
            f"the same crops in one process ({self.device}). Training seconds include validation."
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
        writer.writerow(_CSV_HEADER)
        writer.writerows(_csv_cells(row) for row in comparison.rows)
    points = [(row.name, row.faces_per_second, row.val_auc) for row in comparison.rows if not row.reason]
    if points:
        title = f"{len(points)} networks, {comparison.num_val_videos:,} validation videos"
        save_speed_figure(points, folder / "comparison.png", title=title)


def _cells(row: BackboneRow) -> list[str]:
    names = [row.backbone, row.finetune, row.weights]
    if row.reason:
        return [*names, *[""] * (len(_HEADER) - _NUM_NAMES - 1), row.reason]
    return [
        *names,
        row.val_auc.text(),
        "" if row.test_auc is None else row.test_auc.text(),
        " ".join(f"{auc:.3f}" for auc in row.seed_aucs),
        f"{row.num_parameters:,}",
        f"{row.trained_parameters:,}",
        f"{row.megabytes:.1f}",
        f"{row.faces_per_second:.1f}",
        f"{row.seconds:.1f}",
        "",
    ]


def _csv_cells(row: BackboneRow) -> Sequence[object]:
    names = [row.backbone, row.finetune, row.weights]
    if row.reason:
        return [*names, *[""] * (len(_CSV_HEADER) - _NUM_NAMES - 1), row.reason]
    val, test = row.val_auc, row.test_auc
    of_test = ["", "", ""] if test is None else [test.value, test.low, test.high]
    sizes = [row.num_parameters, row.trained_parameters, row.megabytes]
    return [*names, val.value, val.low, val.high, *of_test, *sizes, row.faces_per_second, row.seconds, ""]
