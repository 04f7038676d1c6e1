"""Exporting MTCNN's networks to the ONNX files that come with the package.

The networks and their weights are those of facenet-pytorch 2.5.3 (MIT license, Tim Esler), which
converted them from David Sandberg's FaceNet (MIT license).

The graphs compute the same in another form. ONNX Runtime runs convolutions, pooling, Relu and additions
in blocks of 16 channels, and leaves that form for PRelu and Where, which took four fifths of the time.
So PRelu becomes two convolutions per channel, layers are widened to whole blocks by zero filters, and
P-Net's seams are a fourth channel of its input.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from deepfake_detect.faces.networks import original_networks
from deepfake_detect.io.files import atomic_path, make_folder
from deepfake_detect.runtimes.faces import FACE_FILES
from deepfake_detect.runtimes.onnx_files import write_onnx

_SIDES = {"mtcnn_refine.onnx": 24, "mtcnn_output.onnx": 48}
_BLOCK = 16


class _PRelu(nn.Module):
    """PReLU of a widened layer as x + (1 - slope) * relu(-x)."""

    def __init__(self, slopes: torch.Tensor) -> None:
        super().__init__()
        num_channels = _in_blocks(len(slopes))
        factors = torch.zeros(num_channels)
        factors[: len(slopes)] = 1 - slopes
        self.minus = _per_channel(-torch.ones(num_channels))
        self.scale = _per_channel(factors)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = self.scale(functional.relu(self.minus(values)))
        return values + scaled


class _PNet(nn.Module):
    """P-Net on a mosaic of frames, with its seams masked; pooling comes before the first activation.

    See :class:`faces.networks.FastPNet`: a channel x of negative slope a also needs the pooled a * x. Then
    max(x, a * x) is x + relu(a * x - x), as PReLU with a positive slope is x + (1 - a) * relu(-x).
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        slopes = network.prelu1.weight
        num_plain, bent = len(slopes), (slopes < 0).nonzero()[:, 0]
        filters, bias = network.conv1.weight, network.conv1.bias
        self.conv1 = nn.Conv2d(4, _BLOCK, 3)
        self.conv1.weight.zero_()
        self.conv1.weight[:, :3] = torch.cat([filters, filters[bent] * slopes[bent][:, None, None, None]])
        self.conv1.weight[:, 3, 0, 0] = 1
        self.conv1.bias.copy_(torch.cat([bias, bias[bent] * slopes[bent]]))  # type: ignore[union-attr]
        self.mix1 = nn.Conv2d(_BLOCK, _BLOCK, 1, bias=False)
        self.mix1.weight.zero_()
        self.mix1.weight[:num_plain, :num_plain, 0, 0] = -torch.eye(num_plain)
        self.mix1.weight[bent, num_plain + torch.arange(len(bent))] = 1
        factors = torch.zeros(_BLOCK)
        factors[:num_plain] = torch.where(slopes < 0, 1, 1 - slopes)
        self.scale1 = _per_channel(factors)
        self.conv2, self.prelu2 = _widened(network.conv2, _BLOCK), _PRelu(network.prelu2.weight)
        self.conv3, self.prelu3 = _widened(network.conv3, _BLOCK), _PRelu(network.prelu3.weight)
        self.heads = nn.Conv2d(2 * _BLOCK, 5, 1)
        layers = (layer.parameters() for layer in (self.heads, network.conv4_1, network.conv4_2))
        for mine, either, offsets in zip(*layers, strict=True):
            mine.copy_(torch.cat([either[1:] - either[:1], offsets]))  # face over no face

    def forward(self, pixels: torch.Tensor, seams: torch.Tensor) -> torch.Tensor:
        """Return (B, cells, 5), log odds of a face and box regression offsets, of pixels (B, H, W, 3).

        Args:
            pixels: float32, H and W even.
            seams: float32 (B, 1, H, W): 0, or a large negative number at outputs of the first layer that
                pooling windows must ignore.
        """
        first = self.conv1(torch.cat([pixels.permute(0, 3, 1, 2), seams], 1))
        pooled = functional.max_pool2d(first, 2)
        active = pooled + self.scale1(functional.relu(self.mix1(pooled)))
        active = self.prelu3(self.conv3(self.prelu2(self.conv2(active))))
        features: torch.Tensor = self.heads(active).permute(0, 2, 3, 1)
        return features.flatten(1, 2)


class _OnCrops(nn.Module):
    """R-Net or O-Net with P(face) as the first output, and channels last."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        names = [name for name, _ in network.named_children()]
        layers: list[nn.Module] = []
        num_channels = 3
        for name in names[: names.index(next(name for name in names if name.startswith("dense")))]:
            layer = getattr(network, name)
            if name.startswith("conv"):
                layer = _widened(layer, num_channels)
                num_channels = layer.out_channels
            layers.append(_PRelu(layer.weight) if name.startswith("prelu") else layer)
        self.on_pixels = nn.Sequential(*layers)
        dense, prelu, *heads = names[len(layers) :]
        self.on_features = nn.Sequential(getattr(network, dense), getattr(network, prelu))
        self.heads = nn.ModuleList(getattr(network, name) for name in heads if name.startswith("dense"))

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return P(face) (N,), box offsets (N, 4) and any landmarks (N, 10) of crops (N, S, S, 3)."""
        features = self.on_pixels(crops.permute(0, 3, 1, 2)).permute(0, 3, 2, 1)  # as its weights expect
        hidden = self.on_features(features.flatten(1))
        logits, *others = (head(hidden) for head in self.heads)
        return logits.softmax(1)[:, 1], *others


def _in_blocks(num_channels: int) -> int:
    return -(-num_channels // _BLOCK) * _BLOCK


def _per_channel(factors: torch.Tensor) -> nn.Conv2d:
    """Return the convolution that multiplies each channel by a factor."""
    layer = nn.Conv2d(len(factors), len(factors), 1, groups=len(factors), bias=False)
    layer.weight.copy_(factors[:, None, None, None])
    return layer


def _widened(layer: nn.Conv2d, num_inputs: int) -> nn.Conv2d:
    """Return a convolution with zero filters up to a whole block, and zeros for further inputs."""
    num_filters, used_inputs, *size = layer.weight.shape
    wide = nn.Conv2d(num_inputs, _in_blocks(num_filters), size)  # type: ignore[arg-type]
    for mine, theirs in zip(wide.parameters(), layer.parameters(), strict=True):
        mine.zero_()
        mine[(slice(num_filters), slice(used_inputs))[: mine.ndim]] = theirs
    return wide


def export_face_networks(folder: str | os.PathLike[str]) -> list[Path]:
    """Write P-Net, R-Net and O-Net as ONNX files.

    Args:
        folder: Folder to write to; created if missing.

    Returns:
        The three files.

    Raises:
        OutputError: A file cannot be written.
    """
    folder = make_folder(folder)
    paths = [folder / name for name in FACE_FILES]
    with torch.no_grad():
        proposal, refine, output = original_networks()
        finder, *others = _PNet(proposal), _OnCrops(refine), _OnCrops(output)
    free = {0: "frames", 1: "height", 2: "width"}
    with atomic_path(paths[0]) as temporary:
        write_onnx(
            finder,
            (torch.zeros(1, 24, 24, 3), torch.zeros(1, 1, 24, 24)),
            temporary,
            names=("pixels", "seams", "features"),
            free_axes={
                "pixels": free,
                "seams": {0: "frames", 2: "height", 3: "width"},
                "features": {0: "frames", 1: "cells"},
            },
        )
    for path, network in zip(paths[1:], others, strict=True):
        side = _SIDES[path.name]
        names = ("crops", "probability", "offsets", "landmarks")[: 1 + len(network.heads)]
        with atomic_path(path) as temporary:
            write_onnx(
                network,
                (torch.zeros(2, side, side, 3),),
                temporary,
                names=names,
                free_axes={name: {0: "faces"} for name in names},
            )
    return paths
