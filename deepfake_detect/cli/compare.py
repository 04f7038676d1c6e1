"""Compare detectors on the videos that all of them scored.

    deepfake-detect compare report_a report_b other_tool.csv --out comparison

Takes folders that evaluate wrote, or files of scores (CSV or Parquet). Writes compare.json,
compare.png, compare.html and compare.md: the metrics of each detector and, for each pair, the
differences with paired bootstrap intervals over videos and DeLong's test of the AUC. Warns if there are few
common videos, if aggregation rules differ, and about videos that a detector was trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.evaluation.options import ComparisonOptions, ResamplingOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "scores", type=Path, nargs="+", metavar="SCORES", help="folders of evaluations, or files of scores"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    add_options(parser, ComparisonOptions)
    add_options(parser, ResamplingOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.report.compare import markdown_comparison
    from deepfake_detect.report.evaluate import compare

    comparison = compare(**keywords_of(arguments, ComparisonOptions, ResamplingOptions))
    print(markdown_comparison(comparison))
    note(f"wrote {arguments.out / 'compare.json'} and compare.html")
    return 0
