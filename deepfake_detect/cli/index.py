"""List a dataset's videos in a Parquet file with one row per video.

Rows have labels (1 = fake), methods, identities, paths and splits; the layout is detected from the folders.
Videos of the dataset that are not in ROOT are listed in a CSV next to the index.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.data.options import ReadingOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("root", type=Path, help="folder of the dataset as downloaded, or a CSV file")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    add_options(parser, ReadingOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.data.datasets import index_dataset

    print("\n".join(index_dataset(**keywords_of(arguments, ReadingOptions)).lines()))
    return 0
