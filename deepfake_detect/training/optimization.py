"""How a step moves the weights: optimizers, learning rates over time, averaged weights, SAM."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from deepfake_detect.training.config import Schedule, TrainingConfig
from deepfake_detect.training.finetune import Part

_WARMUP_SHARE = 0.1
_ONE_CYCLE_WARMUP, _ONE_CYCLE_START, _ONE_CYCLE_END = 0.3, 1 / 25, 1e-4
_PLATEAU_EPOCHS, _PLATEAU_FACTOR = 2, 1 / 3


def make_optimizer(parts: Sequence[Part], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a stage; each part is a group with its peak learning rate ``peak_lr``."""
    rate_of_head = config.head_learning_rate
    if len(parts) > 1 and config.tuned_head_learning_rate is not None:
        rate_of_head = config.tuned_head_learning_rate
    groups = [
        {"params": list(part.parameters), "peak_lr": peak_rate(part, config, rate_of_head)} for part in parts
    ]
    make: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "sgd": lambda params, **options: torch.optim.SGD(params, momentum=0.9, **options),
        "adadelta": torch.optim.Adadelta,
    }
    return make[config.optimizer](groups, weight_decay=config.weight_decay)


def peak_rate(part: Part, config: TrainingConfig, rate_of_head: float) -> float:
    """Return the highest learning rate of a part: lower blocks learn more slowly where asked."""
    if part.is_head:
        return rate_of_head
    return config.learning_rate * config.layer_decay**part.depth


def lr_factor(schedule: Schedule, position: float) -> float:
    """Return the learning rate over its peak.

    Args:
        schedule: ``cosine``: a linear warm-up over the first tenth, then half a cosine down to 0.
            ``one-cycle``: up from a 25th over the first three tenths by half a cosine, then down to
            a ten-thousandth (the defaults of torch's OneCycleLR). Others: 1.
        position: Share of the stage that is done, 0 to 1.

    Example:
        >>> [round(lr_factor("cosine", position), 2) for position in (0, 0.1, 0.55, 1)]
        [0.09, 1.0, 0.5, 0.0]
    """
    if schedule == "cosine":
        if position < _WARMUP_SHARE:
            return (position + 0.01) / (_WARMUP_SHARE + 0.01)
        return _half_cosine(1.0, 0.0, (position - _WARMUP_SHARE) / (1 - _WARMUP_SHARE))
    if schedule == "one-cycle":
        if position < _ONE_CYCLE_WARMUP:
            return _half_cosine(_ONE_CYCLE_START, 1.0, position / _ONE_CYCLE_WARMUP)
        return _half_cosine(1.0, _ONE_CYCLE_END, (position - _ONE_CYCLE_WARMUP) / (1 - _ONE_CYCLE_WARMUP))
    return 1.0


def plateau_factor(aucs: Sequence[float]) -> float:
    """Return the learning rate over its peak after epochs with these validation AUCs: a third of what
    it was each time two epochs have passed without a better one.

    Example:
        >>> [round(plateau_factor(aucs), 2) for aucs in ([0.6, 0.7], [0.7, 0.6, 0.6], [0.7] + [0.6] * 4)]
        [1.0, 0.33, 0.11]
    """
    share, best, waited = 1.0, -math.inf, 0
    for auc in aucs:
        waited = 0 if auc > best else waited + 1
        best = max(best, auc)
        if waited == _PLATEAU_EPOCHS:
            share, waited = share * _PLATEAU_FACTOR, 0
    return share


def num_joined(num_parts: int, epochs_done: float, unfreeze_epochs: float) -> int:
    """Return how many parts (the head, then blocks from the top) are trained after so many epochs.

    Example:
        >>> [num_joined(5, epochs, unfreeze_epochs=2.0) for epochs in (0, 0.5, 1, 2)]
        [2, 2, 3, 5]
    """
    if num_parts <= 2 or unfreeze_epochs <= 0:
        return num_parts
    return min(num_parts, 2 + int((num_parts - 2) * epochs_done / unfreeze_epochs + 1e-9))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a network that follows it as an exponential moving average of its weights.

    The average is short at first, over a tenth of the steps that are done, so that it soon forgets
    where they began. Batch-norm statistics are copied: they are averages already.
    """

    @torch.no_grad()
    def follow(averages: Any, weights: Any, num_averaged: Any) -> None:
        steps = float(num_averaged)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + steps) / (10 + steps)))

    return AveragedModel(model, multi_avg_fn=follow)  # type: ignore[no-untyped-call]


class SharpnessAware:
    """Sharpness-aware minimization (Foret et al. 2020, arXiv:2010.01412): the gradient is taken where
    the loss is highest nearby.

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
        """Move the weights along their gradients to where the loss is highest; forget the gradients."""
        gradients = [(p, p.grad) for p in self._parameters if p.grad is not None]
        norm = torch.stack([grad.norm() for _, grad in gradients]).norm() + 1e-12
        self._before = [(parameter, parameter.clone()) for parameter, _ in gradients]
        for parameter, gradient in gradients:
            parameter.add_(gradient, alpha=float(self._radius / norm))
            parameter.grad = None

    @torch.no_grad()
    def second_step(self) -> None:
        """Move the weights back; the gradients stay those of where they were."""
        for parameter, before in self._before:
            parameter.copy_(before)  # exactly: adding and subtracting would leave a trace
        self._before = []


def _half_cosine(start: float, end: float, position: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, position)))
