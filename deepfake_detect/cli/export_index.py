"""Write an index of videos or a manifest of crops in the format of another tool.

The format deepfakebench writes DeepfakeBench's JSON lists: frames by dataset, label, split, compression and
video. The command index reads them back with the same rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.data.options import IndexExportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("index", type=Path, help="index of videos, or manifest of crops (Parquet)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for one <dataset>.json per dataset, or one .json file for all",
    )
    add_options(parser, IndexExportOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.data.exported import export_index

    print("\n".join(export_index(**keywords_of(arguments, IndexExportOptions)).lines()))
    return 0
