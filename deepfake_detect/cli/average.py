"""Average the weights of detectors that were fine-tuned from the same weights.

The average of such detectors is often as good as the best of them and more stable on new data. It is not
calibrated: run `calibrate` on it, then `evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.notes import note
from deepfake_detect.io.fetch import path_or_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("detectors", type=path_or_url, nargs="+", help="detector files of the same network")
    parser.add_argument("--out", type=Path, required=True, help="detector file to write")
    parser.add_argument(
        "--mixing-weights",
        type=float,
        nargs="+",
        help="weight of each detector; must sum to 1 (default: equal weights)",
    )
    parser.add_argument("--name", help="name of the new detector (default: the first one's)")
    parser.add_argument(
        "--detector-version", dest="version", help="version of the new detector (default: the first one's)"
    )


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect import average_detectors

    average_detectors(**vars(arguments))
    note(f"wrote {arguments.out}: the mean of {len(arguments.detectors)} detectors, not calibrated yet")
    return 0
