"""List backbones with parameters, size, input size, and names and licenses of their weights.

Without --filter it lists the backbones of this library and of plug-ins, and one or two of each timm family.
You can use any other timm model too; --filter finds its name.
"""

from __future__ import annotations

import argparse

_WIDTH = 500  # names are copied: they are never broken, however narrow the terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--filter", dest="containing", metavar="TEXT", help="all backbones whose name contains TEXT"
    )


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect import list_backbones
    from deepfake_detect.report.terminal import Column, print_table

    columns: list[Column | str] = [Column("Backbone", "id"), "Parameters", "MB", "Input"]
    rows = []
    for facts in list_backbones(arguments.containing):
        weights = facts.weights or (("none", ""),)
        figures = (facts.name, f"{facts.num_parameters:,}", f"{facts.megabytes:.1f}", f"{facts.input_size}")
        rows += [(*figures, *weights[0]), *(("", "", "", "", *one) for one in weights[1:])]
    columns += [Column("Weights", "id"), Column("License of weights", "id")]
    print_table("", columns, rows, width=_WIDTH)
    return 0
