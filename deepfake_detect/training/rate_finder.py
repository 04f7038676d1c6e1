"""How high a learning rate a run bears: the loss while the rate grows from step to step.

Smith 2015, arXiv:1506.01186.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.crops import CropBatch
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.device import choose_device, keep_freed_memory
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.progress import progress_bar
from deepfake_detect.training.build import create_network
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import CropDataModule, training_splits
from deepfake_detect.training.finetune import freeze, set_modes, trained_parts
from deepfake_detect.training.forged import make_blender
from deepfake_detect.training.losses import loss_from_config
from deepfake_detect.training.optimization import make_optimizer

_LOWEST, _HIGHEST = 1e-7, 1.0
_SMOOTHING = 0.9
_DIVERGED = 4.0  # times the lowest loss
_FEWEST_STEPS = 20


@dataclass(frozen=True, eq=False)
class RateSearch:
    """What a search found.

    Attributes:
        rates: float64 (S,), the learning rate of each step.
        losses: float64 (S,), smoothed over steps, in nats.
        suggestion: A third of the rate at which the loss fell fastest.
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float


def find_learning_rate(
    config: TrainingConfig, *, num_steps: int = 100, show_progress: bool = True
) -> RateSearch:
    """Train for some steps with a rate that grows from 1e-7 to 1, and stop where the loss explodes.

    Everything that the regime trains has the same rate, layers below the head less by
    ``layer_decay``. The loss is that of the labels, also where there are teachers. Nothing is written.

    Args:
        config: Of the run.
        num_steps: At most; batches come again when an epoch has fewer.
        show_progress: Whether to draw a progress bar.

    Raises:
        OptionError: ``num_steps`` is below 20.
    """
    if num_steps < _FEWEST_STEPS:
        raise OptionError("num_steps", f"is {num_steps}", f"pass {_FEWEST_STEPS} or more")
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(config.seed)
    model = create_network(config).to(device)
    parts = trained_parts(model, config.finetune, top_blocks=config.top_blocks)
    freeze(model, parts)
    set_modes(model, parts, adapts=config.batchnorm == "adapt")
    optimizer = make_optimizer(parts, config)
    rates = np.geomspace(_LOWEST, _HIGHEST, num_steps)
    losses: list[float] = []
    feed = _feed(config, model, device, show_progress=show_progress)
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("learning rate", total=num_steps, note="")
        for rate, batch in zip(rates, _endless(config, feed), strict=False):
            for part, group in zip(parts, optimizer.param_groups, strict=True):
                group["lr"] = rate * config.layer_decay**part.depth
            losses.append(_step(model, optimizer, batch, device, config))
            progress.update(task, advance=1, note=f"rate {rate:.1e}, loss {losses[-1]:.3f}")
            smooth = smoothed(losses)
            if not math.isfinite(losses[-1]) or smooth[-1] > _DIVERGED * smooth.min():
                break
    return search_of(rates[: len(losses)], np.array(losses))


def search_of(rates: np.ndarray, losses: np.ndarray) -> RateSearch:
    """Return the search that saw these losses (S,), as measured, at these rates (S,).

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


def _feed(config: TrainingConfig, model: Any, device: torch.device, *, show_progress: bool) -> CropDataModule:
    rows = read_manifest(config.manifest)
    rows = rows if config.where is None else rows.where(config.where)
    train_rows, val_rows = training_splits(rows, config)
    return CropDataModule(
        config,
        train_rows,
        val_rows,
        preprocessing=model.spec.preprocessing,
        rank=0,
        num_processes=1,
        pins_memory=device.type == "cuda",
        blender=make_blender(config, train_rows, keep=False, show_progress=show_progress),
    )


def _endless(config: TrainingConfig, feed: CropDataModule) -> Iterator[CropBatch]:
    """Yield training batches, epoch after epoch."""
    for epoch in itertools.count(1):
        num_readable = 0
        for batch in feed.train_batches(epoch):
            num_readable += len(batch.rows)
            if len(batch.rows) > 1:  # batch norm needs two
                yield batch
        if num_readable < 2:
            raise ManifestError(config.manifest, "its training crops cannot be read", "extract again")


def _step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    batch: CropBatch,
    device: torch.device,
    config: TrainingConfig,
) -> float:
    lengths = () if batch.lengths is None else (batch.lengths.to(device),)
    logits = model(batch.images.to(device), *lengths)
    loss = loss_from_config(config, logits, batch.labels.to(device), fake_weight=1.0)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())
