"""Evaluate a detector on a split of a manifest, or scores from any tool.

    deepfake-detect evaluate --manifest manifest.parquet --out report
    deepfake-detect evaluate --manifest manifest.parquet --predict mine:predict --out report
    deepfake-detect evaluate --scores scores.csv --out report

Writes metrics.json, scores.parquet (one row per frame and face), report.html (self-contained),
report.md, roc.png and config.json, and prints the metrics over frames and videos, overall and per
method, with bootstrap intervals. Evaluated rows that share videos, people or images with another split
of the manifest are an error; videos that the detector was trained or selected on are a warning, shown
in red in the report.

The function for --predict takes a list of crops, RGB uint8 (H, W, 3), and returns one probability of fake per
crop, or logits (if any value is outside 0 to 1).

Scores are a CSV or Parquet file with the columns video_id, dataset, method, label (1 = fake),
frame_index and fake_probability; track_id, identity, compression, reason and columns to slice by are
optional. A video is identified by dataset + method + video_id, plus compression if there is such a column.
Rows without a probability count in the coverage.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.evaluation.options import EvaluationOptions, ResamplingOptions
from deepfake_detect.io.fetch import path_or_url

# The options that --help shows.
_SHOWN = {"split", "where", "threshold", "robustness", "device"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--manifest", type=path_or_url, help="manifest.parquet of an extraction: a path or URL"
    )
    source.add_argument("--scores", type=Path, help="scores from any tool, as CSV or Parquet")
    parser.add_argument(
        "--detector", type=path_or_url, help="detector of any kind (default: the bundled one)"
    )
    parser.add_argument(
        "--predict",
        metavar="MODULE:NAME",
        help="evaluate a Python function, not a detector",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    add_options(parser, EvaluationOptions, shown=_SHOWN)
    add_options(parser, ResamplingOptions, shown=_SHOWN)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.report.evaluate import evaluate
    from deepfake_detect.report.tables import print_evaluation

    keywords = keywords_of(arguments, EvaluationOptions, ResamplingOptions)
    evaluate(**keywords, on_found=print_evaluation, log=note)
    note(f"wrote {arguments.out / 'metrics.json'} and report.html")
    return 0
