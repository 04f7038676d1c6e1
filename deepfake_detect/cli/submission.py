"""Predict the images of the FaceForensics++ benchmark and write the zip that its server takes.

The detector's threshold decides between fake and real. The benchmark has no third class, so an image
without a face, or one that cannot be read, is called real.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.notes import note
from deepfake_detect.io.fetch import path_or_url
from deepfake_detect.plurals import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--images", type=Path, required=True, help="folder of the benchmark's PNG files")
    parser.add_argument("--out", type=Path, required=True, help="zip to write")
    parser.add_argument(
        "--detector", type=path_or_url, help="detector of any kind (default: the bundled one)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.scoring.submission import write_submission

    found = write_submission(**vars(arguments))
    print(
        f"{counted(found.num_images, 'image')}, {found.num_fake:,} called fake, {found.num_without_face:,} "
        f"without a face and so called real"
    )
    note(f"wrote {arguments.out}")
    return 0
