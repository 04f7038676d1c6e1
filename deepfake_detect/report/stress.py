"""Files and table of a stress test on whole clips."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from deepfake_detect.evaluation.stress import DamageResult, Stress
from deepfake_detect.io.files import write_json
from deepfake_detect.io.tables import write_csv
from deepfake_detect.plurals import counted
from deepfake_detect.report import page
from deepfake_detect.report.drawing import COLORS, figure_url, new_figure, plot_intervals, save_png
from deepfake_detect.report.terminal import Column, print_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RATES = ("auc", "change", "fpr", "tpr")
_COUNTS = ("num_videos_real", "num_videos_fake", "num_without_face", "num_failed", "frames_with_face")
_HEADER = (
    "damage",
    "AUC",
    "change of AUC",
    "FPR",
    "TPR",
    "real + fake videos",
    "without a face",
    "failed",
    "frames with a face",
)


def write_stress(folder: Path, found: Stress) -> None:
    """Write ``stress.json``, ``stress.csv``, ``stress.html`` and ``stress.png``.

    Args:
        folder: Exists.
        found: Finished numbers.
    """
    write_json(folder / "stress.json", found.to_json())
    bounds = [f"{name}{bound}" for name in _RATES for bound in ("", "_low", "_high")]
    write_csv(folder / "stress.csv", ["damage", *_COUNTS, *bounds], map(_csv_row, _results(found)))
    figure = stress_figure(found)
    save_png(figure, folder / "stress.png")
    html = page.render(
        "stress.html.j2",
        title=f"{found.detector} on damaged clips",
        sentence=_sentence(found),
        figure=figure_url(figure),
        header=_HEADER,
        rows=[_row(one) for one in _results(found)],
    )
    page.write_text(folder / "stress.html", html)


def stress_figure(found: Stress) -> Figure:
    """Plot AUC and its change for each damage, with intervals."""
    names = [one.damage for one in _results(found)]
    figure = new_figure(9.6, 1.2 + 0.34 * len(names))
    areas, changes = figure.subplots(1, 2, sharey=True)
    plot_intervals(areas, names, [one.auc for one in _results(found)], color=COLORS[0])
    areas.set_title("AUC (clips)", loc="left", fontsize=10, weight="bold")
    areas.axvline(0.5, color="#7F7F7F", linestyle=":", linewidth=1)
    plot_intervals(changes, names, [one.change for one in _results(found)], color=COLORS[1])
    changes.set_title("change of AUC, same clips", loc="left", fontsize=10, weight="bold")
    changes.axvline(0.0, color="#7F7F7F", linestyle=":", linewidth=1)
    return figure


def print_stress(found: Stress, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Print AUC, its change, and lost faces of each damage.

    Args:
        found: Finished numbers.
        file: Where to print; standard output when ``None``.
        width: In characters; that of the terminal when ``None``.
    """
    headers = ("Damage", "AUC\n[low, high]", "Change\n[low, high]", "Without\na face", "Frames\nwith face")
    rows = [_row(one) for one in _results(found)]
    columns = [Column(name, "number" if number else "id") for number, name in enumerate(headers)]
    shown = [[*row[:3], row[6], row[8]] for row in rows]
    print_table("", columns, shown, caption=_sentence(found), file=file, width=width)


def _results(found: Stress) -> list[DamageResult]:
    return [found.clean, *found.damages]


def _row(one: DamageResult) -> list[str]:
    fraction = "n/a" if math.isnan(one.frames_with_face) else f"{one.frames_with_face:.1%}"
    return [
        one.damage,
        *(getattr(one, name).text() for name in _RATES),
        f"{one.num_videos_real:,} + {one.num_videos_fake:,}",
        f"{one.num_without_face:,}",
        f"{one.num_failed:,}",
        fraction,
    ]


def _csv_row(one: DamageResult) -> list[object]:
    rates = [getattr(one, name) for name in _RATES]
    bounds = [number for rate in rates for number in (rate.value, rate.low, rate.high)]
    numbers = [*(getattr(one, name) for name in _COUNTS), *bounds]
    return [one.damage, *("" if math.isnan(number) else number for number in numbers)]


def _sentence(found: Stress) -> str:
    notes = "".join(f" {note}." for note in found.notes)
    return (
        f"{found.detector}, {counted(found.num_frames, 'frame')} of each clip, threshold "
        f"{found.threshold:.4g}. Clips are damaged before face detection. A change is that of the clips with "
        f"a face before and after; 95% intervals from {found.num_resamples:,} paired bootstrap resamples, "
        f"seed {found.seed}.{notes}"
    )
