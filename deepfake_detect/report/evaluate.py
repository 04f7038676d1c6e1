"""``evaluate`` and ``compare``: the numbers of :mod:`evaluation`, and the files that report them.

They are here, not in ``evaluation``, because they write figures and pages, which ``evaluation`` does not
import.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.data.audit_report import LeakKind
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.compare import Comparison, NamedScores, compare_scores
from deepfake_detect.evaluation.evaluate import evaluate_scores
from deepfake_detect.evaluation.inputs import EvaluatedScores, scores_of_detector, scores_of_file
from deepfake_detect.evaluation.options import (
    ComparisonOptions,
    CorruptionName,
    EvaluationOptions,
    Resample,
    ResamplingOptions,
)
from deepfake_detect.evaluation.predictor import PredictFunction, Predictor, find_function
from deepfake_detect.evaluation.resampling import resampling_groups
from deepfake_detect.evaluation.results import Evaluation
from deepfake_detect.evaluation.score_files import read_scores
from deepfake_detect.evaluation.score_table import video_samples
from deepfake_detect.evaluation.segment_metrics import SegmentMetrics, measure_segments
from deepfake_detect.evaluation.sources import DetectorInput, ManifestInput, open_manifest
from deepfake_detect.io.files import make_folder, write_json
from deepfake_detect.options import option_fields
from deepfake_detect.records import InferencePrecision
from deepfake_detect.report.compare import write_comparison
from deepfake_detect.report.evaluation import ReportContext, write_evaluation

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def evaluate(
    manifest: ManifestInput | None = None,
    detector: DetectorInput = None,
    *,
    predict: str | PredictFunction | None = None,
    scores: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    split: str | None = EvaluationOptions.split,
    protocol: str | None = EvaluationOptions.protocol,
    where: str | None = EvaluationOptions.where,
    allow_leak: Sequence[LeakKind] = EvaluationOptions.allow_leak,
    threshold: float | None = EvaluationOptions.threshold,
    threshold_from: str | os.PathLike[str] | None = EvaluationOptions.threshold_from,
    max_fpr: float | None = EvaluationOptions.max_fpr,
    aggregation_rule: str | None = EvaluationOptions.aggregation_rule,
    slice_by: Sequence[str] = EvaluationOptions.slice_by,
    metrics: Sequence[str] = EvaluationOptions.metrics,
    index: str | os.PathLike[str] | None = EvaluationOptions.index,
    robustness: Sequence[CorruptionName] | None = EvaluationOptions.robustness,
    robustness_videos: int | None = EvaluationOptions.robustness_videos,
    num_workers: int | None = EvaluationOptions.num_workers,
    device: str | None = EvaluationOptions.device,
    precision: InferencePrecision | None = EvaluationOptions.precision,
    resample: Resample = ResamplingOptions.resample,
    num_resamples: int = ResamplingOptions.num_resamples,
    seed: int = ResamplingOptions.seed,
    show_progress: bool = True,
    on_found: Callable[[Evaluation], None] = lambda evaluation: None,
    log: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    r"""Evaluate a detector on a split of a manifest, or scores from any tool.

    Args:
        manifest: Manifest of crops, its path or URL. Rows that share videos, people or images with
            another split of it are an error unless ``allow_leak`` names the kind.
        detector: Detector of any kind, or its path; the bundled one when ``None``.
        predict: Instead of a detector, any function, or its name as ``"module:function"``. It gets a list
            of up to 64 crops, RGB uint8 (H, W, 3) in their stored sizes, and returns one number for each,
            (N,) or (N, 1), as an array, list or tensor: the probability of fake, or a logit. They count as
            logits if one of them lies outside 0 to 1. Its decision rule is the threshold 0.5 and the mean
            over a video, unless options say otherwise.
        scores: Instead of a manifest, a file of scores, see :func:`evaluation.score_files.read_scores`.
        out: Folder for ``metrics.json``, ``scores.parquet``, ``report.html``, ``report.md``,
            ``roc.png`` and ``config.json``; ``None`` writes nothing.
        split, protocol, where, allow_leak, threshold, threshold_from, max_fpr, aggregation_rule, slice_by,
            metrics, index, robustness, robustness_videos, num_workers, device, precision: See
            :class:`EvaluationOptions`.
        resample, num_resamples, seed: See :class:`ResamplingOptions`.
        show_progress: Whether to show progress bars.
        on_found: Called with the evaluation before robustness is measured, which may take hours; its
            files are written by then.
        log: Called with a line after each corruption.

    Returns:
        The metrics over frames, tracks and videos, overall, per method and per slice, with intervals.
        Videos that the detector was trained or selected on are warnings, and in ``seen``.

    Raises:
        CheckpointError, DeviceError, ManifestError, OptionError, OutputError: An input or an option
            cannot be used, another split leaks into the evaluated one, or ``out`` cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> _ = path.write_text(
        ...     "video_id,dataset,method,label,frame_index,fake_probability\n"
        ...     "000,FF,youtube,0,0,0.1\n000_003,FF,Deepfakes,1,0,0.9\n")
        >>> evaluate(scores=path, num_resamples=10, show_progress=False).video.metrics["auc"].value
        1.0
    """
    values = locals()
    options = EvaluationOptions(**_options_in(EvaluationOptions, values))
    resampling = ResamplingOptions(**_options_in(ResamplingOptions, values))
    _check_source(manifest, detector, scores)
    if predict is not None:
        detector, manifest = _predictor(predict, detector, manifest, options)
    folder = None if out is None else make_folder(Path(out))  # an error before the work, not after it
    if manifest is None:
        assert scores is not None
        found = scores_of_file(scores, options)
    else:
        options = options.for_manifest()
        found = scores_of_detector(
            detector, manifest, options, resampling, show_progress=show_progress, log=log
        )
    evaluation = _measured(found, options, resampling, show_progress=show_progress)
    if folder is not None:
        named = {"manifest": manifest, "scores": scores, "detector": detector, "out": out}
        if isinstance(manifest, Manifest):
            named["manifest"] = manifest.path
        if isinstance(detector, Predictor):
            named |= {"detector": None, "predict": detector.name, "predict_returns": detector.returns}
        write_json(folder / "config.json", {**_recorded(named, options, resampling), **found.record})
    _write(folder, evaluation, found)
    on_found(evaluation)
    if found.measure_robustness is not None:
        evaluation = replace(evaluation, robustness=found.measure_robustness())
        _write(folder, evaluation, found)
    return evaluation


def _check_source(
    manifest: ManifestInput | None, detector: DetectorInput, scores: str | os.PathLike[str] | None
) -> None:
    if (manifest is None) == (scores is None):
        cause = "is missing" if manifest is None else "excludes `scores`"
        raise OptionError("manifest", cause, "pass either a `manifest` or `scores`")
    if scores is not None and detector is not None:
        remedy = "omit `detector`, or pass a `manifest` instead of `scores`"
        raise OptionError("detector", "needs a manifest, not scores", remedy)


def _measured(
    found: EvaluatedScores, options: EvaluationOptions, resampling: ResamplingOptions, *, show_progress: bool
) -> Evaluation:
    """Return the metrics of scores."""
    decision = found.decision
    evaluation = evaluate_scores(
        found.table,
        found.coverage,
        threshold=decision.threshold,
        aggregation_rule=decision.aggregation_rule,
        aggregation_weights=decision.aggregation_weights,
        num_resamples=resampling.num_resamples,
        seed=resampling.seed,
        resample=resampling.resample,
        slice_by=options.slice_by,
        metrics=options.metrics,
        uncertain_band=decision.uncertain_band,
        show_progress=show_progress,
    )
    segments = _segments(found, evaluation, resampling)
    return replace(evaluation, seen=decision.seen, segments=segments)


def _segments(
    found: EvaluatedScores, evaluation: Evaluation, resampling: ResamplingOptions
) -> SegmentMetrics | None:
    """Return how well known forged segments are found; ``None`` where none are known."""
    if found.fake_segments is None:
        return None
    videos = video_samples(found.table, aggregation_rule="mean")
    groups, _ = resampling_groups([(found.table, videos)], videos.video_id, resampling.resample)
    return measure_segments(
        found.table,
        found.fake_segments,
        dict(zip(videos.video_id.tolist(), groups.tolist(), strict=True)),
        threshold=evaluation.settings.threshold,
        num_resamples=resampling.num_resamples,
        seed=resampling.seed,
    )


def _write(folder: Path | None, evaluation: Evaluation, found: EvaluatedScores) -> None:
    """Write the files of an evaluation, if there is a folder for them."""
    if folder is not None:
        write_evaluation(
            folder, evaluation, found.table, ReportContext(found.title, found.decision, found.crops)
        )


def compare(
    scores: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    names: Sequence[str] | None = ComparisonOptions.names,
    aggregation_rule: str | None = ComparisonOptions.aggregation_rule,
    resample: Resample = ResamplingOptions.resample,
    num_resamples: int = ResamplingOptions.num_resamples,
    seed: int = ResamplingOptions.seed,
) -> Comparison:
    """Compare detectors on the videos that all of them scored.

    Args:
        scores: Folders that :func:`evaluate` wrote, or files of scores, two or more.
        out: Folder for ``compare.json``, ``compare.png``, ``compare.html`` and ``compare.md``; ``None``
            writes nothing.
        names, aggregation_rule: See :class:`ComparisonOptions`.
        resample, num_resamples, seed: See :class:`ResamplingOptions`.

    Returns:
        Metrics of each detector, and the differences of every two with paired bootstrap intervals and
        DeLong's test. Limits of the comparison are reported as warnings and in ``notes``.

    Raises:
        ManifestError, OptionError, OutputError: Scores or an option cannot be used, no video is common
            to all, or ``out`` cannot be written.
    """
    options = ComparisonOptions(None if names is None else tuple(names), aggregation_rule)
    folder = None if out is None else make_folder(Path(out))
    paths = [Path(path) for path in scores]
    detectors = []
    for name, path in zip(_names(paths, options.names), paths, strict=True):
        file = read_scores(path)
        rule = options.aggregation_rule or file.decision.aggregation_rule
        decision = replace(file.decision, aggregation_rule=rule, name=name)
        detectors.append(NamedScores(decision, file.table, file.coverage))
    comparison = compare_scores(detectors, num_resamples=num_resamples, seed=seed, resample=resample)
    for note in comparison.notes:
        warnings.warn(note, stacklevel=2)
    if folder is not None:
        write_comparison(folder, comparison)
    return comparison


def _predictor(
    predict: str | PredictFunction,
    detector: DetectorInput,
    manifest: ManifestInput | None,
    options: EvaluationOptions,
) -> tuple[Predictor, Manifest]:
    """Return a function as a detector, and the opened manifest."""
    if manifest is None:
        raise OptionError("predict", "needs a manifest of crops", "pass a `manifest` instead of `scores`")
    if detector is not None:
        raise OptionError("predict", "takes the place of `detector`", "pass one of them")
    for name in ("device", "precision"):
        if getattr(options, name) is not None:
            raise OptionError(name, "is for a `detector`; a function chooses its own", "omit it")
    function, name = find_function(predict)
    rows = open_manifest(manifest)
    return Predictor(function, name=name, manifest=rows), rows


def _options_in(cls: type[DataclassInstance], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a dataclass among keywords, sequences as tuples and paths as paths."""
    found = {}
    for one in option_fields(cls):
        value = values[one.name]
        if value is not None and one.is_sequence:
            value = tuple(value)
        elif value is not None and one.kind is Path:
            value = Path(value)
        found[one.name] = value
    return found


def _recorded(
    named: Mapping[str, object], options: EvaluationOptions, resampling: ResamplingOptions
) -> dict[str, str | None]:
    """Return the options as text, by the names of their flags."""
    values = dict(named)
    for one in (options, resampling):
        for found in option_fields(type(one)):
            name = found.flag.removeprefix("--").replace("-", "_")
            value = getattr(one, found.name)
            values[name] = list(value) if isinstance(value, tuple) else value
    return {name: None if value is None else str(value) for name, value in values.items()}


def _names(paths: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    """Return the given names, else those of the files and folders, or the whole paths if these repeat."""
    if names is None:
        stems = [path.stem for path in paths]
        return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    if len(names) != len(paths):
        raise OptionError("names", f"gives {len(names)} for {len(paths)} detectors", "name each one")
    return list(names)
