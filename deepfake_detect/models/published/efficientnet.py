"""EfficientNet-B4 as the package efficientnet_pytorch has it, which several detectors are made of.

Source: Tan and Le 2019, arXiv:1905.11946.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.layout import Layout, State
from deepfake_detect.records import Preprocessing

_BLOCKS = (2, 4, 4, 6, 6, 8, 2)  # of each stage
_ATTENTION_STAGE = 2  # attention follows its last block, the tenth of the network
_TO_TIMM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
# Of a block that widens its input first, and of one that does not (the first stage).
_WIDENING = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3", **_SQUEEZE},
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_SQUEEZE}


class MapAttention(nn.Module):
    """Multiplies a map (N, C, H, W) by the sigmoid of a 1x1 convolution of it, (N, 1, H, W)."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_channels, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * torch.sigmoid(self.conv(images))


def efficientnet_pytorch_b4(*, attention: bool = False) -> nn.Module:
    """Return EfficientNet-B4 with efficientnet_pytorch's padding: images (N, 3, H, W) to features (N, 1792).

    That package (since 0.7) pads every convolution as an image of 380 x 380 pixels needs it, whatever the
    size of the image. One convolution differs from timm's, which pads by the size: it follows a map of 95
    pixels there, an odd number.

    Args:
        attention: Whether a map of attention follows the tenth block (Bonettini et al. 2020,
            arXiv:2004.07676).
    """
    import timm

    network: nn.Module = timm.create_model("tf_efficientnet_b4", num_classes=0)
    stage = network.get_submodule(f"blocks.{_ATTENTION_STAGE}")
    assert isinstance(stage, nn.Sequential)
    first: Any = stage[0]
    last: Any = stage[-1]
    width = first.conv_dw.in_channels
    first.conv_dw = nn.Conv2d(width, width, 5, stride=2, padding=2, groups=width, bias=False)
    if attention:
        stage.append(MapAttention(last.conv_pwl.out_channels))
    return network


def timm_names(state: State, prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors of an EfficientNet-B4 of efficientnet_pytorch under their names in timm.

    Args:
        state: Tensors of a file.
        prefix: Beginning of the network's names in it; all other tensors are left out, as is the classifier.

    Raises:
        KeyError: A name is not of such a network.
    """
    names = {name: name.removeprefix(prefix) for name in state if name.startswith(prefix)}
    return {_timm_name(one): state[name] for name, one in names.items() if not one.startswith("_fc.")}


def _timm_name(name: str) -> str:
    layer, *rest = name.split(".")
    if layer == "attconv":
        return ".".join([f"blocks.{_ATTENTION_STAGE}.{_BLOCKS[_ATTENTION_STAGE]}.conv", *rest])
    if layer != "_blocks":
        return ".".join([_TO_TIMM[layer], *rest])
    stage, place = _place(int(rest[0]))
    names = _WIDENING if stage else _PLAIN
    return ".".join(["blocks", str(stage), str(place), names[rest[1]], *rest[2:]])


def _place(block: int) -> tuple[int, int]:
    """Return the stage of a block counted over the network, and its index in it."""
    for stage, length in enumerate(_BLOCKS):
        if block < length:
            return stage, block
        block -= length
    raise KeyError(f"_blocks.{block + sum(_BLOCKS)}")


BACKBONES = {
    "efficientnet_pytorch_b4": Backbone(
        efficientnet_pytorch_b4,
        Preprocessing(380, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        dropout=0.4,
        smallest=32,
    )
}
LAYOUTS: dict[str, Layout] = {}
