"""List backbones with parameters, size, input size, and names and licenses of their weights.

Without --filter: those of this library, and one or two of each of timm's families. Any other name
of timm can be trained too; --filter finds it.
"""

from __future__ import annotations

import argparse

_WIDEST = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filter", metavar="TEXT", help="all backbones whose name contains TEXT")


def run(arguments: argparse.Namespace) -> int:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from deepfake_detect.models.catalog import NAMED_BACKBONES, describe_backbone, find_backbones

    names = NAMED_BACKBONES if arguments.filter is None else find_backbones(arguments.filter)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("Backbone", "Parameters", "MB", "Input", "Weights", "License of weights"):
        is_number = header in ("Parameters", "MB", "Input")
        table.add_column(header, justify="right" if is_number else "left", no_wrap=True)
    for name in names:
        facts = describe_backbone(name)
        weights, licenses = zip(*facts.weights, strict=True) if facts.weights else (("none",), ("",))
        table.add_row(
            name,
            f"{facts.num_parameters:,}",
            f"{facts.megabytes:.1f}",
            f"{facts.input_size}",
            *(Text("\n".join(lines)) for lines in (weights, licenses)),
        )
    console = Console(highlight=False)
    # Names are to be copied whole, also where the terminal is narrow or there is none.
    unlimited = console.options.update(max_width=_WIDEST)
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)
    return 0
