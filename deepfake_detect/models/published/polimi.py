"""The five networks of polimi-ispl/icpr2020dfdc.

Source: Bonettini et al. 2020, arXiv:2004.07676. The siamese (ST) networks end in a batch normalization and
a linear layer, which are one linear layer in scoring.
"""

from __future__ import annotations

import torch

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.efficientnet import timm_names
from deepfake_detect.models.published.layout import Converted, Layout, State, logit_layer, renamed

_NORM_EPSILON = 1e-5


def _efficientnet(state: State) -> Converted:
    encoder = timm_names(state, "efficientnet.")
    head = logit_layer(state["classifier.weight"], state["classifier.bias"])
    return Converted({**_in_encoder(encoder), **head})


def _siamese(state: State) -> Converted:
    encoder = timm_names(state, "feat_ext.efficientnet.")
    norm = {part: state[f"classifier.0.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
    head = logit_layer(state["classifier.1.weight"], state["classifier.1.bias"])
    unused = tuple(name for name in state if name.startswith("feat_ext.classifier."))
    return Converted({**_in_encoder(encoder), **_folded(head, norm)}, unused)


def _folded(head: dict[str, torch.Tensor], norm: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a linear layer with the batch normalization of its input in its weights."""
    scale = norm["weight"] / torch.sqrt(norm["running_var"] + _NORM_EPSILON)
    shift = norm["bias"] - norm["running_mean"] * scale
    weight, bias = head["head.weight"], head["head.bias"]
    return {"head.weight": weight * scale, "head.bias": bias + weight @ shift}


def _in_encoder(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"encoder.{name}": tensor for name, tensor in tensors.items()}


def _xception(state: State) -> Converted:
    return renamed(state, {"xception.": ""}, head="xception.last_linear.")


_B4 = "efficientnet_pytorch_b4"
BACKBONES: dict[str, Backbone] = {}
LAYOUTS = {
    "polimi-b4": Layout("EfficientNet-B4", _B4, _efficientnet),
    "polimi-b4-attention": Layout(
        "EfficientNet-B4 with attention", _B4, _efficientnet, backbone_options={"attention": True}
    ),
    "polimi-b4-siamese": Layout("siamese EfficientNet-B4", _B4, _siamese),
    "polimi-b4-attention-siamese": Layout(
        "siamese EfficientNet-B4 with attention", _B4, _siamese, backbone_options={"attention": True}
    ),
    "polimi-xception": Layout("Xception", "legacy_xception", _xception),
}
