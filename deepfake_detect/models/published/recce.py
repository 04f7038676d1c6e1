"""Reconstruction and classification learning (RECCE): a decoder rebuilds the face, and what it misses counts.

Source: Cao et al. 2022, "End-to-end reconstruction-classification learning for face forgery detection", CVPR.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate, unfold

from deepfake_detect.models.published.xception import blocks, first_layers, last_layers, pooled, xception

_WIDTH = 728  # channels of Xception's middle blocks


class Recce(nn.Module):
    """RECCE up to its last layer: images (N, 3, H, W) to features (N, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = xception()
        self.decoder1, self.decoder2 = _Widened(_WIDTH, 256), _block(256)
        self.decoder3, self.decoder4 = _Widened(256, 128), _block(128)
        self.decoder5, self.decoder6 = _Widened(128, 64), nn.Conv2d(64, 3, 1, bias=False)
        self.reasoning = _Reasoning()
        self.attention = _Attention()

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        maps = blocks(self.encoder, 1, 4, first_layers(self.encoder, images))
        small = self.decoder2(self.decoder1(maps))
        large = self.decoder4(self.decoder3(small))
        rebuilt = self.decoder6(self.decoder5(large)).tanh()
        maps = blocks(self.encoder, 5, 7, maps)
        maps = blocks(self.encoder, 8, 8, self.reasoning(maps, small, large) + maps)
        rebuilt = interpolate(rebuilt, size=images.shape[-2:], mode="bilinear", align_corners=True)
        maps = self.attention((images - rebuilt).abs(), maps)
        return last_layers(self.encoder, blocks(self.encoder, 9, 12, maps)).relu()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return pooled(self.forward_features(images))


def _block(channels: int) -> nn.Module:
    from timm.models.xception import Block

    return Block(channels, channels, 3)  # type: ignore[no-untyped-call,no-any-return]


class _Widened(nn.Sequential):
    """Maps of twice the size, with other channels."""

    def __init__(self, before: int, after: int) -> None:
        depthwise = nn.Sequential()
        depthwise.add_module("conv1", nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False))
        depthwise.add_module("pointwise", nn.Conv2d(before, after, 1, bias=False))
        super().__init__(nn.UpsamplingNearest2d(scale_factor=2), depthwise, nn.BatchNorm2d(after), nn.ReLU())


class _Reasoning(nn.Module):
    """Gathers for each position of the encoder's maps what the decoder's maps show there."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = _two_convolutions(_WIDTH, 256)
        self.small, self.large = _Gather(256, ratio=2), _Gather(128, ratio=4)
        self.project = _two_convolutions(3 * 256, _WIDTH)

    def forward(self, maps: torch.Tensor, small: torch.Tensor, large: torch.Tensor) -> torch.Tensor:
        embedded = self.embed(maps)
        gathered = [gather(maps, embedded, one) for gather, one in ((self.small, small), (self.large, large))]
        return self.project(torch.cat([*gathered, embedded], dim=1).sigmoid())  # type: ignore[no-any-return]


class _Gather(nn.Module):
    """For each position a weighted mean of the ``ratio`` x ``ratio`` positions of a larger map."""

    def __init__(self, channels: int, *, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.gate = nn.Conv2d(_WIDTH, 256, 1, bias=False)
        self.embed = nn.Sequential(
            nn.Linear(channels, 256, bias=False), nn.ReLU(), nn.Linear(256, 256, bias=False)
        )
        self.weigh = nn.Linear(2 * 256, 1, bias=False)

    def forward(self, maps: torch.Tensor, embedded: torch.Tensor, larger: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = larger.shape
        windows = unfold(larger, self.ratio, stride=self.ratio).view(count, channels, self.ratio**2, -1)
        parts = self.embed(windows.permute(0, 2, 3, 1))  # (N, windows' pixels, positions, 256)
        own = embedded.flatten(2).transpose(1, 2)[:, None].expand_as(parts)
        weights = self.weigh(torch.cat([own, parts], dim=-1)).relu().softmax(dim=1)
        gathered = (weights * parts).sum(1).transpose(1, 2).view_as(embedded)
        return gathered * (1 - self.gate(maps).sigmoid())  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Adds to maps what a convolution makes of them where the face was rebuilt badly."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(3, 1, 1, bias=False), nn.Sigmoid()
        )
        self.mix = nn.Sequential(nn.Conv2d(_WIDTH, _WIDTH, 1, bias=False), nn.BatchNorm2d(_WIDTH), nn.ReLU())

    def forward(self, missed: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        missed = interpolate(missed, size=maps.shape[-2:], mode="bilinear", align_corners=True)
        return self.gate(missed) * self.mix(maps) + maps  # type: ignore[no-any-return]


def _two_convolutions(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 1, bias=False), nn.ReLU(), nn.Conv2d(after, after, 1, bias=False)
    )
