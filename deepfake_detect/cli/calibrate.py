"""Fit a detector's calibration, threshold and uncertain band on a validation split.

    deepfake-detect calibrate --detector detector.safetensors --manifest manifest.parquet
    deepfake-detect calibrate ... --method platt --max-fpr 0.01

Writes them into the detector file, with the ids of the videos that were used. Prints the validation AUC of
each aggregation rule; --choose-aggregation selects the best one. The test split is only for evaluation.
"""

from __future__ import annotations

import argparse

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.evaluation.options import CalibrationOptions
from deepfake_detect.io.fetch import path_or_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--detector", type=path_or_url, required=True, help="detector.safetensors to rewrite")
    parser.add_argument(
        "--manifest", type=path_or_url, required=True, help="manifest.parquet of an extraction: a path or URL"
    )
    parser.add_argument("--split", default="val", metavar="NAME", help="rows to fit on (default val)")
    parser.add_argument("--where", metavar="EXPR", help="SQL condition on the rows (default: all rows)")
    add_options(parser, CalibrationOptions)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.evaluation.calibrate import aggregation_lines, calibrate

    keywords = keywords_of(arguments, CalibrationOptions)
    config = calibrate(**keywords)
    print("\n".join(aggregation_lines(config)))
    print(
        f"{keywords['method']}, temperature {config.temperature:.3f}, threshold {config.threshold:.4f}, "
        f"uncertain from {config.uncertain_low:.3f} to {config.uncertain_high:.3f}, "
        f"aggregation {config.aggregation_rule}"
    )
    note(f"wrote {arguments.detector}")
    return 0
