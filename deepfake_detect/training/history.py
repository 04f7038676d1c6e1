"""What a run was: a record an epoch, and the result."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detect.io.files import atomic_path
from deepfake_detect.metrics import roc_auc
from deepfake_detect.records import FAKE

if TYPE_CHECKING:
    from deepfake_detect.training.sanity import GateResult


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history.

    Attributes:
        epoch: From 1, counted over both stages.
        stage: ``"head"`` (backbone frozen) or the regime.
        train_loss: Mean loss of the epoch's batches, in nats.
        val_loss: Cross-entropy on validation crops, in nats.
        val_frame_auc: Area under the ROC curve over validation crops.
        val_video_auc: The same over videos, each the mean of its crops; it selects the epoch.
        seconds: Duration of the epoch, validation included.
        images_per_second: Training crops (sequences) a second, over all processes.
        unreadable: Training crops that could not be read, over all processes, and were left out.
        loading_share: Part of the training time spent waiting for crops, 0 to 1.
        learning_rate: Of the head at the end of the epoch.
        trained_parameters: How many numbers were trained.
        train_accuracy: Share of training crops named right, at 0.5, as they came by.
        val_accuracy: Share of validation crops named right, at 0.5.
    """

    epoch: int
    stage: str
    train_loss: float
    val_loss: float
    val_frame_auc: float
    val_video_auc: float
    seconds: float
    images_per_second: float
    unreadable: int
    loading_share: float = 0.0
    learning_rate: float = 0.0
    trained_parameters: int = 0
    train_accuracy: float = 0.0
    val_accuracy: float = 0.0


@dataclass(frozen=True)
class TrainingResult:
    """What a run left: the detector file of the best epoch and the history of all.

    Attributes:
        detector_path: Of the selected epoch.
        history: A record an epoch.
        is_main_process: False in processes that wrote nothing.
        gates: What was made sure of before the first step; empty when a run was resumed.
    """

    detector_path: Path
    history: tuple[EpochRecord, ...]
    is_main_process: bool
    gates: tuple[GateResult, ...] = ()

    @property
    def best(self) -> EpochRecord:
        """The selected epoch: highest validation video AUC, the earliest among equals."""
        return max(self.history, key=lambda record: (record.val_video_auc, -record.epoch))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy in nats of logits (N,) where labels (N,) are 1 = fake."""
    signed = np.where(labels == FAKE, logits, -logits)
    return float(np.mean(np.logaddexp(0, -signed)))


def video_auc(logits: np.ndarray, labels: np.ndarray, videos: np.ndarray) -> float:
    """AUC of the mean crop probability of each video."""
    names, index = np.unique(videos.astype(str), return_inverse=True)
    probabilities = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    means = np.bincount(index, probabilities) / np.bincount(index)
    video_labels = np.zeros(len(names), int)
    video_labels[index] = labels
    return roc_auc(video_labels, means)


def write_history(path: Path, history: Sequence[EpochRecord]) -> None:
    """Write the records as a CSV, a line an epoch."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[one.name for one in fields(EpochRecord)])
        writer.writeheader()
        writer.writerows(asdict(record) for record in history)
