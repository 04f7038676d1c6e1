"""LoRA (Hu et al. 2021, arXiv:2106.09685): small matrices added to an encoder's frozen weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import ForgeryClassifier


class LoRAUpdate(nn.Module):
    """``weight + up @ down * alpha / rank``, with the weight seen as outputs x inputs.

    ``up`` starts at 0, so that nothing changes before the first step.
    """

    def __init__(self, weight: torch.Tensor, *, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(weight.new_empty(rank, inputs))
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + (self.up @ self.down).reshape(weight.shape) * self.scale


def add_lora(model: ForgeryClassifier, rank: int = 8, alpha: float = 16) -> None:
    """Freeze a network's encoder and add LoRA's matrices to its layers, in place.

    Linear layers and convolutions get them, except grouped convolutions, whose weights are small
    already. The network's output does not change before the first step.

    Args:
        model: Of ``create_model`` or ``create_sequence_model``.
        rank: Inner dimension of the two matrices of a layer.
        alpha: They are multiplied by ``alpha / rank``.

    Raises:
        OptionError: ``rank`` or ``alpha`` is out of range, or the network has LoRA already or no layer
            that could have it.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> model = create_model("resnet18")
        >>> add_lora(model, rank=4)
        >>> trained = [p for p in model.encoder.parameters() if p.requires_grad]
        >>> sum(p.numel() for p in trained) < 0.05 * sum(p.numel() for p in model.parameters())
        True
        >>> merge_updates(model)
    """
    if rank < 1:
        raise OptionError("rank", f"is {rank}", "must be 1 or more")
    if not alpha > 0:
        raise OptionError("alpha", f"is {alpha}", "must be above 0")
    if has_updates(model):
        raise OptionError("model", "has LoRA already", "call merge_updates first")
    layers = [layer for _, layer in changeable_layers(model)]
    if not layers:
        raise OptionError("model", "has no layer that could have LoRA", "choose another finetune mode")
    model.encoder.requires_grad_(False)
    for layer in layers:
        update = LoRAUpdate(layer.weight, rank=rank, alpha=alpha)
        parametrize.register_parametrization(layer, "weight", update)


def merge_updates(model: ForgeryClassifier) -> None:
    """Add the updates of LoRA, or of :mod:`models.svd`, to the weights, in place, and remove them.

    The network computes the same, up to rounding, and frozen weights stay frozen. A network without
    updates is unchanged.
    """
    for layer in _updated_layers(model):
        merged, weight = layer.weight.detach(), layer.parametrizations.weight.original
        # Not torch's remove_parametrizations: it changes the class of the layer, which a deep copy of
        # the network has in common, and so would break the original.
        del layer.parametrizations
        layer.__class__ = type(layer).__bases__[0]
        layer.weight = weight
        with torch.no_grad():
            weight.copy_(merged)


def changeable_layers(model: ForgeryClassifier) -> list[tuple[str, Any]]:
    """Return name and layer of the encoder's linear layers and convolutions, except grouped ones."""
    return [
        (name, layer)
        for name, layer in model.encoder.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    ]


def has_updates(model: ForgeryClassifier) -> bool:
    """Return whether layers of the encoder have updates that are not merged."""
    return bool(_updated_layers(model))


def _updated_layers(model: ForgeryClassifier) -> list[Any]:
    return [layer for layer in model.encoder.modules() if parametrize.is_parametrized(layer, "weight")]
