"""Networks that timm does not have. Each maps images to features, and returns its last map.

All have ``forward_features``: images (N, C, H, W) to the last feature map (N, channels, h, w).
"""

from __future__ import annotations

import torch
from torch import nn

from deepfake_detect.models.spec import Pooling


class FaceNet(nn.Sequential):
    """InceptionResnetV1 of facenet-pytorch, then ReLU: images (N, 3, H, W) to features (N, embedding_size).

    Args:
        embedding_size: 512, as in facenet-pytorch, or 128, as in older published files.
    """

    def __init__(self, embedding_size: int = 512) -> None:
        from facenet_pytorch import InceptionResnetV1

        network = InceptionResnetV1(pretrained=None)
        if embedding_size != network.last_linear.out_features:
            network.last_linear = nn.Linear(network.last_linear.in_features, embedding_size, bias=False)
            network.last_bn = nn.BatchNorm1d(embedding_size, eps=network.last_bn.eps)
        # With a pass-through classifier the network returns its 512 features without scaling them to
        # length 1: the length helps to detect forgeries.
        network.logits = nn.Identity()
        network.classify = True
        super().__init__(network, nn.ReLU())

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        for name, layer in self[0].named_children():  # in the order of its forward
            if name == "avgpool_1a":
                break
            images = layer(images)
        return images


class SmallCNN(nn.Module):
    """Three 3x3 convolutions without padding, one pooling, one hidden layer.

    With one channel of 28 x 28 pixels and ten classes it has 263,418 parameters. A quarter of the
    pooled map is dropped, as in Keras' MNIST example; the dropout of the head comes on top.

    Args:
        in_chans: Channels of the input.
        image_size: Side of the input in pixels.
        pooling: ``"flatten"`` (of one input size) or ``"avg"`` (of any).
        hidden: Width of the hidden layer.
        batch_norm: Whether each convolution is followed by batch normalization.
        map_dropout: Probability of dropping a value of the pooled map.
    """

    def __init__(
        self,
        *,
        in_chans: int,
        image_size: int,
        pooling: Pooling,
        hidden: int = 128,
        batch_norm: bool = False,
        map_dropout: float = 0.25,
    ) -> None:
        super().__init__()
        widths = [in_chans, 32, 32, 16]
        layers = [
            convolution(before, after, kernel=3, padding=0, batch_norm=batch_norm)
            for before, after in zip(widths, widths[1:], strict=False)
        ]
        self.layers = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(map_dropout))
        self.flatten, num_features = to_features(pooling, 16, side=(image_size - 6) // 2)
        self.project = nn.Sequential(nn.Linear(num_features, hidden), nn.ReLU())

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.pool(self.layers(images))  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.project(self.flatten(self.forward_features(images)))  # type: ignore[no-any-return]


class MesoInception4(nn.Module):
    """MesoInception-4 of Afchar et al. 2018, arXiv:1809.00888.

    With 256 x 256 pixels and one output it has the paper's 28,615 parameters. It differs in that
    its output is a logit and not a probability, and that batch normalization has torch's momentum
    and epsilon.

    Args:
        in_chans: Channels of the input.
        image_size: Side of the input in pixels.
        pooling: ``"flatten"`` (of one input size) or ``"avg"`` (of any).
    """

    def __init__(self, *, in_chans: int, image_size: int, pooling: Pooling) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _Inception(in_chans, (1, 4, 4, 2)),
            _Inception(11, (2, 4, 4, 2)),
            nn.Sequential(convolution(12, 16, kernel=5, padding=2, batch_norm=True), nn.MaxPool2d(2)),
            nn.Sequential(convolution(16, 16, kernel=5, padding=2, batch_norm=True), nn.MaxPool2d(4)),
        )
        self.flatten, num_features = to_features(pooling, 16, side=image_size // 32)
        self.project = nn.Sequential(nn.Dropout(0.5), nn.Linear(num_features, 16), nn.LeakyReLU(0.1))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.project(self.flatten(self.forward_features(images)))  # type: ignore[no-any-return]


class _Inception(nn.Module):
    """1x1 and 3x3 convolutions of dilation 1, 2 and 3 in parallel, then pooling."""

    def __init__(self, in_chans: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, *others = widths
        self.branches = nn.ModuleList([nn.Sequential(nn.Conv2d(in_chans, first, 1), nn.ReLU())])
        for dilation, width in enumerate(others, start=1):
            dilated = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
            self.branches.append(nn.Sequential(nn.Conv2d(in_chans, width, 1), nn.ReLU(), dilated, nn.ReLU()))
        self.norm_pool = nn.Sequential(nn.BatchNorm2d(sum(widths)), nn.MaxPool2d(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.cat([branch(images) for branch in self.branches], dim=1)
        return self.norm_pool(maps)  # type: ignore[no-any-return]


def convolution(
    in_chans: int, out_chans: int, *, kernel: int, padding: int, batch_norm: bool
) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(in_chans, out_chans, kernel, padding=padding), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(out_chans)] if batch_norm else []))


def to_features(pooling: Pooling, num_channels: int, *, side: int) -> tuple[nn.Module, int]:
    """Return the layer from a square map to features, and how many features come out."""
    if pooling == "avg":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), num_channels
    return nn.Flatten(), num_channels * side * side
