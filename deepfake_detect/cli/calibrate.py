"""Fit a detector's probabilities, threshold and band of "uncertain" on a validation split.

    deepfake-detect calibrate --detector detector.safetensors --manifest manifest.parquet
    deepfake-detect calibrate ... --method platt --max-fpr 0.01

Writes them into the detector file, with the videos it was fitted on, and prints what each rule from
faces to a video is worth on them; --choose-aggregation takes the best one. The test split is refused:
it is for measuring alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detector", type=Path, required=True, help="detector.safetensors, rewritten")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.parquet of an extraction")
    parser.add_argument("--split", default="val", help="rows to fit on (default val)")
    parser.add_argument("--where", metavar="EXPR", help="condition that rows fulfil (default: all rows)")
    parser.add_argument(
        "--method",
        default="temperature",
        help="from logits to probabilities: temperature, platt or isotonic (default temperature)",
    )
    parser.add_argument(
        "--max-fpr",
        type=float,
        help="threshold that calls at most this share of reals fake (default: highest balanced accuracy)",
    )
    parser.add_argument(
        "--target-accuracy",
        type=float,
        default=0.95,
        help="share of right verdicts outside the band called uncertain (default 0.95)",
    )
    parser.add_argument(
        "--choose-aggregation", action="store_true", help="take the rule of highest validation AUC"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.evaluation.calibrate import (
        CalibrationOptions,
        aggregation_lines,
        calibrate_detector,
    )

    options = CalibrationOptions(
        arguments.method, arguments.max_fpr, arguments.target_accuracy, arguments.choose_aggregation
    )
    config = calibrate_detector(
        arguments.detector,
        arguments.manifest,
        split=arguments.split,
        where=arguments.where,
        device=arguments.device,
        options=options,
    )
    print("\n".join(aggregation_lines(config)))
    print(
        f"{arguments.method}, temperature {config.temperature:.3f}, threshold {config.threshold:.4f}, "
        f"uncertain from {config.uncertain_low:.3f} to {config.uncertain_high:.3f}, "
        f"aggregation {config.aggregation_rule}"
    )
    print(f"wrote {arguments.detector}")
    return 0
