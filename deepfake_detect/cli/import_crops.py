"""Take in published face crops (images or tars with a CSV of name, label, split) as a manifest."""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.data.crop_lists import CropListOptions, import_crop_list
from deepfake_detect.errors import OptionError
from deepfake_detect.records import CropGeometry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", type=Path, help="folder with the CSV and the images or tars")
    parser.add_argument("--out", type=Path, required=True, help="folder for the crops and manifest.parquet")
    parser.add_argument("--dataset", required=True, help="name of the dataset, such as DFDC")
    parser.add_argument(
        "--margin",
        type=float,
        required=True,
        help="side of the crops over the longer side of an MTCNN face box",
    )
    parser.add_argument(
        "--rename-split",
        nargs="*",
        default=[],
        metavar="OLD=NEW",
        help="published split names to rename, such as val=test",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=0.0,
        help="share of the identities of train to set apart as val (default 0)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of that choice (default 0)")
    parser.add_argument(
        "--in-place", action="store_true", help="leave the crops in their tars or folder, copy nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    renames = dict(_parse_rename(text) for text in arguments.rename_split)
    options = CropListOptions(
        dataset=arguments.dataset,
        geometry=CropGeometry(margin=arguments.margin),
        split_names=renames,
        val_fraction=arguments.val_fraction,
        seed=arguments.seed,
        in_place=arguments.in_place,
    )
    manifest = import_crop_list(arguments.root, arguments.out, options)
    counts = manifest.query("select split, label, count(*) as n from rows group by all order by all")
    for row in counts.to_pylist():
        print(f"{row['split']:>6}  {'fake' if row['label'] else 'real'}  {row['n']} crops")
    print(f"wrote {manifest.root / 'manifest.parquet'}")
    return 0


def _parse_rename(text: str) -> tuple[str, str]:
    old, separator, new = text.partition("=")
    if not (old and separator and new):
        raise OptionError("--rename-split", f"got {text!r}", "write OLD=NEW")
    return old, new
