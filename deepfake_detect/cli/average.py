"""Average the weights of detectors that were fine-tuned from the same ones.

The mean of such detectors is often as good as the best of them, and steadier on what is new. It comes
uncalibrated: run `calibrate` on it, and measure it with `evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("detectors", type=Path, nargs="+", help="detector files of one network")
    parser.add_argument("--out", type=Path, required=True, help="detector file to write")
    parser.add_argument(
        "--shares", type=float, nargs="+", help="of each in the mean, summing up to 1 (default: all the same)"
    )
    parser.add_argument("--name", help="of the new detector (default: the first one's)")
    parser.add_argument("--detector-version", help="of the new detector (default: the first one's)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.models.average import average_detectors
    from deepfake_detect.models.checkpoint import save_detector

    model, config = average_detectors(
        arguments.detectors,
        arguments.shares,
        name=arguments.name,
        version=arguments.detector_version,
    )
    save_detector(arguments.out, model, config)
    print(f"wrote {arguments.out}: the mean of {len(arguments.detectors)} detectors, not calibrated yet")
    return 0
