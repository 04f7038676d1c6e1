"""Conversion between pixels and the range of a generator's tanh."""

from __future__ import annotations

import torch

_HALF_WHITE = 127.5


def to_tanh_range(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images of any shape as float32 in [-1, 1], the range of a tanh.

    Example:
        >>> to_tanh_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
        [-1.0, 1.0]
    """
    return images.float() / _HALF_WHITE - 1


def from_tanh_range(values: torch.Tensor) -> torch.Tensor:
    """Return floats in [-1, 1] as uint8, rounded; the inverse of :func:`to_tanh_range`."""
    return ((values.float() + 1) * _HALF_WHITE).round().clamp(0, 255).to(torch.uint8)
