"""Show what a detector is: data, figures with intervals, known failures, use and misuse.

The bundled detector has a model card; of another, the card lists what its file says about itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detector", type=Path, metavar="PATH", help="detector file (default: the bundled one)"
    )
    parser.add_argument("--plain", action="store_true", help="print the Markdown text")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect import read_card

    text = read_card(arguments.detector)
    if arguments.plain or not sys.stdout.isatty():
        print(text)
        return 0
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
    return 0
