"""List the supported dataset layouts, with the sources of labels and splits."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--dataset", "--kind", dest="dataset", metavar="NAME", help="show only this layout")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.data.datasets import list_layouts

    for layout in list_layouts(arguments.dataset):
        print(
            f"{layout.name}  {layout.dataset}\n"
            f"  folders  {layout.summary}\n"
            f"  labels   {layout.label_source} (here fake is 1)\n"
            f"  split    {layout.split_source}\n"
            f"  size     {layout.published}\n"
            f"  source   {layout.source}"
        )
    return 0
