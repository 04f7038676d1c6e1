"""Curves of a GAN's training, from its history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detect.report.drawing import COLORS, new_figure, save_png, style_axes

if TYPE_CHECKING:
    from deepfake_detect.lab.gan.step import StepRecord
    from deepfake_detect.report.drawing import Axes

_MAX_POINTS = 200


def save_gan_figure(history: Sequence[StepRecord], path: Path, *, title: str) -> None:
    """Plot the losses of both networks and the discriminator's accuracy over the steps.

    Each of at most 200 points is the mean over an interval of steps; the bands are its 10th to 90th
    percentiles. At the 50% line the discriminator cannot distinguish generated from real images.

    Args:
        history: One record per step, at least one.
        path: PNG to write.
        title: Of the figure.
    """
    steps, loss_d, loss_g, on_real, on_fake = np.array(history, float).T
    figure = new_figure(10.5, 4.0)
    losses, accuracies = figure.subplots(1, 2)
    for values, name, color in (
        (loss_d, "discriminator", COLORS[0]),
        (loss_g, "generator", COLORS[1]),
    ):
        _plot(losses, steps, values, name, color, has_band=True)
    losses.set(xlabel="step", ylabel="loss")
    losses.set_title("Losses", loc="left", weight="bold")
    for values, name, color in (
        (on_real, "real images", COLORS[2]),
        (on_fake, "generated images", COLORS[3]),
        ((on_real + on_fake) / 2, "mean", COLORS[0]),
    ):
        _plot(accuracies, steps, 100 * values, name, color, has_band=name == "mean")
    accuracies.axhline(50, color="#7F7F7F", linestyle="--", linewidth=1, label="50%: equilibrium")
    accuracies.set(xlabel="step", ylabel="accuracy (%)", ylim=(-2, 102))
    accuracies.set_title("Accuracy of the discriminator", loc="left", weight="bold")
    for axes in (losses, accuracies):
        axes.legend(frameon=False, fontsize=8)
        style_axes(axes)
    figure.suptitle(title, parse_math=False)
    save_png(figure, path)


def _plot(
    axes: Axes, steps: np.ndarray, values: np.ndarray, name: str, color: str, *, has_band: bool
) -> None:
    parts = np.array_split(np.arange(len(steps)), min(len(steps), _MAX_POINTS))
    x = [steps[part].mean() for part in parts]
    if has_band:
        low, high = (np.array([np.quantile(values[part], q) for part in parts]) for q in (0.1, 0.9))
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(x, [values[part].mean() for part in parts], color=color, linewidth=1.6, label=name)
