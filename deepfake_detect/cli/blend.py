"""Make a fake from each real crop of a manifest; write reals and fakes with a manifest and a contact sheet.

sbi blends a face into itself after a slight change, cross another person's face into it. A fake keeps
the split of its real. Faces are detected in crops without landmarks; crops without a face are skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.forgery.blends import BlendOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add files and options."""
    parser.add_argument(
        "--manifest", type=Path, required=True, metavar="PATH", help="manifest.parquet with real crops"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the crops, the manifest and the sheet",
    )
    add_options(parser, BlendOptions)


def run(arguments: argparse.Namespace) -> int:
    """Blend crops."""
    from deepfake_detect.forgery import blend_crops

    print(blend_crops(arguments.manifest, arguments.out, options_of(BlendOptions, arguments)).summary())
    return 0
