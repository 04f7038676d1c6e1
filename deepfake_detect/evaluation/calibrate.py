"""Calibration of a trained detector on a validation split."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import replace

import numpy as np

from deepfake_detect.data.manifest import ALL_SPLITS
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES
from deepfake_detect.evaluation.calibration import (
    aggregation_aucs,
    best_aggregation,
    choose_threshold,
    choose_uncertain_band,
    fit_isotonic,
    fit_platt,
    fit_temperature,
)
from deepfake_detect.evaluation.options import CalibrationMethod, CalibrationOptions
from deepfake_detect.evaluation.predict import score_manifest
from deepfake_detect.evaluation.score_table import ScoreTable, clips_of, video_samples
from deepfake_detect.evaluation.seen import CALIBRATED_USE
from deepfake_detect.evaluation.sources import ManifestInput, open_detector, open_manifest
from deepfake_detect.io.hub import is_on_hub
from deepfake_detect.metrics import bootstrap_intervals, roc_auc
from deepfake_detect.models.checkpoint import save_detector
from deepfake_detect.models.config import Calibration, DetectorConfig, FigureFacts
from deepfake_detect.models.inference import TorchDetector, calibrated_probabilities
from deepfake_detect.models.zoo.store import local_detector

# Of each class; with fewer even a perfect detector could be at chance.
_FEWEST_VIDEOS = 3


def calibrate(
    detector: str | os.PathLike[str],
    manifest: ManifestInput,
    *,
    split: str = "val",
    where: str | None = None,
    method: CalibrationMethod = CalibrationOptions.method,
    max_fpr: float | None = CalibrationOptions.max_fpr,
    target_accuracy: float = CalibrationOptions.target_accuracy,
    choose_aggregation: bool = CalibrationOptions.choose_aggregation,
    device: str = "auto",
    show_progress: bool = True,
) -> DetectorConfig:
    """Fit a detector's calibration, threshold and uncertain band, and write them into its file.

    Probabilities are fitted on crops; the aggregation rule, the threshold and the band are fitted on
    videos, aggregated as in scoring. The band is the narrowest one around the threshold such that
    validation videos outside it reach the target accuracy. If there is none, or if the AUC may be chance, a
    warning is issued and every verdict is uncertain. The file records which videos were used, and the AUC
    of each aggregation rule
    (:func:`aggregation_lines`).

    Args:
        detector: Detector file, rewritten atomically: a network of crops or sequences, or a classical
            classifier; of ``zoo:NAME`` the file in the cache, which then gives verdicts.
        manifest: Manifest with the split, its path or URL.
        split: Rows to fit on; ``"test"`` and ``"all"`` are errors.
        where: SQL condition on the rows; ``None`` takes all.
        method, max_fpr, target_accuracy, choose_aggregation: See :class:`CalibrationOptions`.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        show_progress: Whether to show a progress bar.

    Returns:
        The detector's new configuration.

    Raises:
        CheckpointError, DeviceError, FetchError, ManifestError, OptionError: A file or an option cannot
            be used; the split is not for validation; the detector is an export.
    """
    options = CalibrationOptions(method, max_fpr, target_accuracy, choose_aggregation)
    if split in ("test", ALL_SPLITS):
        raise OptionError("split", f"is {split}, and test videos are only for evaluation", "use val")
    if is_on_hub(detector):
        remedy = "copy it with load_detector(...).save_pretrained(folder), and calibrate the copy"
        raise OptionError("detector", f"is {detector}, and calibration rewrites the file", remedy)
    path = local_detector(detector).absolute()  # a relative "default" would be the bundled detector
    scorer = open_detector(path, device=device)
    if not isinstance(scorer, TorchDetector):
        raise OptionError(
            "detector",
            f"{detector} is an export, whose calibration is part of its network",
            "calibrate the detector.safetensors that it was exported from, and export it again",
        )
    rows = open_manifest(manifest)
    rows = rows if where is None else rows.where(where)
    table, _ = score_manifest(scorer, rows, split=split, show_progress=show_progress)
    config = calibrated_config(table, scorer.config, options)
    seen = dict(config.training.video_sha256_prefixes or {})
    # The rule may still be that of an earlier calibration: its videos stay listed.
    seen[CALIBRATED_USE] = tuple(
        sorted(config.training.digests(CALIBRATED_USE) | set(video_digests(rows.split(split))))
    )
    config = replace(config, training=replace(config.training, video_sha256_prefixes=seen))
    save_detector(path, scorer.model, config)
    return config


def aggregation_lines(config: DetectorConfig) -> list[str]:
    """Return the validation AUC of each aggregation rule that a detector file records, best first.

    Example:
        >>> from dataclasses import replace
        >>> from deepfake_detect.models.config import TrainingFacts
        >>> from deepfake_detect.scoring import load_detector
        >>> facts = TrainingFacts(aggregation_auc={"mean": 0.91, "most_suspicious_track": 0.93})
        >>> aggregation_lines(replace(load_detector(device="cpu").config, training=facts))[0]
        '  most_suspicious_track  validation AUC 0.9300 (used)'
    """
    areas: dict[str, float] = dict(config.training.aggregation_auc or {})
    ordered = sorted(areas.items(), key=lambda item: -item[1])
    return [
        f"  {name:<22} validation AUC {area:.4f}" + (" (used)" if name == config.aggregation_rule else "")
        for name, area in ordered
    ]


def calibrated_config(
    table: ScoreTable, config: DetectorConfig, options: CalibrationOptions | None = None
) -> DetectorConfig:
    """Return a detector's configuration, calibrated on validation scores.

    The scores have the detail ``logit``, before calibration. New are temperature, calibration,
    aggregation rule and weights, threshold and band, and the AUC of each rule.

    Raises:
        OptionError: As for the functions of :mod:`calibration`, except that a temperature or a band that
            cannot be fitted is a warning.
    """
    options = options or CalibrationOptions()
    logits = table.details["logit"]
    temperature, calibration = _fit(options.method, logits, table.crop_labels)
    calibrated = replace(table, fake_probability=calibrated_probabilities(logits, temperature, calibration))
    rule, weights = config.aggregation_rule, list(config.aggregation_weights)
    plain = video_samples(calibrated, aggregation_rule="mean")
    clips = clips_of(calibrated, plain.of_row)
    areas = aggregation_aucs(clips, plain.label)
    if options.choose_aggregation:
        rule, weights = best_aggregation(areas, clips, plain.label)
    videos = video_samples(calibrated, aggregation_rule=rule, weights=weights)
    threshold = choose_threshold(videos.label, videos.fake_probability, max_fpr=options.max_fpr)
    low, high = uncertain_band(videos.label, videos.fake_probability, threshold, options.target_accuracy)
    others = tuple(one for one in config.plugins if one.kind != AGGREGATION_RULES.option)
    part = AGGREGATION_RULES.plugin_part(rule)
    return replace(
        config,
        temperature=temperature,
        calibration=calibration,
        aggregation_rule=rule,
        aggregation_weights=tuple(weights),
        threshold=threshold,
        uncertain_low=low,
        uncertain_high=high,
        training=replace(
            config.training,
            aggregation_auc=areas,
            calibrated_auc=_auc_with_interval(videos.label, videos.fake_probability, threshold),
        ),
        plugins=others if part is None else (*others, part),
        is_calibrated=True,
    )


def _auc_with_interval(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> FigureFacts:
    """Return the AUC over validation videos (V,) with its interval, and the numbers of videos."""
    videos = np.arange(len(labels))
    area = bootstrap_intervals(labels, probabilities, videos, threshold=threshold)["auc"]
    low, high = (None if math.isnan(bound) else bound for bound in (area.low, area.high))
    num_reals, num_fakes = np.bincount(labels, minlength=2).tolist()
    return FigureFacts(area.value, low, high, num_real=num_reals, num_fake=num_fakes)


def _fit(
    method: CalibrationMethod, logits: np.ndarray, labels: np.ndarray
) -> tuple[float, Calibration | None]:
    """Return temperature and calibration."""
    if method == "platt":
        return 1.0, fit_platt(logits, labels)
    if method == "isotonic":
        return 1.0, fit_isotonic(logits, labels)
    try:
        return fit_temperature(logits, labels), None
    except OptionError as error:
        warnings.warn(f"the probabilities stay uncalibrated: {error}", stacklevel=3)
        return 1.0, None


def uncertain_band(
    labels: np.ndarray, scores: np.ndarray, threshold: float, target: float
) -> tuple[float, float]:
    """Return the band of uncertain verdicts; all of them where none is worth giving."""
    num_reals, num_fakes = np.bincount(labels, minlength=2).tolist()
    area = roc_auc(labels, scores)
    # Of the AUC at chance (Mann and Whitney 1947), which one in twenty exceeds by 1.64 deviations.
    deviation = math.sqrt((num_reals + num_fakes + 1) / (12 * num_reals * num_fakes))
    if min(num_reals, num_fakes) >= _FEWEST_VIDEOS and area < 0.5 + 1.64 * deviation:
        cause = (
            f"its AUC of {area:.3f} over {num_reals:,} real and {num_fakes:,} fake validation videos may be "
            "chance; train longer, check that labels and crops belong together, or validate on more videos"
        )
    else:
        try:
            return choose_uncertain_band(labels, scores, threshold=threshold, target_accuracy=target)
        except OptionError as error:
            cause = str(error)
    warnings.warn(f"every verdict will be 'uncertain': {cause}", stacklevel=3)
    return 0.0, 1.0
