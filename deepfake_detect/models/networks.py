"""Networks that timm does not have. Each maps images to features, and returns its last map.

All have ``forward_features``: images (N, C, H, W) to the last feature map (N, channels, h, w).
"""

from __future__ import annotations

import torch
from torch import nn

from deepfake_detect.models.spec import Pooling
from deepfake_detect.records import Preprocessing

TORCHVISION_PREFIX = "torchvision."
"""In front of the name of a network of torchvision, whose tensors have other names than timm's."""


class FaceNet(nn.Sequential):
    """InceptionResnetV1 of facenet-pytorch, then ReLU: images (N, 3, H, W) to features (N, embedding_size).

    Args:
        embedding_size: 512, as in facenet-pytorch, or 128, as in older published files.
        normalize: Whether features are scaled to length 1, as facenet-pytorch does.
        relu: Whether the ReLU follows.
    """

    def __init__(self, embedding_size: int = 512, *, normalize: bool = False, relu: bool = True) -> None:
        from facenet_pytorch import InceptionResnetV1

        network = InceptionResnetV1(pretrained=None)
        if embedding_size != network.last_linear.out_features:
            network.last_linear = nn.Linear(network.last_linear.in_features, embedding_size, bias=False)
            network.last_bn = nn.BatchNorm1d(embedding_size, eps=network.last_bn.eps)
        # With a pass-through classifier the network returns its 512 features without scaling them to
        # length 1: the length helps to detect forgeries.
        network.logits = nn.Identity()
        network.classify = True
        super().__init__(network, *([_UnitLength()] if normalize else []), *([nn.ReLU()] if relu else []))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        for name, layer in self[0].named_children():  # in the order of its forward
            if name == "avgpool_1a":
                break
            images = layer(images)
        return images


class _UnitLength(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(features, dim=1)


class RemovedLayer(nn.Identity):
    """In place of a network's last layer, whose tensors files of it still have."""


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
        branch_relu: Whether the parallel convolutions are followed by ReLU, as in the paper; they are not
            in HongguLiu/MesoNet-Pytorch.
    """

    def __init__(self, *, in_chans: int, image_size: int, pooling: Pooling, branch_relu: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _Inception(in_chans, (1, 4, 4, 2), relu=branch_relu),
            _Inception(11, (2, 4, 4, 2), relu=branch_relu),
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

    def __init__(self, in_chans: int, widths: tuple[int, int, int, int], *, relu: bool) -> None:
        super().__init__()
        after = nn.ReLU if relu else nn.Identity
        first, *others = widths
        self.branches = nn.ModuleList([nn.Sequential(nn.Conv2d(in_chans, first, 1), after())])
        for dilation, width in enumerate(others, start=1):
            dilated = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
            self.branches.append(nn.Sequential(nn.Conv2d(in_chans, width, 1), after(), dilated, after()))
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


def in_torchvision(name: str) -> bool:
    """Return whether torchvision has a classifier of a name that ends in a linear layer.

    Example:
        >>> in_torchvision("efficientnet_b0"), in_torchvision("torchvision.efficientnet_b0")
        (True, False)
    """
    import torchvision

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return name in names and not name.startswith("squeezenet")


def torchvision_encoder(name: str) -> nn.Module:
    """Return a network of torchvision without its last layer: images (N, 3, H, W) to features (N, F)."""
    import torchvision

    # Their second output is of training alone.
    has_second_output = name in ("googlenet", "inception_v3")
    options = {"aux_logits": False, "init_weights": False} if has_second_output else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    layers = [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    parent, _, last = layers[-1].rpartition(".")
    setattr(network.get_submodule(parent), last, RemovedLayer())
    return network


def torchvision_preprocessing(name: str) -> Preprocessing:
    """Return the input of torchvision's own weights of a network."""
    import torchvision

    published = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return Preprocessing(published.crop_size[0], tuple(published.mean), tuple(published.std))
