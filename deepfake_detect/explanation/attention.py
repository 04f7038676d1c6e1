"""Relevance of a transformer's patches for an output, from its attention and that one's gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.layers import network_of


def attention_relevance(
    model: ForgeryClassifier, images: torch.Tensor, score: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """Return how much each patch matters, after Chefer et al. 2021, arXiv:2103.15679.

    In each block, each head's attention is multiplied by its gradient, negative values are set to zero,
    and the relevance accumulated so far is propagated by the result. Relevance is read where the network
    reads its output: at the class token, or at the mean of the patches.

    Args:
        model: In evaluation mode.
        images: float32 (N, 3, H, W), on its device.
        score: From the images to the sum of the target's outputs.

    Returns:
        float32 (N, h, w), 0 or more, one value per patch.

    Raises:
        OptionError: The network has no attention over the whole image.
    """
    images = images.detach().requires_grad_()
    with _attention(model) as attention, torch.enable_grad():
        total = score(images)
        maps = list(attention)
    shapes = {tuple(one.shape) for one in maps}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 4 or shape[0] != len(images):
        cause = f"{model.spec.backbone} has no attention over the whole image"
        raise OptionError("method", cause, "must be gradcam, gradcam++ or scorecam")
    relevance = torch.eye(shape[-1], device=images.device).expand(len(images), -1, -1)  # (N, L, L)
    for one, gradient in zip(maps, torch.autograd.grad(total, maps), strict=True):
        propagated = (one.detach() * gradient).clamp(min=0).mean(1)  # (N, L, L)
        relevance = relevance + propagated @ relevance
    height, width, _ = model.feature_shape(*images.shape[-2:])
    first = shape[-1] - height * width
    reads_class = getattr(network_of(model), "global_pool", "avg") == "token"
    reading = relevance[:, 0] if reads_class else relevance[:, first:].mean(1)  # (N, L)
    grid: np.ndarray = reading[:, first:].reshape(-1, height, width).float().cpu().numpy()
    return grid


@contextmanager
def _attention(model: ForgeryClassifier) -> Iterator[list[torch.Tensor]]:
    """Yield a list that holds each block's attention (N, heads, L, L) once the network has run."""
    found: list[torch.Tensor] = []
    with ExitStack() as stack:
        layer: Any
        for layer in network_of(model).modules():
            drop = getattr(layer, "attn_drop", None)
            if not isinstance(drop, nn.Module) or not hasattr(layer, "fused_attn"):
                continue
            # The fused computation does not expose the attention.
            stack.callback(setattr, layer, "fused_attn", layer.fused_attn)
            layer.fused_attn = False
            stack.callback(drop.register_forward_hook(lambda *call: found.append(call[2])).remove)
        yield found
