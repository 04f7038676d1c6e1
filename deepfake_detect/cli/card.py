"""Show a detector's card: data, figures with intervals, known failures, intended use.

The bundled detector has a complete model card. For other detectors, the card lists the metadata of the file.
"""

from __future__ import annotations

import argparse

from deepfake_detect.io.fetch import path_or_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detector", type=path_or_url, metavar="PATH", help="detector file (default: the bundled one)"
    )
    parser.add_argument("--plain", action="store_true", help="print the Markdown text")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect import read_card
    from deepfake_detect.report.terminal import print_markdown

    text = read_card(arguments.detector)
    if arguments.plain:
        print(text)
    else:
        print_markdown(text)
    return 0
