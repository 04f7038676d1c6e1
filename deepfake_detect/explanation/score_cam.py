"""Score-CAM in bounded memory: pytorch-grad-cam's holds all masked copies of an image at once, a
gigabyte for 1,280 channels, and shows a progress bar for each image.
"""

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
        with torch.no_grad():
            for image, target, maps in zip(input_tensor, targets, activations, strict=True):
                scores = [
                    target(output)
                    for some in torch.split(torch.from_numpy(maps).to(image), _MASKS_AT_ONCE)
                    for output in self._outputs(image, some)
                ]
                rows.append(torch.stack(scores).float().softmax(0).cpu().numpy())
        return np.stack(rows)

    def _outputs(self, image: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Return the network's outputs for an image (C, H, W) seen through each of maps (k, h, w)."""
        masks = nn.functional.interpolate(maps[:, None], size=image.shape[-2:], mode="bilinear")
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        outputs: torch.Tensor = self.model(image * ((masks - low) / (high - low + _LEAST_CONTRAST)))
        self.activations_and_grads.clear()  # else its hooks keep the maps of every masked copy
        return outputs
