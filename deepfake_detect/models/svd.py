"""Fine-tuning of weak singular directions (Effort, Yan et al. 2025, arXiv:2411.15633).

A layer's weight is split by its singular values. The strong directions hold what pretraining knows and
stay frozen; only the weakest are trained, so that the new task finds its place beside that knowledge.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.lora import changeable_layers, has_updates


class SVDUpdate(nn.Module):
    """``principal + left @ diag(strength) @ right``, with the weight seen as outputs x inputs.

    Args:
        weight: Of a layer; what is trained of it starts as its weakest singular directions.
        rank: How many directions are trained, fewer than the weight has.
    """

    def __init__(self, weight: torch.Tensor, *, rank: int) -> None:
        super().__init__()
        left, strength, right = torch.linalg.svd(weight.detach().flatten(1), full_matrices=False)
        self.left = nn.Parameter(left[:, -rank:].contiguous())  # (outputs, rank)
        self.strength = nn.Parameter(strength[-rank:].contiguous())  # (rank,)
        self.right = nn.Parameter(right[-rank:].contiguous())  # (rank, inputs)

    def residual(self, shape: torch.Size) -> torch.Tensor:
        """Return what the trained directions add to the weight."""
        return ((self.left * self.strength) @ self.right).reshape(shape)

    def forward(self, principal: torch.Tensor) -> torch.Tensor:
        return principal + self.residual(principal.shape)


def add_svd(model: ForgeryClassifier, rank: int = 1) -> None:
    """Freeze a network's encoder except for the weakest singular directions of its layers, in place.

    In transformers these are the layers of attention, as in Effort, whose query, key and value timm has in
    one; in other networks all linear layers and convolutions, except grouped ones. The network's output
    does not change before the first step. :func:`lora.merge_updates` makes plain layers of them again.

    Args:
        model: Of ``create_model`` or ``create_sequence_model``.
        rank: Directions of each layer that are trained; a layer that has no more is left frozen.

    Raises:
        OptionError: ``rank`` is below 1, or the network has such updates already or no layer for them.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> model = create_model("test_vit")
        >>> add_svd(model)
        >>> sum(p.numel() for p in model.encoder.parameters() if p.requires_grad)
        2316
    """
    if rank < 1:
        raise OptionError("rank", f"is {rank}", "must be 1 or more")
    if has_updates(model):
        raise OptionError("model", "has updates already", "call merge_updates first")
    layers = {name: one for name, one in changeable_layers(model) if min(one.weight.flatten(1).shape) > rank}
    of_attention = {name: one for name, one in layers.items() if "attn" in name.split(".")}
    if not layers:
        raise OptionError("model", f"has no layer of more than {rank} directions", "choose another mode")
    model.encoder.requires_grad_(False)
    for layer in (of_attention or layers).values():
        update = SVDUpdate(layer.weight, rank=rank)
        with torch.no_grad():
            layer.weight.sub_(update.residual(layer.weight.shape))
        parametrize.register_parametrization(layer, "weight", update)
