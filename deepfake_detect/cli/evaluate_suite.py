"""Evaluate a detector on several test sets with one threshold.

    deepfake-detect evaluate-suite suite.yaml --out suite

A suite file lists the sets, with options of evaluate for all sets or for one:

    detector: run/detector.safetensors
    threshold_from: val_report
    slice_by: [gender]
    sets:
      FF++: {manifest: ffpp/manifest.parquet}
      Celeb-DF: {manifest: celebdf/manifest.parquet, where: "method != 'x'"}
      other tool: {scores: scores.csv}

Paths are relative to the file. Writes suite.json, suite.csv, suite.html and suite.png, and a folder per set
as evaluate does; a set that is already in --out is not evaluated again. The exit code is 2 if a set could
not be evaluated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.notes import note


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("suite", type=Path, metavar="SUITE", help="YAML file that lists the test sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.report.suite import evaluate_suite, print_suite

    suite = evaluate_suite(arguments.suite, out=arguments.out)
    print_suite(suite)
    note(f"wrote {arguments.out / 'suite.json'}, suite.csv and suite.html")
    return 2 if suite.failed else 0
