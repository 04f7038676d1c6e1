"""Features of length 1."""

from __future__ import annotations

import torch
from torch import nn


class UnitLength(nn.Module):
    """Divides each feature vector by its Euclidean length."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features (N, F) of length 1."""
        return nn.functional.normalize(features, dim=1)
