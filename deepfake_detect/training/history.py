"""The records of a run: per step, per epoch, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detect.metrics import roc_auc
from deepfake_detect.models.config import DetectorConfig, sigmoid
from deepfake_detect.records import FAKE

if TYPE_CHECKING:
    from deepfake_detect.training.sanity import CheckResult


@dataclass(frozen=True)
class StepRecord:
    """One step.

    Attributes:
        epoch: From 1, counted over both stages.
        batch: Number of the step's first batch in the epoch, from 0.
        loss: Mean loss of its crops, in nats.
        learning_rate: Of the head.
    """

    epoch: int
    batch: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history.

    Attributes:
        epoch: From 1, counted over both stages.
        stage: ``"head"`` (frozen backbone) or the finetune mode.
        train_loss: Mean loss of the epoch's steps, in nats.
        val_loss: Cross-entropy on validation crops, in nats.
        val_frame_auc: Area under the ROC curve over validation crops.
        val_video_auc: The same over videos, each the mean of its crops; it selects the epoch.
        seconds: Duration of the epoch, validation included.
        images_per_second: Training crops (sequences) per second, over all processes.
        unreadable: Training crops that could not be read, over all processes, and were skipped.
        loading_share: Fraction of the training time spent waiting for crops, 0 to 1.
        learning_rate: Of the head at the end of the epoch.
        trained_parameters: Number of trained parameters.
        train_accuracy: Accuracy on training crops at 0.5, during the epoch.
        val_accuracy: Accuracy on validation crops at 0.5.
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

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} ({self.stage}): train loss {self.train_loss:.3f}, validation loss "
            f"{self.val_loss:.3f}, AUC {self.val_video_auc:.4f}, {self.images_per_second:.0f} crops/s, "
            f"{self.loading_share:.0%} spent waiting for crops"
        )


@dataclass(frozen=True)
class TrainingResult:
    """The output of a training run.

    Attributes:
        detector_path: Detector of the selected epoch.
        history: A record for each epoch.
        is_main_process: False in processes that wrote nothing.
        checks: Results of the sanity checks; empty when a run was resumed.
        detector: The calibrated detector's configuration; ``None`` in other processes, or when
            calibration was turned off.
    """

    detector_path: Path
    history: tuple[EpochRecord, ...]
    is_main_process: bool
    checks: tuple[CheckResult, ...] = ()
    detector: DetectorConfig | None = None

    @property
    def best(self) -> EpochRecord:
        """The selected epoch: highest validation AUC over videos, the earliest of equals."""
        return max(self.history, key=lambda record: (record.val_video_auc, -record.epoch))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy in nats of logits (N,) where labels (N,) are 1 = fake."""
    signed = np.where(labels == FAKE, logits, -logits)
    return float(np.mean(np.logaddexp(0, -signed)))


def video_auc(logits: np.ndarray, labels: np.ndarray, videos: np.ndarray) -> float:
    """Return the AUC of the mean crop probability of each video."""
    names, index = np.unique(videos.astype(str), return_inverse=True)
    means = np.bincount(index, sigmoid(logits)) / np.bincount(index)
    video_labels = np.zeros(len(names), int)
    np.maximum.at(video_labels, index, labels)  # a video with a forged stretch is fake
    return roc_auc(video_labels, means)
