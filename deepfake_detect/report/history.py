"""Pictures of a training run: curves over the epochs, confusion matrix, search of a learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detect.io.files import atomic_path
from deepfake_detect.records import FAKE

if TYPE_CHECKING:
    from deepfake_detect.training.history import EpochRecord

_CLASSES = ("real", "fake")


def save_history_figure(history: Sequence[EpochRecord], path: Path, *, learned: str = "labels") -> None:
    """Draw losses, accuracies and validation AUC by epoch, and mark where the stages change.

    Args:
        history: Records of the epochs, at least one.
        path: PNG to write.
        learned: What the training loss is about where that of validation is about labels, such as
            ``"smoothed labels"``: then they are not to be compared, and the figure says so.
    """
    figure = _figure(13, 3.6)
    losses, accuracies, areas = figure.subplots(1, 3)
    epochs = [record.epoch for record in history]
    words = "training" if learned == "labels" else f"training ({learned})"
    losses.plot(epochs, [record.train_loss for record in history], "o-", label=words)
    losses.plot(epochs, [record.val_loss for record in history], "s-", label="validation")
    losses.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss")
    accuracies.plot(epochs, [record.train_accuracy for record in history], "o-", label="training")
    accuracies.plot(epochs, [record.val_accuracy for record in history], "s-", label="validation")
    accuracies.set(xlabel="epoch", ylabel="share of crops named right", title="Accuracy at 0.5")
    areas.plot(epochs, [record.val_frame_auc for record in history], "o-", label="crops")
    areas.plot(epochs, [record.val_video_auc for record in history], "s-", label="videos (selects)")
    best = max(history, key=lambda record: (record.val_video_auc, -record.epoch))
    areas.plot(best.epoch, best.val_video_auc, "*", markersize=15, color="tab:green", label="selected")
    areas.axhline(0.5, color="gray", linewidth=0.8, linestyle=":", label="chance")
    areas.set(xlabel="epoch", ylabel="area under the ROC curve", title="Validation AUC")
    switches = [
        (later.epoch - 0.5, later.stage)
        for earlier, later in zip(history, history[1:], strict=False)
        if earlier.stage != later.stage
    ]
    for axes in (losses, accuracies, areas):
        for position, stage in switches:
            axes.axvline(
                position, color="gray", linestyle="--", linewidth=0.8, label=f"from here on: {stage}"
            )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    _save(figure, path)


def save_confusion_figure(labels: np.ndarray, is_called_fake: np.ndarray, path: Path) -> None:
    """Draw how many crops of each class were called real and fake.

    Args:
        labels: int (N,), 1 = fake.
        is_called_fake: bool (N,).
        path: PNG to write.
    """
    counts = np.zeros((2, 2), int)
    np.add.at(counts, ((labels == FAKE).astype(int), is_called_fake.astype(int)), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = _figure(4, 3.6)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(2, 2):
        text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}"
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set(xticks=(0, 1), xticklabels=_CLASSES, yticks=(0, 1), yticklabels=_CLASSES)
    axes.set(xlabel="called", ylabel="is", title="Validation crops at the threshold")
    _save(figure, path)


def save_rate_figure(rates: np.ndarray, losses: np.ndarray, suggestion: float, path: Path) -> None:
    """Draw the loss (S,) over the learning rate (S,) and mark the one that is suggested, as PNG."""
    figure = _figure(5.5, 3.6)
    axes = figure.subplots()
    axes.semilogx(rates, losses)
    axes.axvline(suggestion, color="tab:green", linestyle="--", label=f"suggested: {suggestion:.1e}")
    axes.set(xlabel="learning rate", ylabel="loss, smoothed (nats)", title="Loss as the rate grows")
    axes.grid(alpha=0.25)
    axes.legend()
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    """Return an empty figure of a size in inches, which needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
