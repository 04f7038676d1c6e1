"""A trained detector's probabilities, threshold and doubt, all from the validation split."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from deepfake_detect.data.manifest import ALL_SPLITS, read_manifest
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.device import choose_device
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.calibration import (
    aggregation_aucs,
    best_aggregation,
    choose_threshold,
    choose_uncertain_band,
    fit_isotonic,
    fit_platt,
    fit_temperature,
)
from deepfake_detect.evaluation.predict import score_manifest
from deepfake_detect.evaluation.score_table import ScoreTable, clips_of, video_samples
from deepfake_detect.evaluation.seen import CALIBRATED_USE
from deepfake_detect.models.checkpoint import read_detector, update_detector
from deepfake_detect.models.config import Calibration, DetectorConfig
from deepfake_detect.models.inference import TorchDetector, calibrated_probabilities

CalibrationMethod = Literal["temperature", "platt", "isotonic"]
CALIBRATION_METHODS: tuple[CalibrationMethod, ...] = get_args(CalibrationMethod)
_TARGET_ACCURACY = 0.95


@dataclass(frozen=True)
class CalibrationOptions:
    """What is asked of a calibration.

    Attributes:
        method: From logits to probabilities.
        max_fpr: The threshold finds most fakes while at most this share of reals is called fake;
            ``None`` for the highest balanced accuracy.
        target_accuracy: Share of verdicts outside the band called uncertain that are right, above 0,
            to 1.
        chooses_aggregation: Whether validation also picks the rule from faces to a video; else the
            detector keeps its own.
    """

    method: CalibrationMethod = "temperature"
    max_fpr: float | None = None
    target_accuracy: float = _TARGET_ACCURACY
    chooses_aggregation: bool = False

    def __post_init__(self) -> None:
        if self.method not in CALIBRATION_METHODS:
            raise OptionError("method", f"is {self.method!r}", f"choose of {', '.join(CALIBRATION_METHODS)}")


_USUAL = CalibrationOptions()


def calibrate_detector(
    detector_path: Path,
    manifest_path: Path,
    *,
    split: str = "val",
    where: str | None = None,
    device: str = "auto",
    options: CalibrationOptions = _USUAL,
) -> DetectorConfig:
    """Fit calibration, threshold and the band called uncertain; write them into the detector.

    Probabilities are fitted on crops; rule, threshold and band on whole videos, aggregated as
    scoring does. The band is the narrowest around the threshold outside of which the target share
    of the validation videos is judged right; where no band does that, everything is uncertain, with
    a warning. The file keeps which videos these were, and what each rule from faces to a video is
    worth on them (:func:`aggregation_lines`).

    Args:
        detector_path: Detector file, rewritten atomically.
        manifest_path: Manifest with the split.
        split: What to fit on; ``"test"`` and ``"all"`` are refused.
        where: SQL condition that the rows fulfil, as for the training; ``None`` takes all.
        device: Where to run.
        options: What is asked for.

    Returns:
        The detector's new config.

    Raises:
        CheckpointError, ManifestError, OptionError: The files cannot be used; the split is no
            validation split.
    """
    if split in ("test", ALL_SPLITS):
        raise OptionError("split", f"is {split}: test videos are for measuring alone", "calibrate on val")
    model, config = read_detector(detector_path)
    scorer = TorchDetector(model, config, device=choose_device(device))
    rows = read_manifest(manifest_path)
    rows = rows if where is None else rows.where(where)
    table, _ = score_manifest(scorer, rows, split=split)
    found = fit_to_scores(table, config, options)
    seen = dict(config.training.video_sha256_prefixes or {})
    # Of an earlier calibration the rule may still be there.
    seen[CALIBRATED_USE] = tuple(
        sorted(config.training.digests(CALIBRATED_USE) | set(video_digests(rows.split(split))))
    )
    found["training"] = replace(found["training"], video_sha256_prefixes=seen)
    return update_detector(detector_path, **found)


def aggregation_lines(config: DetectorConfig) -> list[str]:
    """Return the table of rules that a detector's file keeps, a line each, the best first.

    Example:
        >>> from deepfake_detect.scoring import load_detector
        >>> aggregation_lines(load_detector(device="cpu").config)[0]  # of one face a clip: all alike
        '  most_suspicious_track  validation AUC 0.9717 (used)'
    """
    areas: dict[str, float] = dict(config.training.aggregation_auc or {})
    ordered = sorted(areas.items(), key=lambda item: -item[1])
    return [
        f"  {name:<22} validation AUC {area:.4f}" + (" (used)" if name == config.aggregation_rule else "")
        for name, area in ordered
    ]


def fit_to_scores(
    table: ScoreTable, config: DetectorConfig, options: CalibrationOptions = _USUAL
) -> dict[str, Any]:
    """Return the fields of a detector's config that validation scores decide.

    Args:
        table: Validation scores, with the detail ``logit``: before calibration.
        config: The detector's.
        options: What is asked for.

    Returns:
        ``temperature``, ``calibration``, ``aggregation_rule``, ``aggregation_weights``,
        ``threshold``, ``uncertain_low``, ``uncertain_high``; ``training`` with the AUC of each rule.

    Raises:
        OptionError: As for the functions of :mod:`calibration`, save that a temperature that cannot
            be fitted, or a band that cannot be had, is a warning.
    """
    logits = table.details["logit"]
    temperature, calibration = _fit(options.method, logits, table.label)
    calibrated = replace(table, fake_probability=calibrated_probabilities(logits, temperature, calibration))
    rule, weights = config.aggregation_rule, list(config.aggregation_weights)
    plain = video_samples(calibrated, aggregation_rule="mean")
    clips = clips_of(calibrated, plain.of_row)
    areas = aggregation_aucs(clips, plain.label)
    if options.chooses_aggregation:
        rule, weights = best_aggregation(areas, clips, plain.label)
    videos = video_samples(calibrated, aggregation_rule=rule, weights=weights)
    threshold = choose_threshold(videos.label, videos.fake_probability, max_fpr=options.max_fpr)
    low, high = _band(videos.label, videos.fake_probability, threshold, options.target_accuracy)
    return {
        "temperature": temperature,
        "calibration": calibration,
        "aggregation_rule": rule,
        "aggregation_weights": tuple(weights),
        "threshold": threshold,
        "uncertain_low": low,
        "uncertain_high": high,
        "training": replace(config.training, aggregation_auc=areas),
    }


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


def _band(labels: np.ndarray, scores: np.ndarray, threshold: float, target: float) -> tuple[float, float]:
    try:
        return choose_uncertain_band(labels, scores, threshold=threshold, target_accuracy=target)
    except OptionError as error:
        warnings.warn(f"every verdict will be 'uncertain': {error}", stacklevel=3)
        return 0.0, 1.0
