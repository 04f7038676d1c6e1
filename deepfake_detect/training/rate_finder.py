"""Learning rate range test: the loss while the rate grows with each step (Smith 2015, arXiv:1506.01186)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from deepfake_detect.data.crops import CropBatch
from deepfake_detect.device import choose_device, keep_freed_memory
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.progress import progress_bar
from deepfake_detect.report.history import save_rate_figure
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import CropDataModule, chosen_rows, training_splits
from deepfake_detect.training.finetune import freeze, set_modes, trained_parts
from deepfake_detect.training.forged import make_blender
from deepfake_detect.training.losses import TrainingLoss
from deepfake_detect.training.optimization import make_optimizer
from deepfake_detect.training.prepare import create_network

_LOWEST, _HIGHEST = 1e-7, 1.0
_SMOOTHING = 0.9
_DIVERGED = 4.0  # times the lowest loss
_MIN_STEPS = 20


@dataclass(frozen=True, eq=False)
class RateSearch:
    """The result of a search.

    Attributes:
        rates: float64 (S,), the learning rate of each step.
        losses: float64 (S,), smoothed over steps, in nats.
        suggestion: A third of the rate at which the loss fell fastest.
        figure: The PNG that was written; ``None`` without one.
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float
    figure: Path | None = None

    def summary(self) -> str:
        """Return the suggestion as a line."""
        wrote = "" if self.figure is None else f"; wrote {self.figure}"
        return f"suggested peak learning rate {self.suggestion:.1e}{wrote}"


def find_learning_rate(
    config: TrainingConfig,
    *,
    num_steps: int = 100,
    figure: Path | None = None,
    show_progress: bool = True,
) -> RateSearch:
    """Train with a learning rate that grows from 1e-7 to 1, and stop when the loss explodes.

    Everything that the finetune mode trains has the same rate, lower blocks less by ``layer_decay``.
    The loss is that of the labels, also with teachers.

    Args:
        config: Options of the run.
        num_steps: Steps at most; batches repeat when an epoch has fewer.
        figure: PNG of the losses to write; ``None`` writes nothing.
        show_progress: Whether to show a progress bar.

    Raises:
        OptionError: ``num_steps`` is below 20.
    """
    if num_steps < _MIN_STEPS:
        raise OptionError("num_steps", f"is {num_steps}", f"must be {_MIN_STEPS} or more")
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(config.seed)
    model = create_network(config).to(device)
    parts = trained_parts(model, config.finetune, top_blocks=config.top_blocks)
    freeze(model, parts)
    set_modes(model, parts, adapts=config.batchnorm == "adapt")
    optimizer, loss = make_optimizer(parts, config), TrainingLoss(config)
    rates = np.geomspace(_LOWEST, _HIGHEST, num_steps)
    losses: list[float] = []
    train_rows, val_rows = training_splits(chosen_rows(config), config)
    data = CropDataModule(
        config,
        train_rows,
        val_rows,
        preprocessing=model.spec.preprocessing,
        pins_memory=device.type == "cuda",
        blender=make_blender(config, train_rows, show_progress=show_progress),
    )
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("learning rate", total=num_steps, note="")
        for rate, batch in zip(rates, _endless(config, data), strict=False):
            for part, group in zip(parts, optimizer.param_groups, strict=True):
                group["lr"] = rate * config.layer_decay**part.depth
            lengths = () if batch.lengths is None else (batch.lengths.to(device),)
            value = loss(model(batch.images.to(device), *lengths), batch.labels.to(device))
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(value.detach()))
            progress.update(task, advance=1, note=f"rate {rate:.1e}, loss {losses[-1]:.3f}")
            smooth = smoothed(losses)
            if not math.isfinite(losses[-1]) or smooth[-1] > _DIVERGED * smooth.min():
                break
    search = search_of(rates[: len(losses)], np.array(losses))
    if figure is not None:
        save_rate_figure(search.rates, search.losses, search.suggestion, figure)
    return replace(search, figure=figure)


def search_of(rates: np.ndarray, losses: np.ndarray) -> RateSearch:
    """Return the search with these losses (S,), as measured, at these rates (S,).

    Raises:
        OptionError: Fewer than two of them are finite.

    Example:
        >>> rates = np.geomspace(1e-6, 1, 7)
        >>> search_of(rates, np.array([0.7, 0.7, 0.69, 0.5, 0.2, 0.19, 3])).suggestion < 0.01
        True
    """
    is_finite = np.isfinite(losses)
    if is_finite.sum() < 2:
        raise OptionError("learning rate", "the loss is not finite from the first step on", "check the crops")
    rates, smooth = rates[is_finite], smoothed(losses[is_finite])
    until_lowest = max(2, int(np.argmin(smooth)) + 1)
    slopes = np.gradient(smooth[:until_lowest], np.log(rates[:until_lowest]))
    # The mean of the first few losses is hardly smooth yet.
    first = min(len(rates) // 10, until_lowest - 1)
    return RateSearch(rates, smooth, float(rates[first + int(np.argmin(slopes[first:]))] / 3))


def smoothed(losses: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the exponential mean of losses up to each step, unbiased at the beginning."""
    mean, values = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * float(loss)
        values.append(mean / (1 - _SMOOTHING**step))
    return np.array(values)


def _endless(config: TrainingConfig, data: CropDataModule) -> Iterator[CropBatch]:
    """Yield training batches, epoch after epoch."""
    for epoch in itertools.count(1):
        num_readable = 0
        for batch in data.train_batches(epoch):
            num_readable += len(batch.rows)
            if len(batch.rows) > 1:  # batch norm needs two
                yield batch
        if num_readable < 2:
            cause = "its training crops cannot be read"
            raise ManifestError(config.manifest, cause, "extract the videos again")
