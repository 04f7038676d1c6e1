"""The picture of a training run: losses and validation AUC over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.files import atomic_path

if TYPE_CHECKING:
    from deepfake_detect.training.loop import EpochRecord


def save_history_figure(history: Sequence[EpochRecord], path: Path) -> None:
    """Draw losses (left) and validation AUC (right) by epoch, and mark where the stages change.

    Args:
        history: Records of the epochs, at least one.
        path: PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, areas = figure.subplots(1, 2)
    epochs = [record.epoch for record in history]
    losses.plot(epochs, [record.train_loss for record in history], "o-", label="training (smoothed labels)")
    losses.plot(epochs, [record.val_loss for record in history], "s-", label="validation")
    losses.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss")
    areas.plot(epochs, [record.val_frame_auc for record in history], "o-", label="crops")
    areas.plot(epochs, [record.val_video_auc for record in history], "s-", label="videos (selects)")
    best = max(history, key=lambda record: (record.val_video_auc, -record.epoch))
    areas.plot(best.epoch, best.val_video_auc, "*", markersize=15, color="tab:green", label="selected")
    areas.axhline(0.5, color="grey", linewidth=0.8, linestyle=":", label="chance")
    areas.set(xlabel="epoch", ylabel="area under the ROC curve", title="Validation AUC")
    switches = [
        later.epoch - 0.5
        for earlier, later in zip(history, history[1:], strict=False)
        if earlier.stage != later.stage
    ]
    for axes in (losses, areas):
        for position in switches:
            axes.axvline(position, color="grey", linestyle="--", linewidth=0.8, label="backbone unfrozen")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
