"""Predictions of a detector for each crop of a split, as CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepfake_detect.evaluation.predict import manifest_logits
from deepfake_detect.evaluation.sources import DetectorInput, ManifestInput, open_detector, open_manifest
from deepfake_detect.io.tables import write_csv


def save_predictions(
    detector: DetectorInput,
    manifest: ManifestInput,
    path: Path,
    *,
    split: str,
    where: str | None = None,
    device: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Write a CSV of the crops of a split: file, fake_probability, class by the stored threshold, label.

    Returns:
        Labels int64 (N,), 1 = fake, and calibrated probabilities float64 (N,) of the readable crops.

    Raises:
        CheckpointError, ManifestError, OptionError: The files cannot be used.
        OutputError: The CSV cannot be written.
    """
    scorer = open_detector(detector, device=device)
    rows = open_manifest(manifest)
    part = (rows if where is None else rows.where(where)).split(split)
    read, logits = manifest_logits(scorer, part)
    probabilities = scorer.probabilities(logits)
    columns = part.columns(["path", "label"]).take(read)
    labels = columns["label"].to_numpy().astype(np.int64)
    called = np.where(probabilities >= scorer.config.threshold, "fake", "real").tolist()
    texts = [f"{probability:.6f}" for probability in probabilities]
    rows_out = zip(columns["path"].to_pylist(), texts, called, labels.tolist(), strict=True)
    write_csv(path, ["file", "fake_probability", "class", "label"], rows_out)
    return labels, probabilities
