"""A detector's answer to each crop of a split, as a CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.device import choose_device
from deepfake_detect.evaluation.predict import manifest_logits
from deepfake_detect.io.files import atomic_path
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.inference import TorchDetector


def save_predictions(
    detector_path: Path,
    manifest_path: Path,
    path: Path,
    *,
    split: str,
    where: str | None = None,
    device: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Write file, fake probability, class by the stored threshold and true label of each crop.

    Args:
        detector_path: Detector file.
        manifest_path: Manifest with the split.
        path: CSV to write, with the columns file, fake_probability, class, label.
        split: Whose crops.
        where: SQL condition that the rows fulfil; ``None`` takes all.
        device: Where to run.

    Returns:
        Labels int64 (N,), 1 = fake, and calibrated probabilities float64 (N,) of the readable crops.

    Raises:
        CheckpointError, ManifestError, OptionError: The files cannot be used.
        OutputError: The CSV cannot be written.
    """
    model, config = read_detector(detector_path)
    scorer = TorchDetector(model, config, device=choose_device(device))
    rows = read_manifest(manifest_path)
    part = (rows if where is None else rows.where(where)).split(split)
    read, logits = manifest_logits(scorer, part)
    probabilities = scorer.probabilities(logits)
    columns = part.columns(["path", "label"]).take(read)
    labels = columns["label"].to_numpy().astype(np.int64)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "fake_probability", "class", "label"])
        for name, probability, label in zip(columns["path"].to_pylist(), probabilities, labels, strict=True):
            called = "fake" if probability >= config.threshold else "real"
            writer.writerow([name, f"{probability:.6f}", called, int(label)])
    return labels, probabilities
