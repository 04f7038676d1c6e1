"""Copy a manifest's crops into numbered tar shards, with a manifest beside them.

The crops stay as they are, byte for byte; train and evaluate take the new manifest as any other, and
WebDataset reads the shards. Running it again goes on where a killed run stopped. Exit code 2 when
crops could not be read: they are left out and listed in unreadable.csv.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.pack import DEFAULT_SHARD_MB, pack_manifest

_MAX_NAMED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, help="manifest.parquet, or the folder it is in")
    parser.add_argument("--out", type=Path, required=True, help="folder for shards and manifest")
    parser.add_argument(
        "--shard-mb",
        type=float,
        default=DEFAULT_SHARD_MB,
        help=f"size of a shard in MB (default {DEFAULT_SHARD_MB})",
    )


def run(arguments: argparse.Namespace) -> int:
    report = pack_manifest(read_manifest(arguments.manifest), arguments.out, shard_mb=arguments.shard_mb)
    print(
        f"{report.manifest.num_rows:,} crops in {report.num_shards:,} shards, {len(report.unreadable):,} "
        f"unreadable; manifest in {arguments.out / 'manifest.parquet'}"
    )
    for path in report.unreadable[:_MAX_NAMED]:
        print(f"error: {path}: cannot be read; left out", file=sys.stderr)
    if len(report.unreadable) > _MAX_NAMED:
        print(f"... all are in {arguments.out / 'unreadable.csv'}", file=sys.stderr)
    return 2 if report.unreadable else 0
