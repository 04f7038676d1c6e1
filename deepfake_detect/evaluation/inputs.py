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
from deepfake_detect.evaluation.calibration import choose_threshold
from deepfake_detect.evaluation.corruptions import CORRUPTIONS
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.evaluation.options import EvaluationOptions, ResamplingOptions
from deepfake_detect.evaluation.protocols import find_protocol
from deepfake_detect.evaluation.score_files import read_scores
from deepfake_detect.evaluation.score_table import Coverage, ScoreTable, video_samples
from deepfake_detect.evaluation.slices import check_slices
from deepfake_detect.evaluation.sources import DetectorInput, ManifestInput, open_detector, open_manifest
from deepfake_detect.evaluation.thresholds import threshold_of_report
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.models.zoo.store import local_detector
from deepfake_detect.runtimes.load import DEFAULT_DETECTOR

# Options that need no manifest.
_OF_SCORES = ("threshold", "threshold_from", "max_fpr", "aggregation_rule", "slice_by", "metrics")


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
        fake_segments: Forged segments (start, end) in seconds by video id, empty for a real; ``None`` if no
            video has known ones.
        measure_robustness: Evaluates the detector on corrupted crops; ``None`` if not requested.
    """

    title: str
    table: ScoreTable
    coverage: Coverage
    decision: DecisionFacts
    crops: CropSource | None = None
    # Any: the detector's configuration as JSON.
    record: Mapping[str, Any] = field(default_factory=dict)
    fake_segments: Mapping[str, tuple[tuple[float, float], ...]] | None = None
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
    decision = _chosen_threshold(_decision(file.decision, options), file.table, options.max_fpr)
    check_slices(options.slice_by, file.table.columns())
    for note in file.decision.seen:
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
    assert options.split is not None
    assert options.device is not None
    assert options.precision is not None
    loaded = open_detector(detector, device=options.device, precision=options.precision)
    rows = _chosen_rows(manifest, options)
    decision = _decision(DecisionFacts.of_detector(loaded.config), options)
    # What depends on the rows is checked before the crops are scored.
    check_slices(options.slice_by, predict.score_columns(rows))
    measure = _robustness(loaded, rows, options, resampling, log)
    seen = predict.check_held_out(
        loaded, rows, split=options.split, allow_leak=options.allow_leak, show_progress=show_progress
    )
    decision = replace(decision, seen=seen, detector_sha256=_sha256(loaded))
    table, coverage = predict.score_manifest(
        loaded, rows, split=options.split, num_workers=options.num_workers, show_progress=show_progress
    )
    path = manifest.path if isinstance(manifest, Manifest) else manifest
    return EvaluatedScores(
        title=f"{decision.name} on {path}, {options.split}",
        table=table,
        coverage=coverage,
        decision=_chosen_threshold(decision, table, options.max_fpr),
        crops=CropSource(rows.root, _clips(options.index)),
        record=_record(loaded.config, detector, options),
        fake_segments=predict.known_segments(rows.split(options.split)),
        measure_robustness=measure,
    )


def _decision(facts: DecisionFacts, options: EvaluationOptions) -> DecisionFacts:
    """Return the facts with the threshold and the rule that the options ask for."""
    threshold = options.threshold
    if options.threshold_from is not None:
        threshold = threshold_of_report(options.threshold_from)
    return facts.overridden(threshold=threshold, aggregation_rule=options.aggregation_rule)


def _chosen_threshold(facts: DecisionFacts, table: ScoreTable, max_fpr: float | None) -> DecisionFacts:
    """Return the facts with a threshold chosen on the scored videos, where one is asked for."""
    if max_fpr is None:
        return facts
    videos = video_samples(table, aggregation_rule=facts.aggregation_rule, weights=facts.aggregation_weights)
    threshold = choose_threshold(videos.label, videos.fake_probability, max_fpr=max_fpr)
    note = f"the threshold {threshold:.4g} was chosen on these videos: their error rates are too good"
    return replace(facts, threshold=threshold, uncertain_band=None, seen=(*facts.seen, note))


def _chosen_rows(manifest: ManifestInput, options: EvaluationOptions) -> Manifest:
    rows = open_manifest(manifest)
    if options.protocol is not None:
        rows = rows.where(find_protocol(rows, options.protocol).test)
    return rows if options.where is None else rows.where(options.where)


def _clips(index: Path | None) -> dict[str, str]:
    """Return the clip of each video by video id."""
    if index is None:
        return {}
    columns = read_index(index).columns(["video_id", "path"])
    return dict(zip(columns["video_id"].to_pylist(), columns["path"].to_pylist(), strict=True))


def _robustness(
    detector: BaseDetector,
    rows: Manifest,
    options: EvaluationOptions,
    resampling: ResamplingOptions,
    log: Callable[[str], None],
) -> Callable[[], robustness.Robustness] | None:
    """Return a function that measures on corrupted crops, after checking its options; or ``None``."""
    if options.robustness is None:
        return None
    split, num_videos = options.split, options.robustness_videos
    assert split is not None
    assert num_videos is not None
    names: tuple[str, ...] = options.robustness or tuple(CORRUPTIONS)
    robustness.check_robustness(rows, split=split, num_videos=num_videos, names=names)
    return partial(
        robustness.measure_robustness,
        detector,
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


def _sha256(detector: BaseDetector) -> str | None:
    return None if detector.source is None else sha256_of_file(detector.source)


def _record(config: DetectorConfig, detector: DetectorInput, options: EvaluationOptions) -> dict[str, Any]:
    # Without the digests of the videos that it was trained on, of which there are thousands.
    readable = replace(config, training=config.training.readable())
    record: dict[str, Any] = {"detector_config": readable.to_dict(), "precision": options.precision}
    if isinstance(detector, (str, os.PathLike)) and str(detector) != DEFAULT_DETECTOR:
        record["detector_sha256"] = sha256_of_file(local_detector(detector))
    return record
