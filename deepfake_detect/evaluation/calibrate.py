"""A trained detector's probabilities, threshold and doubt, all from the validation split."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.device import choose_device
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.calibration import choose_threshold, choose_uncertain_band, fit_temperature
from deepfake_detect.evaluation.evaluate import video_samples
from deepfake_detect.evaluation.predict import score_manifest
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, update_detector
from deepfake_detect.models.inference import CropScorer

_TARGET_ACCURACY = 0.95
_SMALLEST = 1e-12


def calibrate_detector(
    detector_path: Path,
    manifest_path: Path,
    *,
    split: str = "val",
    where: str | None = None,
    device: str = "auto",
) -> DetectorConfig:
    """Fit temperature, threshold and the band called uncertain; write them into the detector.

    The temperature is fitted on crops; threshold and band on whole videos, aggregated as scoring
    does. The band is the narrowest around the threshold outside of which 95 % of the
    validation videos are judged right; where no band does that, everything is uncertain, with a warning.

    Args:
        detector_path: Detector file, rewritten atomically.
        manifest_path: Manifest with the split.
        split: What to fit on; never a split that is reported on.
        where: SQL condition that the rows fulfil, as for the training; ``None`` takes all.
        device: Where to run.

    Returns:
        The detector's new config.

    Raises:
        CheckpointError, ManifestError, OptionError: The files cannot be used.
    """
    model, config = read_detector(detector_path)
    scorer = CropScorer(model, config, device=choose_device(device))
    rows = read_manifest(manifest_path)
    rows = rows if where is None else rows.where(where)
    table, _ = score_manifest(scorer, rows, split=split)
    # The scores were made with the temperature found in the file; undo it to refit.
    logits = logit(np.clip(table.fake_probability, _SMALLEST, 1 - _SMALLEST)) * config.temperature
    temperature = _temperature(logits, table.label)
    calibrated = replace(table, fake_probability=expit(logits / temperature))
    videos = video_samples(calibrated, aggregation_rule=config.aggregation_rule)
    threshold = choose_threshold(videos.label, videos.fake_probability)
    low, high = _band(videos.label, videos.fake_probability, threshold)
    return update_detector(
        detector_path, temperature=temperature, threshold=threshold, uncertain_low=low, uncertain_high=high
    )


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    try:
        return fit_temperature(logits, labels)
    except OptionError as error:
        warnings.warn(f"the probabilities stay uncalibrated: {error}", stacklevel=3)
        return 1.0


def _band(labels: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float]:
    try:
        return choose_uncertain_band(labels, scores, threshold=threshold, target_accuracy=_TARGET_ACCURACY)
    except OptionError as error:
        warnings.warn(f"every verdict will be 'uncertain': {error}", stacklevel=3)
        return 0.0, 1.0
