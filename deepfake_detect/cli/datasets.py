"""List the dataset layouts that can be read, with where labels and splits come from."""

from __future__ import annotations

import argparse

from deepfake_detect.data.layouts import LAYOUTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=list(LAYOUTS), metavar="KIND", help="this one only")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "dataset", "folders", "labels (1 = fake here)", "official split", "published size")
    table.show_lines = True
    for layout in LAYOUTS.values():
        if arguments.kind in (None, layout.kind):
            table.add_row(
                layout.kind,
                layout.dataset,
                layout.summary,
                layout.label_source,
                layout.split_source,
                layout.published,
            )
    Console().print(table, markup=False)
    return 0
