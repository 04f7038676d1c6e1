"""The validation crops of a run through its model, and crops that cannot be read."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object

from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import ManifestError, SanityError
from deepfake_detect.metrics import roc_auc
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.training.history import cross_entropy, video_auc
from deepfake_detect.training.prepare import Run

LOWER_RATE = "pass another `out` and a lower `learning_rate`"
_EXTRACT_AGAIN = "extract the videos again"


@dataclass(frozen=True, eq=False)
class ValidationScores:
    """Scores of the readable validation crops.

    Attributes:
        logits: float64 (N,), positive = fake.
        labels: int (N,), 1 = fake.
        videos: Text (N,), the video of each crop.
    """

    logits: np.ndarray
    labels: np.ndarray
    videos: np.ndarray

    def metrics(self) -> dict[str, float]:
        """Return the validation figures of an ``EpochRecord``."""
        return {
            "val_loss": cross_entropy(self.logits, self.labels),
            "val_frame_auc": roc_auc(self.labels, self.logits),
            "val_video_auc": video_auc(self.logits, self.labels, self.videos),
            "val_accuracy": float(np.mean((self.logits > 0) == (self.labels == FAKE))),
        }


def validate(run: Run, model: Any) -> ValidationScores:
    """Return a model's scores of the validation crops, gathered from all processes.

    Raises:
        ManifestError: No crop of a class can be read.
        SanityError: A logit is not finite.
    """
    model.eval()
    found: list[tuple[int, float]] = []
    unreadable = set[int]()
    batches = run.data.val_batches()
    with torch.inference_mode(), progress_bar(enabled=run.show_progress) as progress:
        task = progress.add_task("validation", total=len(batches), note="")
        for batch in batches:
            unreadable.update(batch.unreadable_rows.tolist())
            if len(batch.rows):
                logits = run.forward(model, run.to_device(batch))
                found += zip(batch.rows.tolist(), logits.tolist(), strict=True)
            progress.advance(task)
    warn_unreadable(run, run.val_rows, unreadable, "validation")

    by_row = dict(gather_object(found))
    check_readable(run, len(by_row), "validation")
    rows = np.array(sorted(by_row), np.int64)
    logits_of_rows = np.array([by_row[row] for row in rows])
    columns = run.val_rows.columns(["label", "video_id"]).take(rows)
    labels = columns["label"].to_numpy()
    check_both_classes(run, labels, "validation crops")
    if not np.isfinite(logits_of_rows).all():
        raise SanityError(run.config.out, "the logits of validation crops are not finite", LOWER_RATE)
    return ValidationScores(logits_of_rows, labels, columns["video_id"].to_numpy())


def warn_unreadable(run: Run, rows: Manifest, own: Iterable[int], purpose: str) -> int:
    """Warn once per run about each crop that some process could not read; return how many crops."""
    found = sorted(set(gather_object(sorted(own))))
    if found and run.is_main_process:
        names = rows.columns(["path"])["path"].take(found).to_pylist()
        paths = dict.fromkeys(rows.root / name for name in names)
        cause = "cannot be read or blended" if run.config.forgery else "cannot be read"
        for path in paths:
            if path not in run.reported:
                warnings.warn(f"skipped in {purpose}, {cause}: {path}", stacklevel=2)
        run.reported.update(paths)
    return len(found)


def check_readable(run: Run, num_read: int, purpose: str) -> None:
    """Raise ``ManifestError`` where no crop could be read."""
    if not num_read:
        raise ManifestError(run.config.manifest, f"none of its {purpose} crops can be read", _EXTRACT_AGAIN)


def check_both_classes(run: Run, labels: np.ndarray, crops: str) -> None:
    """Raise ``ManifestError`` where no crop of a class could be read."""
    for label, word in ((REAL, "real"), (FAKE, "fake")):
        if not (labels == label).any():
            cause = f"no {word} one of the {crops} can be read"
            raise ManifestError(run.config.manifest, cause, _EXTRACT_AGAIN)
