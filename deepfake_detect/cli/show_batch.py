"""Write crops of a manifest as training would see them, as one picture to look at.

Each row of the sheet is one crop: as it is stored, then augmented anew each time. With --forgery the
rows are reals, and after the stored crop come pairs of it and of a fake made of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from deepfake_detect.data.transforms import AUGMENTATIONS
from deepfake_detect.forgery.blends import parse_blends


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.parquet of an extraction")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--augmentation", choices=AUGMENTATIONS, default="strong", help="(default strong)")
    parser.add_argument("--forgery", help="fakes to make of reals: sbi, cross or sbi+cross (default none)")
    parser.add_argument("--split", default="train", help="(default train)")
    parser.add_argument("--where", metavar="EXPR", help="condition that rows fulfil (default: all rows)")
    parser.add_argument("--crops", type=int, default=8, help="half of them real (default 8)")
    parser.add_argument("--times", type=int, default=7, help="each is augmented (default 7)")
    parser.add_argument("--image-size", type=int, default=224, help="in pixels (default 224)")
    parser.add_argument("--seed", type=int, default=0, help="of crops and augmentation (default 0)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.data.augmented import augmented_sheet
    from deepfake_detect.data.manifest import read_manifest
    from deepfake_detect.data.sheets import save_image

    rows = read_manifest(arguments.manifest)
    rows = (rows if arguments.where is None else rows.where(arguments.where)).split(arguments.split)
    options: dict[str, Any] = {
        "augmentation": arguments.augmentation,
        "image_size": arguments.image_size,
        "num_crops": arguments.crops,
        "num_times": arguments.times,
        "seed": arguments.seed,
    }
    if arguments.forgery:
        from deepfake_detect.forgery.sheet import blended_sheet

        sheet = blended_sheet(rows, parse_blends(arguments.forgery), **options)
    else:
        sheet = augmented_sheet(rows, **options)
    save_image(arguments.out, sheet)
    print(f"wrote {arguments.out}, {sheet.shape[1]} x {sheet.shape[0]} pixels")
    return 0
