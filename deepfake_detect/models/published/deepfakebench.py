"""The detectors of DeepfakeBench v1.0.1, each in the file that its training writes.

Source: Yan et al. 2023, "DeepfakeBench: a comprehensive benchmark of deepfake detection", arXiv:2307.01426.
All end in two outputs, real and fake.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.efficientnet import efficientnet_pytorch_b4, timm_names
from deepfake_detect.models.published.frequency import SPSL, F3Net
from deepfake_detect.models.published.layout import Converted, Layout, State, logit_layer, renamed
from deepfake_detect.models.published.recce import Recce
from deepfake_detect.models.published.srm import SRMNetwork
from deepfake_detect.models.published.xception import blocks, first_layers, last_layers, pooled, xception
from deepfake_detect.records import Preprocessing

_PREPROCESSING = Preprocessing(256, (0.5,) * 3, (0.5,) * 3, "cubic")
_SMALLEST = 64
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class _PaddedAtEnd(nn.Conv2d):
    """A convolution of maps with a row of zeros below and a column on the right."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(maps, (0, 1, 0, 1)))


def efficientnet_b4() -> nn.Module:
    """Return efficientnet_pytorch's EfficientNet-B4 with a first convolution that pads nothing.

    The next convolution of stride 2 then follows a map of 127 pixels, which timm would pad on all sides;
    efficientnet_pytorch pads it as the map of 190 that it expects.
    """
    network = efficientnet_pytorch_b4()
    network.conv_stem = nn.Conv2d(3, 48, 3, stride=2, bias=False)
    block: Any = network.get_submodule("blocks.1.0")
    width = block.conv_dw.in_channels
    block.conv_dw = _PaddedAtEnd(width, width, 3, stride=2, groups=width, bias=False)
    return network


class UCF(nn.Module):
    """The branch of UCF that scores: features common to all forgeries, images (N, 3, H, W) to (N, 512).

    Source: Yan et al. 2023, "UCF: uncovering common features", arXiv:2304.13949.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = xception()
        self.narrow = nn.Sequential(nn.Conv2d(2048, 512, 1), nn.BatchNorm2d(512), nn.ReLU())
        self.common = nn.Sequential(
            nn.Conv2d(512, 256, 1),
            nn.LeakyReLU(),
            nn.Conv2d(256, 256, 1),
            nn.LeakyReLU(),
            nn.Conv2d(256, 256, 1),
        )
        self.project = nn.Sequential(nn.Linear(256, 512), nn.LeakyReLU())

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        maps = blocks(self.network, 1, 12, first_layers(self.network, images))
        return self.common(self.narrow(last_layers(self.network, maps)))  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.project(pooled(self.forward_features(images)))  # type: ignore[no-any-return]


def _xception(state: State, *, into: str = "", last: str = "last_linear.") -> Converted:
    """Convert a file with one Xception, which lies at ``into`` in ours."""
    unused = ["backbone.adjust_channel."]
    return renamed(state, {"backbone.": into}, head=f"backbone.{last}", dropped=unused)


def _efficientnet_b4(state: State) -> Converted:
    encoder = timm_names(state, "backbone.efficientnet.")
    head = logit_layer(state["backbone.last_layer.weight"], state["backbone.last_layer.bias"])
    return Converted({**{f"encoder.{name}": one for name, one in encoder.items()}, **head})


def _f3net(state: State) -> Converted:
    """Convert F3-Net, whose fixed and learned filters become one."""
    found = _xception(state, into="network.", last="last_linear.1.")
    tensors = {name: one for name, one in found.tensors.items() if ".FAD_head." not in name}
    filters = [f"FAD_head.filters.{band}" for band in range(4)]
    tensors["encoder.filters"] = torch.stack(
        [state[f"{one}.base"] + 2 * state[f"{one}.learnable"].sigmoid() - 1 for one in filters]
    )
    return Converted(tensors, (*found.dropped, "FAD_head._DCT_all", "FAD_head._DCT_all_T"))


_SRM_NAMES = {
    **{"backbone_rgb.": "rgb.", "backbone_srm.": "srm.", "srm_conv0.": "residual."},
    **{"srm_conv1.out_conv.": "residual1.mix.", "srm_conv1.": "residual1."},
    **{"srm_conv2.out_conv.": "residual2.mix.", "srm_conv2.": "residual2."},
    **{"srm_sa.srm.": "attention.residual.", "srm_sa.conv.": "attention.layers."},
    **{"srm_sa.pa.conv.": "attention.weight.", "srm_sa_post.": "attended."},
    **{"fusion.convblk.": "fusion.mix.", "fusion.ca.sharedMLP.": "fusion.weigh."},
}
_EXCHANGE_NAMES = {
    **{"key_conv1.": "key_x.", "key_conv2.": "key_y.", "key_conv_share.": "key_shared."},
    **{"linear1.": "to_x.", "linear2.": "to_y.", "value_conv1.": "value_x.", "value_conv2.": "value_y."},
    **{"gamma1": "gain_x", "gamma2": "gain_y"},
}


def _srm(state: State) -> Converted:
    exchanges = {
        f"dual_cma{number}.{theirs}": f"exchange{number + 1}.{ours}"
        for number in (0, 1)
        for theirs, ours in _EXCHANGE_NAMES.items()
    }
    unused = ("backbone_rgb.adjust_channel.", "backbone_srm.adjust_channel.", "backbone_srm.last_linear.")
    return renamed(
        state, _SRM_NAMES | exchanges, head="backbone_rgb.last_linear.", dropped=(*unused, "blur.")
    )


def _ucf(state: State) -> Converted:
    names = {
        **{"encoder_f.": "network.", "encoder_f.adjust_channel.": "narrow."},
        **{"block_sha.conv2d.": "common.", "head_sha.mlp.": "project."},
    }
    unused = ("encoder_c.", "encoder_f.last_linear.", "con_gan.", "head_spe.", "block_spe.")
    return renamed(state, names, head="head_sha.mlp.2.", dropped=unused)


_RECCE_NAMES = {
    **{
        "model.reasoning.va_embedding.": "reasoning.embed.",
        "model.reasoning.reproject.": "reasoning.project.",
    },
    **{
        f"model.reasoning.{theirs.format(letter)}": f"reasoning.{map_name}.{ours}"
        for letter, map_name in (("b", "small"), ("c", "large"))
        for theirs, ours in (
            ("va_gated_{}.0.", "gate."),
            ("v{}_embedding.", "embed."),
            ("reweight_a{}.0.", "weigh."),
        )
    },
    **{"model.attention.gated.": "attention.gate.", "model.attention.h.": "attention.mix."},
    **{"model.decoder6.0.": "decoder6.", "model.": ""},
}


def _recce(state: State) -> Converted:
    unused = ("backbone.", "model.encoder.fc.", "model.encoder.last_linear.")
    return renamed(state, _RECCE_NAMES, head="model.fc.", dropped=unused)


def _meso(
    state: State, *, prefix: str, convolutions: Mapping[str, str], norms: Mapping[str, str]
) -> Converted:
    """Convert a MesoNet whose convolutions have no bias, two of which may share a normalization.

    Args:
        state: The file's tensors.
        prefix: In front of all of its names.
        convolutions: Names in ours -> in the file.
        norms: The same of batch normalizations.
    """
    tensors: dict[str, torch.Tensor] = {}
    for ours, theirs in convolutions.items():
        weight = state[f"{prefix}{theirs}.weight"]
        tensors |= {f"{ours}.weight": weight, f"{ours}.bias": weight.new_zeros(len(weight))}
    for ours, theirs in norms.items():
        tensors |= {f"{ours}.{part}": state[f"{prefix}{theirs}.{part}"] for part in _NORM}
    tensors |= {f"project.1.{part}": state[f"{prefix}fc1.{part}"] for part in ("weight", "bias")}
    head = logit_layer(state[f"{prefix}fc2.weight"], state[f"{prefix}fc2.bias"])
    return Converted({**{f"encoder.{name}": one for name, one in tensors.items()}, **head})


def _meso4(state: State, *, prefix: str) -> Converted:
    convolutions = {f"layers.{n}.0.0": f"conv{n + 1}" for n in range(4)}
    norms = {f"layers.{n}.0.2": f"bn{n // 2 + 1}" for n in range(4)}
    return _meso(state, prefix=prefix, convolutions=convolutions, norms=norms)


def _meso_inception4(state: State, *, prefix: str) -> Converted:
    convolutions = {f"layers.{n + 2}.0.0": f"conv{n + 1}" for n in (0, 1)}
    norms = {f"layers.{n + 2}.0.2": "bn1" for n in (0, 1)}
    for block in (0, 1):
        theirs = f"Incption{block + 1}"
        norms[f"layers.{block}.norm_pool.0"] = f"{theirs}_bn"
        convolutions[f"layers.{block}.branches.0.0"] = f"{theirs}_conv1"
        for branch in (1, 2, 3):
            for layer in (0, 1):
                ours = f"layers.{block}.branches.{branch}.{2 * layer}"
                convolutions[ours] = f"{theirs}_conv{branch + 1}_{layer + 1}"
    return _meso(state, prefix=prefix, convolutions=convolutions, norms=norms)


def _backbone(build: Callable[..., nn.Module]) -> Backbone:
    return Backbone(build, _PREPROCESSING, smallest=_SMALLEST)


BACKBONES = {
    "efficientnet_b4_unpadded": _backbone(efficientnet_b4),
    "f3net": _backbone(F3Net),
    "spsl": _backbone(SPSL),
    "srm_xception": _backbone(SRMNetwork),
    "ucf": _backbone(UCF),
    "recce": _backbone(Recce),
}
_NO_RELU = {"branch_relu": False}
LAYOUTS = {
    "deepfakebench-xception": Layout("Xception", "legacy_xception", _xception),
    "deepfakebench-core": Layout("Xception", "legacy_xception", _xception),
    "deepfakebench-efficientnetb4": Layout("EfficientNet-B4", "efficientnet_b4_unpadded", _efficientnet_b4),
    "deepfakebench-f3net": Layout("F3-Net", "f3net", _f3net),
    "deepfakebench-spsl": Layout("SPSL", "spsl", functools.partial(_xception, into="network.")),
    "deepfakebench-srm": Layout("SRM", "srm_xception", _srm),
    "deepfakebench-ucf": Layout("UCF", "ucf", _ucf),
    "deepfakebench-recce": Layout("RECCE", "recce", _recce),
    "deepfakebench-meso4": Layout("Meso4", "meso4", functools.partial(_meso4, prefix="backbone.")),
    "deepfakebench-mesoinception4": Layout(
        "MesoInception4",
        "mesoinception4",
        functools.partial(_meso_inception4, prefix="backbone."),
        backbone_options=_NO_RELU,
    ),
    # The same networks in HongguLiu/MesoNet-Pytorch, whose code DeepfakeBench's is of.
    "meso4-pytorch": Layout("Meso4", "meso4", functools.partial(_meso4, prefix="")),
    "mesoinception4-pytorch": Layout(
        "MesoInception4",
        "mesoinception4",
        functools.partial(_meso_inception4, prefix=""),
        backbone_options=_NO_RELU,
    ),
}
