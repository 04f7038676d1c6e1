"""List the dataset layouts that can be read, with where labels and splits come from."""

from __future__ import annotations

import argparse

from deepfake_detect.data.layouts import LAYOUTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=list(LAYOUTS), metavar="KIND", help="this one only")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for layout in LAYOUTS.values():
        if arguments.kind not in (None, layout.kind):
            continue
        console.print(f"[bold]{layout.kind}[/]  {layout.dataset}")
        facts = Table.grid(padding=(0, 2))
        for name, text in (
            ("folders", layout.summary),
            ("labels", f"{layout.label_source} (fake is 1 here)"),
            ("split", layout.split_source),
            ("size", layout.published),
        ):
            facts.add_row("", name, Text(text))
        console.print(facts)
    return 0
