"""Losses of the directions of features: alignment within a class, and uniformity over the sphere.

Source: Wang and Isola, ICML 2020 (arXiv:2005.10242); with classes in place of two views of an image, as in
GenD (arXiv:2508.06248).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from deepfake_detect.training.config import TrainingConfig

_SHARPNESS = 2.0  # t of the uniformity
_LEAST = 1e-6  # of the mean potential: identical features would have the logarithm of 1, far ones of 0


def alignment_loss(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of two features of one class, float32 (); 0 without a pair.

    Args:
        features: float32 (N, F), of length 1.
        labels: (N,), the class of each.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> [float(alignment_loss(features, torch.tensor(labels))) for labels in ([0, 0, 1], [0, 1, 0])]
        [2.0, 0.0]
    """
    first, second = _pairs(len(features), features.device)
    is_same = (labels[first] == labels[second]).float()
    distances = (features[first] - features[second]).square().sum(1)  # (pairs,)
    return (distances * is_same).sum() / is_same.sum().clamp(min=1)


def uniformity_loss(features: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the mean Gaussian potential of two features, float32 (); 0 without a pair.

    It is lowest where features of length 1, float32 (N, F), lie evenly on their sphere.

    Example:
        >>> round(float(uniformity_loss(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))), 4)
        -8.0
    """
    first, second = _pairs(len(features), features.device)
    if len(first) == 0:
        return features.new_zeros(())
    distances = (features[first] - features[second]).square().sum(1)  # (pairs,)
    return (-_SHARPNESS * distances).exp().mean().clamp(min=_LEAST).log()


class SphereLoss:
    """Both losses, weighted, of the features that a network's head was last given.

    Args:
        head: The network's head; its input is kept at each forward pass.
        alignment, uniformity: Weights of the losses.
    """

    def __init__(self, head: nn.Module, *, alignment: float, uniformity: float) -> None:
        self._alignment, self._uniformity = alignment, uniformity
        self._features: torch.Tensor | None = None
        head.register_forward_pre_hook(self._keep)

    @classmethod
    def of(cls, config: TrainingConfig, model: Any) -> SphereLoss | None:
        """Return the losses that the options ask for, of a network of ``create_model``."""
        if not (config.alignment or config.uniformity):
            return None
        return cls(model.head, alignment=config.alignment, uniformity=config.uniformity)

    def of_batch(self, targets: torch.Tensor) -> torch.Tensor:
        """Return the weighted losses float32 () of the batch that went through the network last.

        Args:
            targets: float32 (N,), 1 = fake.
        """
        assert self._features is not None, "the network was not run"
        features = nn.functional.normalize(self._features.float(), dim=1)
        self._features = None
        found = features.new_zeros(())
        if self._alignment:
            found = found + self._alignment * alignment_loss(features, targets > 0.5)
        if self._uniformity:
            found = found + self._uniformity * uniformity_loss(features)
        return found

    def _keep(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._features = inputs[0]


def _pairs(count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the indices of both members of every pair, int64 (count * (count - 1) / 2,) each."""
    first, second = torch.triu_indices(count, count, offset=1, device=device)
    return first, second
