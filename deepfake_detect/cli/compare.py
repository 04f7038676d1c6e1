"""Put several detectors side by side on the videos that all of them scored.

    deepfake-detect compare report_a report_b other_tool.csv --out comparison

Takes folders that evaluate left, or files of scores (CSV or Parquet). Leaves compare.json,
compare.png, compare.html and compare.md: each detector's metrics, and for every two of them the
differences with paired bootstrap intervals over videos and DeLong's test of the AUC. Warns where the
common videos are few of somebody's, where rules from faces to videos differ, and of measured videos
that a detector was trained on.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from deepfake_detect.cli.evaluate import add_bootstrap_arguments
from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import make_folder

_DEFAULT_THRESHOLD = 0.5
_DEFAULT_RULE = "mean"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scores", type=Path, nargs="+", help="evaluation folders or files of scores")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the detectors (default: of the paths)")
    parser.add_argument(
        "--aggregation", metavar="RULE", help="faces to video, of all (default: each one's own, else mean)"
    )
    add_bootstrap_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.evaluation.compare import NamedScores, compare_scores
    from deepfake_detect.evaluation.score_files import read_scores
    from deepfake_detect.report.compare import write_comparison

    make_folder(arguments.out)
    names = _names(arguments)
    detectors = []
    for name, path in zip(names, arguments.scores, strict=True):
        file = read_scores(path)
        rule = arguments.aggregation or file.facts.get("aggregation_rule", _DEFAULT_RULE)
        weights = file.facts.get("aggregation_weights", ())
        threshold = file.facts.get("threshold", _DEFAULT_THRESHOLD)
        seen = file.facts.get("seen", ())
        detectors.append(NamedScores(name, file.table, threshold, rule, weights, file.coverage, seen))
    comparison = compare_scores(
        detectors, num_resamples=arguments.bootstrap_draws, seed=arguments.seed, resample=arguments.resample
    )
    for note in comparison.notes:
        warnings.warn(note, stacklevel=2)
    write_comparison(arguments.out, comparison)
    print((arguments.out / "compare.md").read_text("utf-8"))
    print(f"wrote {arguments.out / 'compare.json'} and compare.html")
    return 0


def _names(arguments: argparse.Namespace) -> list[str]:
    """Return the names asked for, else those of folders and files, with the whole path where they meet."""
    if arguments.names is None:
        names = [path.stem for path in arguments.scores]
        return names if len(set(names)) == len(names) else [str(path) for path in arguments.scores]
    if len(arguments.names) != len(arguments.scores):
        raise OptionError(
            "--names", f"gives {len(arguments.names)} for {len(arguments.scores)} detectors", "name each one"
        )
    return list(arguments.names)
