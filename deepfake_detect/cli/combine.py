"""Learn to fuse several detectors into one probability, from their scores on validation videos.

    deepfake-detect evaluate --detector A --manifest M --split val --out val_a     # and B into val_b
    deepfake-detect combine val_a val_b --out fusion.json
    deepfake-detect score-video clip.mp4 --detector A --detector B --fusion fusion.json

Takes folders that evaluate wrote, or files of scores (CSV or Parquet); scores of a test split are an
error. Prints each detector's AUC and weight, and the cross-validated AUC of the fused probability.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.notes import note
from deepfake_detect.evaluation.options import CalibrationOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "scores", type=Path, nargs="+", metavar="SCORES", help="scores of the same videos, one per detector"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument(
        "--target-accuracy",
        type=float,
        default=CalibrationOptions.target_accuracy,
        help="accuracy of the verdicts outside the uncertain band (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the folds (default 0)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.evaluation.combine import combine
    from deepfake_detect.report.tables import print_fusion

    print_fusion(combine(**vars(arguments)))
    note(f"wrote {arguments.out}")
    return 0
