"""Face forgery detection from the residuals of SRM filters next to colors, with two Xceptions.

Source: Luo et al. 2021, "Generalizing face forgery detection with high-frequency features",
arXiv:2103.12376. The filters are three of the spatial rich model (Fridrich and Kodovsky 2012, "Rich models
for steganalysis of digital images"), as in Zhou et al. 2018, arXiv:1805.04953.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import conv2d

from deepfake_detect.models.published.xception import blocks, last_layers, pooled, xception

_CLIP = 3.0  # residuals are cut off here
_SECOND_DIFFERENCE = torch.tensor([1.0, -2.0, 1.0])
_SQUARE_5 = torch.tensor([[-1.0, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2]])


def srm_filters() -> torch.Tensor:
    """Return the three filters (3, 5, 5): a square of side 3, a square of side 5, and a horizontal line.

    Example:
        >>> bool((srm_filters().sum((1, 2)).abs() < 1e-6).all())
        True
    """
    filters = torch.zeros(3, 5, 5)
    filters[0, 1:4, 1:4] = -torch.outer(_SECOND_DIFFERENCE, _SECOND_DIFFERENCE) / 4
    filters[1] = torch.cat([_SQUARE_5, _SQUARE_5[:2].flip(0)]) / 12
    filters[2, 2, 1:4] = _SECOND_DIFFERENCE / 2
    return filters


class SRMNetwork(nn.Module):
    """Two Xceptions, of colors and of residuals, that attend to each other: (N, 3, 256, 256) to (N, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb, self.srm = xception(), xception()
        self.residual = _Residual()
        self.residual1, self.residual2 = _MapResidual(32), _MapResidual(64)
        self.attention = _ResidualAttention()
        self.attended = nn.Sequential(nn.BatchNorm2d(64), nn.ReLU())
        self.exchange1, self.exchange2 = _Exchange(728), _Exchange(728)
        self.fusion = _Fusion(2048)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        x, y = self._first(images)
        for first, last, exchange in ((1, 3, self.exchange1), (4, 7, self.exchange2)):
            x, y = exchange(blocks(self.rgb, first, last, x), blocks(self.srm, first, last, y))
        x, y = (last_layers(one, blocks(one, 8, 12, maps)) for one, maps in ((self.rgb, x), (self.srm, y)))
        return self.fusion(x, y)  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return pooled(self.forward_features(images).relu())

    def _first(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return maps of the colors and of the residuals after the two first convolutions."""
        rgb, srm = self.rgb, self.srm
        residual = self.residual(images)
        x = rgb.act1(rgb.bn1(rgb.conv1(images)))
        y = (srm.act1(srm.bn1(srm.conv1(residual))) + self.residual1(x)).relu()
        x = rgb.act2(rgb.bn2(rgb.conv2(x)))
        y = (srm.act2(srm.bn2(srm.conv2(y))) + self.residual2(x)).relu()
        return self.attended(x * self.attention(residual) + x), y


class _Residual(nn.Module):
    """Residuals of images: each filter over all 3 channels, (N, 3, H, W) to (N, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", srm_filters()[:, None].repeat(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return conv2d(images, self.kernel, padding=2).clamp(-_CLIP, _CLIP)  # type: ignore[arg-type]


class _MapResidual(nn.Module):
    """Residuals of each of C maps, mixed by a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", srm_filters().repeat_interleave(channels, 0)[:, None])
        self.mix = nn.Sequential(
            nn.Conv2d(3 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        residual: Any = conv2d(maps, self.kernel, padding=2, groups=maps.shape[1])  # type: ignore[arg-type]
        return self.mix(residual.clamp(-_CLIP, _CLIP))  # type: ignore[no-any-return]


class _ResidualAttention(nn.Module):
    """How much each pixel of the maps after the second convolution counts, from the residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.residual = _Residual()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.weight = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, residual: torch.Tensor) -> torch.Tensor:
        maps = self.layers(self.residual(residual))
        both = torch.cat([maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)], dim=1)
        return self.weight(both).sigmoid()  # type: ignore[no-any-return]


class _Exchange(nn.Module):
    """Attention of each of two maps (N, C, 16, 16) to the other."""

    def __init__(self, channels: int, side: int = 16, ratio: int = 8) -> None:
        super().__init__()
        narrow, positions = channels // ratio, side * side
        self.key_x, self.key_y = nn.Conv2d(channels, narrow, 1), nn.Conv2d(channels, narrow, 1)
        self.key_shared = nn.Conv2d(narrow, narrow, 1)
        self.to_x, self.to_y = nn.Linear(positions, positions), nn.Linear(positions, positions)
        self.value_x, self.value_y = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.gain_x, self.gain_y = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        keys_x, keys_y = self.key_shared(self.key_x(x)).flatten(2), self.key_shared(self.key_y(y)).flatten(2)
        likeness = keys_x.transpose(1, 2) @ keys_y  # (N, positions of x, positions of y)
        seen_by_x = self.to_x(likeness).softmax(-1).transpose(1, 2)
        seen_by_y = self.to_y(likeness.transpose(1, 2)).softmax(-1).transpose(1, 2)
        from_y = (self.value_y(y).flatten(2) @ seen_by_x).view_as(x)
        from_x = (self.value_x(x).flatten(2) @ seen_by_y).view_as(y)
        return self.gain_x * from_y + x, self.gain_y * from_x + y


class _Fusion(nn.Module):
    """Two maps (N, C, h, w) to one, whose channels are weighted by their mean and maximum."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, channels // ratio, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // ratio, channels, 1, bias=False),
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.mix(torch.cat([x, y], dim=1))
        weights = self.weigh(maps.mean((2, 3), keepdim=True)) + self.weigh(maps.amax((2, 3), keepdim=True))
        return maps * weights.sigmoid()  # type: ignore[no-any-return]
