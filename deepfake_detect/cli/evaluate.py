"""Measure a detector on a split of a manifest, or the scores of any tool.

    deepfake-detect evaluate --manifest manifest.parquet --out report
    deepfake-detect evaluate --scores scores.csv --out report

Leaves metrics.json, scores.parquet (a row per frame and face), report.html (needs no other file),
report.md, roc.png and config.json in the output folder and prints the table, over frames and over
videos, overall and per method, with bootstrap intervals that resample videos. Rows that share
videos, people or pictures with another split of the manifest, all of it, are refused; a warning,
red in the report, tells of videos that the detector was trained or selected on.

Scores are a CSV or Parquet file with the columns video_id, dataset, method, label (1 = fake),
frame_index, fake_probability, and if there track_id, identity, compression, reason and columns to
slice by; a video is dataset + method + video_id, with the compression where there is that column, and
a row without a probability counts against the coverage.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.cli.leaks import add_row_arguments
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES, LEARNED_RULE
from deepfake_detect.io.fetch import path_or_url
from deepfake_detect.io.files import make_folder, sha256_of_file, write_json
from deepfake_detect.records import INFERENCE_PRECISIONS

if TYPE_CHECKING:
    from deepfake_detect.data.manifest import Manifest
    from deepfake_detect.evaluation import Coverage, ScoreTable
    from deepfake_detect.evaluation.robustness import Robustness
    from deepfake_detect.models.checkpoint import DetectorConfig
    from deepfake_detect.report.evaluation import ReportContext
    from deepfake_detect.scoring import Detector

_DEFAULT_THRESHOLD = 0.5
_DEFAULT_RULE = "mean"
# Options that ask something of a detector and its manifest, which scores alone cannot answer.
_OF_MANIFESTS = ("detector", "where", "allow_leak", "protocol", "index", "num_workers", "robustness")
_MANIFEST_DEFAULTS = {"split": "test", "device": "auto", "precision": "fp32", "robustness_videos": 200}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--manifest", type=path_or_url, help="manifest.parquet of an extraction, path or URL")
    source.add_argument("--scores", type=Path, help="scores of any tool, CSV or Parquet")
    parser.add_argument("--detector", type=Path, help="detector.safetensors (default: the bundled one)")
    parser.add_argument("--split", help="rows to measure on, or all (default test)")
    parser.add_argument(
        "--protocol", metavar="NAME", help="measure the rows of a protocol, see 'deepfake-detect protocols'"
    )
    add_row_arguments(
        parser,
        where="condition that measured rows fulfil",
        allow_leak="measure although other splits of the manifest leak into the measured rows",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    _add_measuring_arguments(parser)
    _add_robustness_arguments(parser)
    parser.add_argument("--num-workers", type=int, help="processes that read crops (default: cores)")
    parser.add_argument("--device", help="auto, cpu or cuda (default auto)")
    parser.add_argument(
        "--precision", choices=INFERENCE_PRECISIONS, help="what the detector computes in (default fp32)"
    )


def _add_measuring_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold", type=float, help="probability called fake (default: the detector's; of scores 0.5)"
    )
    parser.add_argument(
        "--aggregation",
        metavar="RULE",
        help=f"faces to video: {', '.join(AGGREGATION_RULES)} (default: the detector's; of scores mean)",
    )
    parser.add_argument(
        "--slice", nargs="+", default=[], metavar="COLUMN", help="columns to slice by, beside the usual ones"
    )
    parser.add_argument("--index", type=Path, help="index of the videos, to link faces to their clips")
    add_bootstrap_arguments(parser)


def add_bootstrap_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--resample``, ``--bootstrap-draws`` and ``--seed``."""
    parser.add_argument(
        "--resample",
        default="videos",
        choices=("videos", "identities"),
        help="what intervals draw whole (default videos)",
    )
    parser.add_argument("--bootstrap-draws", type=int, default=1000, help="(default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")


def _add_robustness_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--robustness",
        nargs="*",
        metavar="KIND",
        help="measure on changed crops too: jpeg, h264, downscale, blur, noise, brightness, contrast, "
        "saturation, occlusion; all without a name (default: none)",
    )
    parser.add_argument(
        "--robustness-videos", type=int, help="videos drawn for that, half of them real (default 200)"
    )


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.evaluation import evaluate_scores
    from deepfake_detect.report.evaluation import write_evaluation
    from deepfake_detect.report.tables import print_evaluation

    _check_options(arguments)
    make_folder(arguments.out)  # refused before the work, not after it
    measured = _from_scores(arguments) if arguments.manifest is None else _from_manifest(arguments)
    facts = measured.context.facts
    evaluation = evaluate_scores(
        measured.table,
        measured.coverage,
        threshold=facts["threshold"],
        aggregation_rule=facts["aggregation_rule"],
        aggregation_weights=facts["aggregation_weights"],
        num_resamples=arguments.bootstrap_draws,
        seed=arguments.seed,
        resample=arguments.resample,
        slice_by=arguments.slice,
        uncertain_band=facts["uncertain_band"],
        show_progress=True,
    )
    write_evaluation(arguments.out, evaluation, measured.table, measured.context)
    write_json(arguments.out / "config.json", {**_as_text(arguments), **measured.config})
    print_evaluation(evaluation)
    if measured.robustness is not None:
        # Hours, maybe: what was found before must be there already, should they end early.
        context = replace(measured.context, robustness=measured.robustness())
        write_evaluation(arguments.out, evaluation, measured.table, context)
    print(f"wrote {arguments.out / 'metrics.json'} and report.html")
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse, before any work, what would be refused after it."""
    from deepfake_detect.evaluation.aggregation import check_rule
    from deepfake_detect.metrics import check_resampling, check_threshold

    if arguments.num_workers is not None and arguments.num_workers < 0:
        raise OptionError("num_workers", f"is {arguments.num_workers}", "pass 0 or more")
    if arguments.aggregation is not None:
        check_rule(arguments.aggregation)
    if arguments.threshold is not None:
        check_threshold(arguments.threshold)
    check_resampling(arguments.bootstrap_draws, arguments.seed)


def _check_rule_has_weights(facts: dict[str, Any]) -> None:
    if facts["aggregation_rule"] == LEARNED_RULE and not facts["aggregation_weights"]:
        raise OptionError(
            "--aggregation",
            f"{LEARNED_RULE} needs weights, and there are none",
            "fit them on validation: deepfake-detect calibrate --choose-aggregation",
        )


@dataclass(frozen=True, eq=False)
class _Measured:
    """Scores, what the report says of them, what config.json tells of the detector, and what is
    still to be measured."""

    table: ScoreTable
    coverage: Coverage
    context: ReportContext
    config: dict[str, Any]
    robustness: Callable[[], Robustness] | None = None


def _from_scores(arguments: argparse.Namespace) -> _Measured:
    from deepfake_detect.evaluation.score_files import read_scores
    from deepfake_detect.report.evaluation import ReportContext

    asked = (*_OF_MANIFESTS, *_MANIFEST_DEFAULTS)
    pointless = [name for name in asked if getattr(arguments, name) not in (None, ())]
    if pointless:
        option = f"--{pointless[0].replace('_', '-')}"
        raise OptionError(option, "needs a manifest, not scores", f"leave {option} out, or pass --manifest")
    file = read_scores(arguments.scores)
    facts = {
        "name": arguments.scores.stem,
        "threshold": _DEFAULT_THRESHOLD,
        "aggregation_rule": _DEFAULT_RULE,
        "aggregation_weights": [],
        "uncertain_band": None,
        **file.facts,
    }
    facts = _with_options(facts, arguments)
    _check_rule_has_weights(facts)
    seen = file.facts.get("seen", ())
    for note in seen:
        warnings.warn(note, stacklevel=2)
    context = ReportContext(f"Scores {arguments.scores.name}", facts, seen=seen)
    return _Measured(file.table, file.coverage, context, {})


def _from_manifest(arguments: argparse.Namespace) -> _Measured:
    from deepfake_detect.evaluation.predict import score_held_out
    from deepfake_detect.evaluation.seen import seen_notes
    from deepfake_detect.report.evaluation import ReportContext
    from deepfake_detect.report.faces import CropSource
    from deepfake_detect.scoring import load_detector

    for name, default in _MANIFEST_DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    detector = load_detector(
        arguments.detector, runtime="torch", device=arguments.device, precision=arguments.precision
    )
    clips = _clips(arguments.index)
    manifest = _chosen_rows(arguments)
    config = detector.config
    facts = _with_options(_facts(config), arguments)
    _check_against_rows(arguments, manifest, facts)
    table, coverage = score_held_out(
        detector,
        manifest,
        split=arguments.split,
        allow_leak=arguments.allow_leak,
        num_workers=arguments.num_workers,
    )
    context = ReportContext(
        f"{facts['name']} on {arguments.manifest}, {arguments.split}",
        facts,
        seen=seen_notes(config.training, manifest.split(arguments.split)),
        crops=CropSource(manifest.root, clips),
    )
    # Which videos it has seen is in its file: thousands of digests, for machines alone.
    told: dict[str, Any] = {"detector_config": replace(config, training=config.training.readable()).to_dict()}
    told["precision"] = arguments.precision
    if arguments.detector is not None:
        told["detector_sha256"] = sha256_of_file(arguments.detector)
    measure = partial(_robustness, arguments, detector, manifest)
    return _Measured(table, coverage, context, told, None if arguments.robustness is None else measure)


def _chosen_rows(arguments: argparse.Namespace) -> Manifest:
    from deepfake_detect.data.fetched import local_manifest
    from deepfake_detect.data.manifest import read_manifest
    from deepfake_detect.evaluation.protocols import find_protocol

    manifest = read_manifest(local_manifest(arguments.manifest))
    if arguments.protocol is not None:
        manifest = manifest.where(find_protocol(manifest, arguments.protocol).test)
    return manifest if arguments.where is None else manifest.where(arguments.where)


def _check_against_rows(arguments: argparse.Namespace, manifest: Manifest, facts: dict[str, Any]) -> None:
    """Refuse, before the crops are scored, what the rows or the detector cannot answer."""
    from deepfake_detect.evaluation.corruptions import CORRUPTIONS
    from deepfake_detect.evaluation.predict import score_columns
    from deepfake_detect.evaluation.robustness import check_robustness
    from deepfake_detect.evaluation.slices import check_slices

    check_slices(arguments.slice, score_columns(manifest))
    _check_rule_has_weights(facts)
    if arguments.robustness is not None:
        check_robustness(
            manifest,
            split=arguments.split,
            num_videos=arguments.robustness_videos,
            names=arguments.robustness or tuple(CORRUPTIONS),
        )


def _facts(config: DetectorConfig) -> dict[str, Any]:
    return {
        "name": f"{config.name} {config.version}",
        "threshold": config.threshold,
        "aggregation_rule": config.aggregation_rule,
        "aggregation_weights": config.aggregation_weights,
        "uncertain_band": (config.uncertain_low, config.uncertain_high),
        "has_logits": True,
    }


def _robustness(arguments: argparse.Namespace, detector: Detector, manifest: Manifest) -> Robustness:
    from deepfake_detect.evaluation.corruptions import CORRUPTIONS
    from deepfake_detect.evaluation.robustness import measure_robustness

    return measure_robustness(
        detector,
        manifest,
        split=arguments.split,
        num_videos=arguments.robustness_videos,
        names=tuple(arguments.robustness) or tuple(CORRUPTIONS),
        aggregation_rule=arguments.aggregation,
        num_resamples=arguments.bootstrap_draws,
        seed=arguments.seed,
        num_workers=arguments.num_workers,
        show_progress=False,
        say=print,
    )


def _with_options(facts: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Let what was asked for take the place of what the detector or the file says."""
    if arguments.threshold is not None:
        facts = {**facts, "uncertain_band": None}  # it belongs to the detector's own threshold
    asked = {"threshold": arguments.threshold, "aggregation_rule": arguments.aggregation}
    return {**facts, **{name: value for name, value in asked.items() if value is not None}}


def _clips(index: Path | None) -> dict[str, str]:
    from deepfake_detect.data.index import read_index

    if index is None:
        return {}
    rows = read_index(index).columns(["video_id", "path"])
    return dict(zip(rows["video_id"].to_pylist(), rows["path"].to_pylist(), strict=True))


def _as_text(arguments: argparse.Namespace) -> dict[str, str | None]:
    return {key: None if value is None else str(value) for key, value in vars(arguments).items()}
