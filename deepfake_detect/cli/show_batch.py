"""Write a PNG that shows crops of a manifest as training sees them.

Each row of the sheet is one crop: unchanged, then augmented several times. With --forgery the rows are
reals, and the unchanged crop is followed by pairs of the real and a fake made from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.data.options import BatchSheetOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.parquet of an extraction")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    add_options(parser, BatchSheetOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.forgery.batch_sheet import save_batch_sheet

    sheet = save_batch_sheet(**keywords_of(arguments, BatchSheetOptions))
    note(f"wrote {arguments.out}, {sheet.shape[1]} x {sheet.shape[0]} pixels")
    return 0
