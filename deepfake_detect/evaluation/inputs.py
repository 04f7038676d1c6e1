"""Scores to evaluate: those of any tool, or those of a detector on a split of a manifest."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from deepfake_detect.data.index import read_index
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation import predict, robustness
from deepfake_detect.evaluation.corruptions import CORRUPTIONS
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.evaluation.options import EvaluationOptions, ResamplingOptions
from deepfake_detect.evaluation.protocols import find_protocol
from deepfake_detect.evaluation.score_files import read_scores
from deepfake_detect.evaluation.score_table import Coverage, ScoreTable
from deepfake_detect.evaluation.slices import check_slices
from deepfake_detect.evaluation.sources import DetectorInput, ManifestInput, open_detector, open_manifest
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.zoo.store import local_detector
from deepfake_detect.runtimes.load import DEFAULT_DETECTOR

# Options that need no manifest.
_OF_SCORES = ("threshold", "aggregation_rule", "slice_by", "metrics")


@dataclass(frozen=True)
class CropSource:
    """Location of crops and clips.

    Attributes:
        root: Folder that the scores' ``path`` is relative to.
        clips: Clip of each video, by video id, as far as known.
    """

    root: Path
    clips: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class EvaluatedScores:
    """Scores to evaluate, and what is known about them.

    Attributes:
        title: Title of the report.
        table, coverage: The scores.
        decision: How they become verdicts.
        crops: Location of the scored crops; ``None`` if there are only scores.
        record: What ``config.json`` records about the detector.
        measure_robustness: Evaluates the detector on corrupted crops; ``None`` if not requested.
    """

    title: str
    table: ScoreTable
    coverage: Coverage
    decision: DecisionFacts
    crops: CropSource | None = None
    # Any: the detector's configuration as JSON.
    record: Mapping[str, Any] = field(default_factory=dict)
    measure_robustness: Callable[[], robustness.Robustness] | None = None


def scores_of_file(path: str | os.PathLike[str], options: EvaluationOptions) -> EvaluatedScores:
    """Read scores to evaluate, see :func:`score_files.read_scores`.

    Raises:
        ManifestError: The file cannot be used.
        OptionError: An option needs a manifest, or weights that the scores do not have.
    """
    for one in fields(EvaluationOptions):
        if one.name not in _OF_SCORES and getattr(options, one.name) != one.default:
            raise OptionError(
                one.name,
                "needs a manifest, not scores",
                f"omit `{one.name}`, or pass a `manifest` instead of `scores`",
            )
    file = read_scores(path)
    decision = file.decision.overridden(
        threshold=options.threshold, aggregation_rule=options.aggregation_rule
    )
    check_slices(options.slice_by, file.table.columns())
    for note in decision.seen:
        warnings.warn(note, stacklevel=3)
    return EvaluatedScores(f"Scores {Path(path).name}", file.table, file.coverage, decision)


def scores_of_detector(
    detector: DetectorInput,
    manifest: ManifestInput,
    options: EvaluationOptions,
    resampling: ResamplingOptions,
    *,
    show_progress: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> EvaluatedScores:
    """Score the evaluated rows of a manifest, after checking the options and that nothing leaks.

    Raises:
        CheckpointError, ManifestError, OptionError: The detector, the manifest or an option cannot be
            used; another split leaks into the evaluated one.
    """
    options = options.for_manifest()
    split, num_videos = options.split, options.robustness_videos
    assert split is not None
    assert num_videos is not None
    assert options.device is not None
    assert options.precision is not None
    loaded = open_detector(detector, device=options.device, precision=options.precision)
    clips = {}
    if options.index is not None:
        index = read_index(options.index).columns(["video_id", "path"])
        clips = dict(zip(index["video_id"].to_pylist(), index["path"].to_pylist(), strict=True))
    rows = open_manifest(manifest)
    if options.protocol is not None:
        rows = rows.where(find_protocol(rows, options.protocol).test)
    rows = rows if options.where is None else rows.where(options.where)
    decision = DecisionFacts.of_detector(loaded.config).overridden(
        threshold=options.threshold, aggregation_rule=options.aggregation_rule
    )
    names: tuple[str, ...] = options.robustness or tuple(CORRUPTIONS)
    # What depends on the rows is checked before the crops are scored.
    check_slices(options.slice_by, predict.score_columns(rows))
    if options.robustness is not None:
        robustness.check_robustness(rows, split=split, num_videos=num_videos, names=names)
    seen = predict.check_held_out(
        loaded, rows, split=split, allow_leak=options.allow_leak, show_progress=show_progress
    )
    table, coverage = predict.score_manifest(
        loaded, rows, split=split, num_workers=options.num_workers, show_progress=show_progress
    )
    path = manifest.path if isinstance(manifest, Manifest) else manifest

    measure_robustness = partial(
        robustness.measure_robustness,
        loaded,
        rows,
        split=split,
        num_videos=num_videos,
        names=names,
        aggregation_rule=options.aggregation_rule,
        num_resamples=resampling.num_resamples,
        seed=resampling.seed,
        num_workers=options.num_workers,
        show_progress=False,
        log=log,
    )
    return EvaluatedScores(
        title=f"{decision.name} on {path}, {split}",
        table=table,
        coverage=coverage,
        decision=replace(decision, seen=seen),
        crops=CropSource(rows.root, clips),
        record=_record(loaded.config, detector, options),
        measure_robustness=None if options.robustness is None else measure_robustness,
    )


def _record(config: DetectorConfig, detector: DetectorInput, options: EvaluationOptions) -> dict[str, Any]:
    # Without the digests of the videos that it was trained on, of which there are thousands.
    readable = replace(config, training=config.training.readable())
    record: dict[str, Any] = {"detector_config": readable.to_dict(), "precision": options.precision}
    if isinstance(detector, (str, os.PathLike)) and str(detector) != DEFAULT_DETECTOR:
        record["detector_sha256"] = sha256_of_file(local_detector(detector))
    return record
