"""Copy a manifest's crops into numbered tar shards, with a new manifest.

The crops are unchanged, byte for byte. The new manifest is used like any other, and WebDataset reads
the shards. Running the command again resumes an interrupted run. The exit code is 2 if crops could not be
read; they are skipped and listed in unreadable.csv.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.data.options import PackOptions
from deepfake_detect.plurals import counted

_MAX_NAMED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("manifest", type=Path, help="manifest.parquet, or its folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for shards and manifest")
    add_options(parser, PackOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.data.pack import pack_manifest

    report = pack_manifest(**keywords_of(arguments, PackOptions))
    print(
        f"{counted(report.manifest.num_rows, 'crop')} in {counted(report.num_shards, 'shard')}, "
        f"{len(report.unreadable):,} unreadable"
    )
    note(f"wrote {report.manifest.path}")
    for path in report.unreadable[:_MAX_NAMED]:
        print(f"error: {path}: cannot be read; left out", file=sys.stderr)
    if len(report.unreadable) > _MAX_NAMED:
        print(f"... all are in {report.manifest.root / 'unreadable.csv'}", file=sys.stderr)
    return 2 if report.unreadable else 0
