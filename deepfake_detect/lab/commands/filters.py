"""Plot the first-layer filters of networks, or the activations of a layer for an image.

Several networks are shown side by side, such as the first and the last epoch of a run; train and
train-classifier save epochs with --save-epochs:

    deepfake-detect lab filters --classifier RUN --epochs 0,12 --out filters.png
    deepfake-detect lab filters --detector RUN --epochs 0,6 --out filters.png

Each filter is scaled by its largest weight: mid gray is 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.lab.options import FilterOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the networks and what to show of them."""
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="figure to write")
    add_options(parser, FilterOptions)


def run(arguments: argparse.Namespace) -> int:
    """Draw the figure."""
    options = options_of(FilterOptions, arguments)
    from deepfake_detect.lab.filters import draw_filters

    print(draw_filters(arguments.out, options))
    return 0
