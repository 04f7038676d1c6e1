"""How a step changes the weights: optimizers, learning rates over time, averaged weights, SAM.

The optimizers are timm's. The rest is not, because results would change: timm's schedulers start their
warm-up elsewhere and keep a state, while a factor that depends on the position only resumes anywhere
in a run; its layer decay groups by its own matcher and exempts biases from weight decay; its moving
average needs the step counted by the caller, torch's keeps the count in the state that a run resumes from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # exported, but not marked so
from torch import nn
from torch.optim.swa_utils import AveragedModel

from deepfake_detect.training.config import Optimizer, Schedule, TrainingConfig
from deepfake_detect.training.finetune import Part

_WARMUP = 0.1  # fraction of the stage
_ONE_CYCLE_WARMUP, _ONE_CYCLE_START, _ONE_CYCLE_END = 0.3, 1 / 25, 1e-4
_PLATEAU_EPOCHS, _PLATEAU_FACTOR = 2, 1 / 3
# timm's "sgd" has Nesterov's momentum, its "momentum" the classical one.
_TIMM_NAMES: dict[Optimizer, str] = {"sgd": "momentum"}


def make_optimizer(parts: Sequence[Part], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a stage; each part is a group with its peak learning rate ``peak_lr``."""
    head_lr = config.head_learning_rate
    if len(parts) > 1 and config.tuned_head_learning_rate is not None:
        head_lr = config.tuned_head_learning_rate
    groups = [{"params": list(part.parameters), "peak_lr": peak_lr(part, config, head_lr)} for part in parts]
    name = _TIMM_NAMES.get(config.optimizer, config.optimizer)
    return create_optimizer_v2(groups, name, weight_decay=config.weight_decay)


def peak_lr(part: Part, config: TrainingConfig, head_lr: float) -> float:
    """Return the highest learning rate of a part; with layer decay, lower blocks learn more slowly."""
    if part.is_head:
        return head_lr
    return config.learning_rate * config.layer_decay**part.depth


def lr_factor(schedule: Schedule, position: float) -> float:
    """Return the learning rate relative to its peak.

    Args:
        schedule: ``cosine``: a linear warm-up over the first tenth, then half a cosine down to 0.
            ``one-cycle``: up from a 25th over the first three tenths by half a cosine, then down to
            a ten-thousandth (the defaults of torch's OneCycleLR). Others: 1.
        position: Fraction of the stage that is done, 0 to 1.

    Example:
        >>> [round(lr_factor("cosine", position), 2) for position in (0, 0.1, 0.55, 1)]
        [0.09, 1.0, 0.5, 0.0]
    """
    if schedule == "cosine":
        if position < _WARMUP:
            return (position + 0.01) / (_WARMUP + 0.01)
        return _half_cosine(1.0, 0.0, (position - _WARMUP) / (1 - _WARMUP))
    if schedule == "one-cycle":
        if position < _ONE_CYCLE_WARMUP:
            return _half_cosine(_ONE_CYCLE_START, 1.0, position / _ONE_CYCLE_WARMUP)
        return _half_cosine(1.0, _ONE_CYCLE_END, (position - _ONE_CYCLE_WARMUP) / (1 - _ONE_CYCLE_WARMUP))
    return 1.0


def plateau_factor(aucs: Sequence[float]) -> float:
    """Return the learning rate relative to its peak after epochs with these validation AUCs: a third
    each time two epochs have passed without a better one.

    Example:
        >>> [round(plateau_factor(aucs), 2) for aucs in ([0.6, 0.7], [0.7, 0.6, 0.6], [0.7] + [0.6] * 4)]
        [1.0, 0.33, 0.11]
    """
    factor, best, num_waited = 1.0, -math.inf, 0
    for auc in aucs:
        num_waited = 0 if auc > best else num_waited + 1
        best = max(best, auc)
        if num_waited == _PLATEAU_EPOCHS:
            factor, num_waited = factor * _PLATEAU_FACTOR, 0
    return factor


def num_unfrozen(num_parts: int, epochs_done: float, unfreeze_epochs: float) -> int:
    """Return how many parts (the head, then blocks from the top) are trained after so many epochs.

    Example:
        >>> [num_unfrozen(5, epochs, unfreeze_epochs=2.0) for epochs in (0, 0.5, 1, 2)]
        [2, 2, 3, 5]
    """
    if num_parts <= 2 or unfreeze_epochs <= 0:
        return num_parts
    return min(num_parts, 2 + int((num_parts - 2) * epochs_done / unfreeze_epochs + 1e-9))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model that follows it as an exponential moving average of its weights.

    The average is short at first, over a tenth of the steps that are done, so that it soon forgets
    the initial weights. Batch-norm statistics are copied: they are averages already.
    """

    @torch.no_grad()
    def update(averages: Any, weights: Any, num_averaged: Any) -> None:  # torch's own signature
        steps = float(num_averaged)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + steps) / (10 + steps)))

    return AveragedModel(model, multi_avg_fn=update)  # type: ignore[no-untyped-call]


class SharpnessAware:
    """Sharpness-aware minimization (Foret et al. 2020, arXiv:2010.01412): takes the gradient where the
    loss is highest nearby.

    Args:
        parameters: What is trained.
        radius: How far away, in units of the weights (rho).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], radius: float) -> None:
        self._parameters = list(parameters)
        self._radius = radius
        self._before: list[tuple[nn.Parameter, torch.Tensor]] = []

    @torch.no_grad()
    def first_step(self) -> None:
        """Move the weights along their gradients to where the loss is highest; clear the gradients."""
        gradients = [(p, p.grad) for p in self._parameters if p.grad is not None]
        norm = torch.stack([grad.norm() for _, grad in gradients]).norm() + 1e-12
        self._before = [(parameter, parameter.clone()) for parameter, _ in gradients]
        for parameter, gradient in gradients:
            parameter.add_(gradient, alpha=float(self._radius / norm))
            parameter.grad = None

    @torch.no_grad()
    def second_step(self) -> None:
        """Move the weights back, and keep the gradients."""
        for parameter, before in self._before:
            parameter.copy_(before)  # exactly: adding and subtracting would round
        self._before = []


def _half_cosine(start: float, end: float, position: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, position)))
