"""Make a fake of each real crop of a manifest, and write both with a manifest and a sheet of some.

sbi blends a face into itself after a slight change, cross another person's face into it. A fake keeps
the split of its real. Crops without landmarks are searched for a face; those without one are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.data.manifest import ALL_SPLITS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.parquet with real crops")
    parser.add_argument("--out", type=Path, required=True, help="folder for crops, manifest and sheet")
    parser.add_argument("--method", default="sbi", help="sbi, cross or sbi+cross (default sbi)")
    parser.add_argument("--split", default=ALL_SPLITS, help=f"(default {ALL_SPLITS})")
    parser.add_argument("--where", metavar="EXPR", help="condition that rows fulfil (default: all rows)")
    parser.add_argument("--seed", type=int, default=0, help="of the blends (default 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.data.manifest import read_manifest
    from deepfake_detect.errors import OptionError
    from deepfake_detect.forgery.blend_set import SHEET_NAME, write_blends
    from deepfake_detect.forgery.blends import parse_blends

    words = parse_blends(arguments.method)
    if arguments.seed < 0:
        raise OptionError("seed", f"is {arguments.seed}", "pass 0 or more")
    rows = read_manifest(arguments.manifest)
    rows = (rows if arguments.where is None else rows.where(arguments.where)).split(arguments.split)
    num_reals = rows.where("label = 0").num_rows
    made = write_blends(rows, arguments.out, words, seed=arguments.seed, device=arguments.device)
    num_made = made.num_rows // 2
    left_out = f"{num_reals - num_made:,} left out (no face that can be blended)"
    print(f"{num_made:,} fakes of {num_reals:,} reals, {left_out}")
    print(f"wrote {made.path} and {arguments.out / SHEET_NAME}")
    return 0
