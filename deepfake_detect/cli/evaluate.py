"""Measure a detector on a split of a manifest.

Leaves metrics.json, config.json and roc.png in the output folder and prints the table: AUC,
accuracy, equal error rate and log loss, over frames and over videos, overall and per method,
with bootstrap intervals that resample videos. Rows that share videos, people or pictures with
another split of the manifest, all of it, are refused; a warning tells of videos that the detector
was trained or selected on.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from deepfake_detect.cli.leaks import add_row_arguments
from deepfake_detect.errors import OptionError
from deepfake_detect.files import make_folder, sha256_of_file, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detector", type=Path, help="detector.safetensors (default: the bundled one)")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.parquet of an extraction")
    parser.add_argument("--split", default="test", help="rows to measure on, or all (default test)")
    add_row_arguments(
        parser,
        where="condition that measured rows fulfil",
        allow_leak="measure although other splits of the manifest leak into the measured rows",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--aggregation", metavar="RULE", help="(default: the detector's own)")
    parser.add_argument("--bootstrap-draws", type=int, default=1000, help="(default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    parser.add_argument("--num-workers", type=int, help="processes that read crops (default: cores)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from deepfake_detect.data.manifest import read_manifest
    from deepfake_detect.evaluation import evaluate_scores, format_table
    from deepfake_detect.evaluation.predict import score_held_out
    from deepfake_detect.report.roc import save_roc_figure
    from deepfake_detect.scoring import load_detector

    if arguments.num_workers is not None and arguments.num_workers < 0:
        raise OptionError("num_workers", f"is {arguments.num_workers}", "pass 0 or more")
    make_folder(arguments.out)  # refused before the work, not after it
    detector = load_detector(arguments.detector, device=arguments.device)
    manifest = read_manifest(arguments.manifest)
    if arguments.where is not None:
        manifest = manifest.where(arguments.where)
    table, coverage = score_held_out(
        detector,
        manifest,
        split=arguments.split,
        allow_leak=arguments.allow_leak,
        num_workers=arguments.num_workers,
    )
    evaluation = evaluate_scores(
        table,
        coverage,
        threshold=detector.config.threshold,
        aggregation_rule=arguments.aggregation or detector.config.aggregation_rule,
        num_draws=arguments.bootstrap_draws,
        seed=arguments.seed,
    )
    write_json(arguments.out / "metrics.json", evaluation.to_json())
    facts = {key: None if value is None else str(value) for key, value in vars(arguments).items()}
    if arguments.detector is not None:
        facts["detector_sha256"] = sha256_of_file(arguments.detector)
    write_json(arguments.out / "config.json", {**facts, "detector_config": asdict(detector.config)})
    save_roc_figure(evaluation, arguments.out / "roc.png")
    Console(soft_wrap=True).print(format_table(evaluation))
    print(f"wrote {arguments.out / 'metrics.json'}")
    return 0
