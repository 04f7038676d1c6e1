"""Merge, filter and sample manifests of crops, or indexes of videos, into one file.

Expressions are SQL conditions over the columns, such as
"method == 'Deepfakes' and split == 'test'" or "native_size >= 100"; text stands in single quotes.
The crops stay where they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.data.index import read_rows
from deepfake_detect.data.merge import merge_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", type=Path, metavar="FILE", help="manifests, or indexes")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--where", metavar="EXPR", help="condition that rows fulfil (default: all rows)")
    parser.add_argument("--sample", type=int, metavar="N", help="videos drawn by lot, with all their rows")
    parser.add_argument(
        "--per", nargs="+", default=[], metavar="COLUMN", help="draw N videos of each value of these columns"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the lots (default 0)")


def run(arguments: argparse.Namespace) -> int:
    inputs = [read_rows(path) for path in arguments.inputs]
    if arguments.where is not None:
        inputs = [one.where(arguments.where) for one in inputs]
    rows = merge_rows(inputs, arguments.out, sample=arguments.sample, per=arguments.per, seed=arguments.seed)
    counts = rows.query(
        "select dataset, method, split, label, count(distinct video_id) as videos, count(*) as num_rows "
        "from rows group by all order by all"
    )
    for row in counts.to_pylist():
        kind = "fake" if row["label"] else "real"
        print(
            f"{row['dataset']} {row['method']} {row['split'] or 'no split'} {kind}: "
            f"{row['videos']:,} videos, {row['num_rows']:,} rows"
        )
    print(f"wrote {rows.num_rows:,} rows to {arguments.out}")
    return 0
