"""Score-CAM in bounded memory: pytorch-grad-cam's holds all masked copies of an image at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_grad_cam import ScoreCAM
from torch import nn

_MASKS_AT_ONCE = 32
_LEAST_CONTRAST = 1e-8


class BoundedScoreCAM(ScoreCAM):  # type: ignore[misc]
    """Score-CAM of Wang et al. 2020, arXiv:1910.01279, a few masks at a time.

    The weight of a channel is the rise of the target when the image is masked with its map.
    """

    def get_cam_weights(
        self,
        input_tensor: torch.Tensor,
        target_layer: nn.Module,
        targets: Sequence[Callable[[torch.Tensor], torch.Tensor]],
        activations: np.ndarray,
        grads: Any,
    ) -> np.ndarray:
        """Return weights (N, channels) of activations (N, channels, h, w); each row sums to 1."""
        rows = []
        for image, target, maps in zip(input_tensor, targets, activations, strict=True):
            scores: list[torch.Tensor] = []
            for some in torch.split(torch.from_numpy(maps).to(image), _MASKS_AT_ONCE):
                masks = nn.functional.interpolate(some[:, None], size=image.shape[-2:], mode="bilinear")
                low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
                with torch.no_grad():
                    outputs = self.model(image * ((masks - low) / (high - low + _LEAST_CONTRAST)))
                self.activations_and_grads.clear()  # else its hooks keep the maps of every masked copy
                scores += map(target, outputs)
            rows.append(torch.stack(scores).float().softmax(0).cpu().numpy())
        return np.stack(rows)
