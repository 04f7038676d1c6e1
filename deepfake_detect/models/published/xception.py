"""The parts of timm's Xception that published detectors run one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def xception(*, in_chans: int = 3) -> Any:
    """Return timm's Xception without its last layer: images (N, in_chans, H, W) to features (N, 2048).

    Source: Chollet 2017, arXiv:1610.02357, in the names of Cadene/pretrained-models.pytorch.
    """
    import timm

    return timm.create_model("legacy_xception", num_classes=0, in_chans=in_chans)


def blocks(network: Any, first: int, last: int, maps: torch.Tensor) -> torch.Tensor:
    """Run the residual blocks ``first`` to ``last``, of 1 to 12."""
    for number in range(first, last + 1):
        maps = getattr(network, f"block{number}")(maps)
    return maps


def first_layers(network: Any, images: torch.Tensor) -> torch.Tensor:
    """Run the two convolutions before the blocks."""
    maps = network.act1(network.bn1(network.conv1(images)))
    return network.act2(network.bn2(network.conv2(maps)))  # type: ignore[no-any-return]


def last_layers(network: Any, maps: torch.Tensor) -> torch.Tensor:
    """Run the two convolutions after the blocks, without the activation after the second."""
    maps = network.act3(network.bn3(network.conv3(maps)))
    return network.bn4(network.conv4(maps))  # type: ignore[no-any-return]


def pooled(maps: torch.Tensor) -> torch.Tensor:
    """Return the mean (N, C) of maps (N, C, H, W)."""
    return nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1)
