"""Merge, filter and sample manifests of crops, or indexes of videos, into one file.

Expressions are SQL conditions on the columns, such as "method == 'Deepfakes' and split == 'test'" or
"native_size >= 100"; text is in single quotes. The crops are not moved.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.data.options import MergeOptions
from deepfake_detect.plurals import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="FILE", help="manifests, or indexes")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    add_options(parser, MergeOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.data.merge import merge_manifests
    from deepfake_detect.data.rows import count_groups

    rows = merge_manifests(**keywords_of(arguments, MergeOptions))
    print("\n".join(count_groups(rows)))
    note(f"wrote {arguments.out} ({counted(rows.num_rows, 'row')})")
    return 0
