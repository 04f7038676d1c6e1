"""Train several backbones by one protocol, and rank them.

    deepfake-detect compare-backbones --manifest manifest.parquet --out study \\
        --backbones small_cnn mobilenetv2_100 --weights mobilenetv2_100=weights.safetensors \\
        --regimes features full --epochs 3

Every backbone is trained under every regime by the loop of train, whose other options stand here
too. The epoch is selected on the split val, and the rows are ranked by its AUC over videos; the split
test is read with --test alone. Each run has a folder of its own: a study that was stopped goes on
when started again with the same options. Leaves comparison.csv, comparison.md and comparison.png.
What cannot be built or trained is a row with the reason, and the exit code is then 2.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.cli.leaks import add_row_arguments
from deepfake_detect.errors import OptionError
from deepfake_detect.training.config import TrainingConfig, config_from
from deepfake_detect.training.finetune import FINETUNE_MODES

if TYPE_CHECKING:
    from deepfake_detect.training.backbone_study import BackboneComparison, BackboneRow

# What the study itself chooses, what has no meaning over many runs, and what is no text.
_OWN = {
    *("manifest", "out", "backbone", "finetune", "weights", "where", "allow_leak", "name", "version"),
    *("temporal", "clip_frames", "sanity", "tensorboard", "save_epochs"),
}
_HEADER = (
    *("backbone", "finetune", "weights", "val AUC", "test AUC", "per seed", "parameters", "trained"),
    *("MB", "faces/s", "training s", "failed"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=Path, required=True, help="with the splits train and val")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--backbones", nargs="+", required=True, metavar="NAME", help="as of train")
    parser.add_argument(
        "--regimes",
        nargs="+",
        default=["features", "top", "full"],
        metavar="REGIME",
        help=f"of {', '.join(FINETUNE_MODES)}, also joined by + (default features top full)",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="pretrained weights of a backbone, a path or a published name (default: random)",
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs of each (default 1)")
    parser.add_argument("--test", action="store_true", help="measure the split test too; it orders nothing")
    add_row_arguments(parser, where="condition that rows fulfil", allow_leak="train although the splits leak")
    parser.add_argument("--no-sanity", dest="sanity", action="store_false", help="start without the gates")
    options = parser.add_argument_group("options of train, the same for all")
    for one in fields(TrainingConfig):
        if one.name not in _OWN:
            # As text: the configuration checks it, as it does what stands in a file.
            shown = "its own" if one.default is None else str(one.default) or "none"
            options.add_argument(
                f"--{one.name.replace('_', '-')}",
                metavar="VALUE",
                help=f"(default {shown})",
            )


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.io.files import file_lock, make_folder
    from deepfake_detect.training.backbone_study import compare_backbones

    with file_lock(make_folder(arguments.out), what="study"):
        comparison = compare_backbones(
            _template(arguments),
            arguments.backbones,
            arguments.regimes,
            weights=_weights(arguments.weights),
            num_seeds=arguments.seeds,
            has_test=arguments.test,
            say=print,
        )
        _write(arguments.out, comparison)
    _print(comparison)
    print(_sentence(comparison))
    print(f"wrote {arguments.out / 'comparison.csv'}, comparison.md and comparison.png")
    for row in comparison.rows:
        if row.reason:
            print(f"error: {row.name}: {row.reason}", file=sys.stderr)
    return 2 if comparison.num_failed else 0


def _template(arguments: argparse.Namespace) -> TrainingConfig:
    values = vars(arguments)
    given = {
        one.name: values[one.name]
        for one in fields(TrainingConfig)
        if one.name not in _OWN and values[one.name] is not None
    }
    given |= {name: values[name] for name in ("manifest", "out", "where", "allow_leak", "sanity")}
    # The backbone of the template is replaced in every run.
    return config_from({"backbone": arguments.backbones[0], **given}, source="the command")


def _weights(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise OptionError("--weights", f"{word!r} names no backbone", "write NAME=PATH")
        if name in found:
            raise OptionError("--weights", f"names {name} twice", "name one file for each backbone")
        found[name] = path
    return found


def _cells(row: BackboneRow) -> list[str]:
    """Return a row of the table as text, in the order of the header."""
    first = [row.backbone, row.finetune, row.weights]
    if row.reason:
        return [*first, *[""] * (len(_HEADER) - len(first) - 1), row.reason]
    return [
        *first,
        row.val_auc.text(),
        "" if row.test_auc is None else row.test_auc.text(),
        " ".join(f"{area:.3f}" for area in row.seed_aucs),
        f"{row.num_parameters:,}",
        f"{row.trained_parameters:,}",
        f"{row.megabytes:.1f}",
        f"{row.faces_per_second:.1f}",
        f"{row.seconds:.1f}",
        "",
    ]


def _shown(comparison: BackboneComparison) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table without columns that hold nothing."""
    rows = [_cells(row) for row in comparison.rows]
    kept = [number for number in range(len(_HEADER)) if number < 4 or any(row[number] for row in rows)]
    return [_HEADER[number] for number in kept], [[row[number] for number in kept] for row in rows]


def _sentence(comparison: BackboneComparison) -> str:
    test = (
        "The test split was measured because it was asked for; it orders nothing."
        if comparison.has_test
        else "The test split was not read."
    )
    if comparison.num_failed == len(comparison.rows):
        return test
    return (
        f"Ranked by the AUC over {comparison.num_val_videos:,} validation videos, which also selected each "
        f"run's epoch: new videos will do worse. Mean over {comparison.num_seeds} seed(s), 95 % bootstrap "
        f"interval over videos. {test} Faces a second: the networks alone, float32, in turn on the same "
        f"crops in one process ({comparison.device}). Seconds of training count validation."
    )


def _write(out: Path, comparison: BackboneComparison) -> None:
    from deepfake_detect.lab.study_figures import save_speed_figure
    from deepfake_detect.report import page

    header, rows = _shown(comparison)
    table = page.markdown_table(header, rows)
    page.write_text(
        out / "comparison.md", f"# Backbones by one protocol\n\n{table}\n\n{_sentence(comparison)}\n"
    )
    _write_csv(out / "comparison.csv", comparison.rows)
    points = [(row.name, row.faces_per_second, row.val_auc) for row in comparison.rows if not row.reason]
    if points:
        title = f"{len(points)} networks, {comparison.num_val_videos:,} validation videos"
        save_speed_figure(points, out / "comparison.png", title=title)


def _write_csv(path: Path, rows: Sequence[BackboneRow]) -> None:
    from deepfake_detect.io.files import atomic_path

    header = (
        *("backbone", "finetune", "weights", "val_auc", "val_auc_low", "val_auc_high"),
        *("test_auc", "test_auc_low", "test_auc_high", "num_parameters", "trained_parameters"),
        *("megabytes", "faces_per_second", "training_seconds", "reason"),
    )
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            first = [row.backbone, row.finetune, row.weights]
            if row.reason:
                writer.writerow([*first, *[""] * (len(header) - len(first) - 1), row.reason])
                continue
            test = row.test_auc
            areas = [row.val_auc.value, row.val_auc.low, row.val_auc.high]
            areas_of_test = ["", "", ""] if test is None else [test.value, test.low, test.high]
            sizes = [row.num_parameters, row.trained_parameters, row.megabytes]
            writer.writerow([*first, *areas, *areas_of_test, *sizes, row.faces_per_second, row.seconds, ""])


def _print(comparison: BackboneComparison) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    header, rows = _shown(comparison)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    for number, word in enumerate(header):
        table.add_column(word, justify="right" if number >= 3 and word != "failed" else "left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))  # square brackets are markup to rich
    Console(highlight=False, width=160).print(table)
