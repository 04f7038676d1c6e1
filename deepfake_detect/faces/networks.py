"""MTCNN's three networks (Zhang et al. 2016, arXiv:1604.02878) with facenet-pytorch's weights.

    P-Net   12 x 12 windows of a whole mosaic -> P(face) and box regression offsets
    R-Net   24 x 24 crops                     -> the same
    O-Net   48 x 48 crops                     -> the same, with five landmarks

The weights ship inside the facenet-pytorch package, so nothing is downloaded. Networks run with
channels last in memory: on a CPU R-Net and O-Net are then three to four times as fast.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import nn
from torch.nn import functional

from deepfake_detect.device import keep_freed_memory
from deepfake_detect.faces.integral import frames_tensor

# Crops per run: the fastest measured on a CPU, whose cache they have to fit into.
_CROPS_PER_RUN = {RNet: 64, ONet: 16}
_CROPS_PER_GPU_RUN = 2048


class FastPNet:
    """P-Net, rearranged so that pooling comes before the first activation.

    PReLU is x for x > 0 and a * x elsewhere. With a positive slope a it is increasing, so it can
    follow the pooling and then processes a quarter of the values. With a negative slope it is
    max(x, a * x), so its maximum over a window is the larger of the maxima of x and of a * x; the
    latter comes from the same convolution with its filter multiplied by a. Six of the ten slopes are
    negative, which makes sixteen filters, as many as a vector register holds.
    """

    def __init__(self, network: PNet) -> None:
        slopes = network.prelu1.weight
        bent, plain = (slopes < 0).nonzero()[:, 0], (slopes >= 0).nonzero()[:, 0]
        order = torch.cat([bent, plain, bent])
        factors = torch.cat([torch.ones_like(slopes), slopes[bent]])
        self.num_bent = len(bent)
        self.filters1 = _channels_last(network.conv1.weight[order] * factors[:, None, None, None])
        self.bias1 = network.conv1.bias[order] * factors
        # The bent ones are never negative once the maximum is taken: for them any slope works.
        self.slopes1 = slopes[order]
        self.filters2 = _channels_last(network.conv2.weight[:, order])
        self.filters2[:, len(slopes) :] = 0  # the third part is merged by then
        self.conv2, self.prelu2 = network.conv2, network.prelu2
        self.filters3 = _channels_last(network.conv3.weight)
        self.conv3, self.prelu3 = network.conv3, network.prelu3
        heads = torch.cat([network.conv4_1.weight, network.conv4_2.weight])
        self.head_weight = heads.flatten(1).T.contiguous()  # (32, 2 + 4)
        self.head_bias = torch.cat([network.conv4_1.bias, network.conv4_2.bias])
        self.odds_weight = self.head_weight[:, 1] - self.head_weight[:, 0]
        self.odds_bias = float(self.head_bias[1] - self.head_bias[0])

    def features(self, pixels: torch.Tensor, seams: torch.Tensor) -> torch.Tensor:
        """Return float32 (B, cells, 32), cells row by row, of pixels; see :class:`cascade.PNet`."""
        first = _channels_last(functional.conv2d(pixels, self.filters1, self.bias1))
        first.permute(0, 2, 3, 1).flatten(1, 2).index_fill_(1, seams, -torch.inf)
        pooled = _max_pool(first, 2)  # (B, 16, H / 2 - 1, W / 2 - 1)
        bent = pooled[:, : self.num_bent]
        torch.maximum(bent, pooled[:, -self.num_bent :], out=bent)
        active = functional.prelu(pooled, self.slopes1)
        active = functional.conv2d(active, self.filters2, self.conv2.bias)
        active = functional.prelu(active, self.prelu2.weight)
        active = functional.conv2d(active, self.filters3, self.conv3.bias)
        active = functional.prelu(active, self.prelu3.weight)  # (B, 32, H / 2 - 5, W / 2 - 5)
        return active.permute(0, 2, 3, 1).flatten(1, 2)

    def log_odds(self, features: torch.Tensor) -> torch.Tensor:
        """Return log(P(face) / P(no face)) of features (..., 32): one number per cell instead of six."""
        return features @ self.odds_weight + self.odds_bias

    def heads(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return P(face) (N,) and box regression offsets (N, 4) of features (N, 32)."""
        outputs = features @ self.head_weight + self.head_bias
        return outputs[:, :2].softmax(1)[:, 1], outputs[:, 2:]


class FastCropNetwork:
    """R-Net or O-Net, run over any number of crops."""

    def __init__(self, network: nn.Module) -> None:
        for name, layer in network.named_children():
            if isinstance(layer, nn.MaxPool2d):
                setattr(network, name, _FastMaxPool(layer))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.crops_per_run = _CROPS_PER_RUN[type(network)]

    def __call__(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return P(face) (N,), box regression offsets (N, 4) and O-Net's landmarks (N, 10) of crops."""
        per_run = _CROPS_PER_GPU_RUN if crops.is_cuda else self.crops_per_run
        runs = [self.network(some) for some in torch.split(crops, per_run)]
        *outputs, probabilities = (torch.cat(parts) for parts in zip(*runs, strict=True))
        return probabilities[:, 1], *outputs


@dataclass(frozen=True)
class TorchNetworks:
    """The three networks on one device."""

    runtime = "torch"
    pnet: FastPNet
    rnet: FastCropNetwork
    onet: FastCropNetwork
    device: torch.device

    def frames(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Return RGB uint8 arrays (H, W, 3) of one size as one tensor (B, H, W, 3) on the device."""
        return frames_tensor(images, self.device)


@functools.lru_cache(maxsize=4)
def load_networks(device: torch.device) -> TorchNetworks:
    """Return the networks on a device; they are loaded once per device."""
    if device.type == "cpu":
        keep_freed_memory()  # page faults of new integral images take longer than filling them
    with torch.no_grad():
        pnet, rnet, onet = (network.to(device) for network in original_networks())
        return TorchNetworks(FastPNet(pnet), FastCropNetwork(rnet), FastCropNetwork(onet), device)


def original_networks() -> tuple[PNet, RNet, ONet]:
    """Return facenet-pytorch's own networks with its weights, in evaluation mode on the CPU."""
    with warnings.catch_warnings(), torch.no_grad():
        # torch 2.4 and 2.5 warn about how facenet-pytorch reads its own weights.
        warnings.simplefilter("ignore", FutureWarning)
        return PNet().eval(), RNet().eval(), ONet().eval()


class _FastMaxPool(nn.Module):
    """nn.MaxPool2d(size, 2, ceil_mode=True) by rows, then by columns: much faster on a CPU."""

    def __init__(self, slow: nn.MaxPool2d) -> None:
        super().__init__()
        self.size = int(slow.kernel_size)  # type: ignore[arg-type]

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return _max_pool(values, self.size)


def _max_pool(values: torch.Tensor, size: int) -> torch.Tensor:
    """Pool (N, C, H, W) by windows of 2 (H and W even) or 3 with stride 2; the last may be shorter."""
    return _max_pool_rows(_max_pool_rows(values, size).transpose(2, 3), size).transpose(2, 3)


def _max_pool_rows(values: torch.Tensor, size: int) -> torch.Tensor:
    count = -(-(values.shape[2] - size) // 2) + 1
    pooled = torch.maximum(values[:, :, 0 : 2 * count : 2], values[:, :, 1 : 2 * count : 2])
    if size == 3:
        third = values[:, :, 2::2]
        longer = pooled[:, :, : third.shape[2]]
        torch.maximum(longer, third, out=longer)
    return pooled


def _channels_last(values: torch.Tensor) -> torch.Tensor:
    return values.contiguous(memory_format=torch.channels_last)
