"""Output of a finished run in addition to its weights: calibration, figures and predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deepfake_detect.evaluation.calibrate import aggregation_lines, calibrate
from deepfake_detect.evaluation.predictions import save_predictions
from deepfake_detect.report.history import save_confusion_figure, save_history_figure
from deepfake_detect.training.forged import validation_source
from deepfake_detect.training.history import TrainingResult
from deepfake_detect.training.prepare import Run


def write_results(run: Run, result: TrainingResult) -> TrainingResult:
    """Calibrate the detector on the validation split, and write figures and predictions; return the
    result with the calibrated configuration.
    """
    config = run.config
    manifest, where = validation_source(config)
    of_val: dict[str, Any] = {"split": "val", "where": where, "device": config.device}
    detector = calibrate(result.detector_path, manifest, choose_aggregation=True, **of_val)
    learned = "smoothed labels" if config.label_smoothing else "labels"
    learned += " and teachers" if config.teachers else ""
    save_history_figure(result.history, config.out / "history.png", learned=learned)
    labels, probabilities = save_predictions(
        result.detector_path, manifest, config.out / "predictions.csv", **of_val
    )
    save_confusion_figure(labels, probabilities >= detector.threshold, config.out / "confusion.png")
    run.folder.log(
        f"selected epoch {result.best.epoch}: validation AUC {result.best.val_video_auc:.4f}, threshold "
        f"{detector.threshold:.3f}, temperature {detector.temperature:.2f}, uncertain from "
        f"{detector.uncertain_low:.3f} to {detector.uncertain_high:.3f}"
    )
    for line in (*aggregation_lines(detector), f"wrote {result.detector_path}"):
        run.folder.log(line)
    return replace(result, detector=detector)
