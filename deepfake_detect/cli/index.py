"""List a dataset's videos, as its owners ship them, in a Parquet file with a row per video.

The rows have labels (1 = fake), methods, identities, paths and splits; the layout is recognized
from the tree. Videos of the dataset that are not in ROOT are listed in a CSV beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.listing import add_reading_arguments, print_listing, print_splits, read_listing
from deepfake_detect.data.index import IndexOrigin, write_index
from deepfake_detect.errors import OptionError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", type=Path, help="the dataset as downloaded, or a CSV file")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    add_reading_arguments(parser, kind_flags=["--kind"])


def run(arguments: argparse.Namespace) -> int:
    if arguments.out.resolve() == arguments.root.resolve():
        raise OptionError("--out", f"{arguments.out} is what is to be read", "choose another file")
    kind, listing, assignment = read_listing(arguments)
    origin = IndexOrigin(
        kinds=(kind,),
        roots=(str(arguments.root.absolute()),),
        split_policy=arguments.split,
        split_seed=arguments.split_seed,
        splits_sha256=assignment.sha256,
    )
    index = write_index(arguments.out, assignment.videos, origin=origin)
    print_listing(listing, arguments.out.with_suffix(".missing.csv"))
    print_splits(assignment)
    print(f"wrote {index.num_rows:,} videos to {arguments.out}")
    return 0
