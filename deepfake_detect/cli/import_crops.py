"""Import published face crops (images or tars with a CSV of name, label, split) as a manifest."""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.data.options import CropImportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("root", type=Path, help="folder with the CSV and the images or tars")
    parser.add_argument("--out", type=Path, required=True, help="folder for the crops and manifest.parquet")
    add_options(parser, CropImportOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.data.crop_lists import import_crops
    from deepfake_detect.data.rows import count_groups

    manifest = import_crops(**keywords_of(arguments, CropImportOptions))
    print("\n".join(count_groups(manifest)))
    note(f"wrote {manifest.path}")
    return 0
