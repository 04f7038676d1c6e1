"""Figures of a training run: curves over the epochs, confusion matrix, learning rate search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from deepfake_detect.records import FAKE
from deepfake_detect.report.drawing import new_figure, save_png

_CLASSES = ("real", "fake")
_DOTS_PER_INCH = 120


class EpochFigures(Protocol):
    """An epoch with the numbers that are plotted; ``training.history.EpochRecord`` is one."""

    @property
    def epoch(self) -> int: ...
    @property
    def stage(self) -> str: ...
    @property
    def val_video_auc(self) -> float: ...


def save_history_figure(history: Sequence[EpochFigures], path: Path, *, learned: str = "labels") -> None:
    """Plot losses, accuracies and validation AUC by epoch, and mark where the stage changes.

    Args:
        history: The epochs, at least one.
        path: PNG to write.
        learned: Targets of the training loss, if other than labels, such as ``"smoothed labels"``:
            training and validation loss cannot be compared then, and the legend says so.
    """
    figure = new_figure(13, 3.6)
    losses, accuracies, areas = figure.subplots(1, 3)
    epochs = [record.epoch for record in history]
    words = "training" if learned == "labels" else f"training ({learned})"
    for axes, name, style, label in (
        (losses, "train_loss", "o-", words),
        (losses, "val_loss", "s-", "validation"),
        (accuracies, "train_accuracy", "o-", "training"),
        (accuracies, "val_accuracy", "s-", "validation"),
        (areas, "val_frame_auc", "o-", "crops"),
        (areas, "val_video_auc", "s-", "videos (selects)"),
    ):
        axes.plot(epochs, [getattr(record, name) for record in history], style, label=label)
    losses.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss")
    accuracies.set(xlabel="epoch", ylabel="fraction of crops classified correctly", title="Accuracy at 0.5")
    areas.set(xlabel="epoch", ylabel="area under the ROC curve", title="Validation AUC")
    best = max(history, key=lambda record: (record.val_video_auc, -record.epoch))
    areas.plot(best.epoch, best.val_video_auc, "*", markersize=15, color="tab:green", label="selected")
    areas.axhline(0.5, color="gray", linewidth=0.8, linestyle=":", label="chance")
    switches = [
        (later.epoch - 0.5, later.stage)
        for earlier, later in zip(history, history[1:], strict=False)
        if earlier.stage != later.stage
    ]
    for axes in (losses, accuracies, areas):
        for position, stage in switches:
            label = f"from here on: {stage}"
            axes.axvline(position, color="gray", linestyle="--", linewidth=0.8, label=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    save_png(figure, path, dots_per_inch=_DOTS_PER_INCH)


def save_confusion_figure(labels: np.ndarray, is_called_fake: np.ndarray, path: Path) -> None:
    """Plot how many crops of each class were classified as real and as fake.

    Args:
        labels: int (N,), 1 = fake.
        is_called_fake: bool (N,).
        path: PNG to write.
    """
    counts = np.zeros((2, 2), int)
    np.add.at(counts, ((labels == FAKE).astype(int), is_called_fake.astype(int)), 1)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = new_figure(4, 3.6)
    axes = figure.subplots()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(2, 2):
        text = f"{counts[row, column]:,}\n{fractions[row, column]:.1%}"
        color = "white" if fractions[row, column] > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set(xticks=(0, 1), xticklabels=_CLASSES, yticks=(0, 1), yticklabels=_CLASSES)
    axes.set(xlabel="predicted", ylabel="actual", title="Validation crops at the threshold")
    save_png(figure, path, dots_per_inch=_DOTS_PER_INCH)


def save_rate_figure(rates: np.ndarray, losses: np.ndarray, suggestion: float, path: Path) -> None:
    """Plot the loss over the learning rate and mark the suggested rate.

    Args:
        rates, losses: float (S,).
        suggestion: The rate to mark.
        path: PNG to write.
    """
    figure = new_figure(5.5, 3.6)
    axes = figure.subplots()
    axes.semilogx(rates, losses)
    axes.axvline(suggestion, color="tab:green", linestyle="--", label=f"suggested: {suggestion:.1e}")
    axes.set(xlabel="learning rate", ylabel="loss, smoothed (nats)", title="Loss over learning rate")
    axes.grid(alpha=0.25)
    axes.legend()
    save_png(figure, path, dots_per_inch=_DOTS_PER_INCH)
