"""EfficientNet-B4 of mapooon/SelfBlendedImages. Source: Shiohara and Yamasaki 2022, arXiv:2204.08376."""

from __future__ import annotations

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.efficientnet import timm_names
from deepfake_detect.models.published.layout import Converted, Layout, State, logit_layer


def _b4(state: State) -> Converted:
    encoder = {f"encoder.{name}": tensor for name, tensor in timm_names(state, "net.").items()}
    return Converted({**encoder, **logit_layer(state["net._fc.weight"], state["net._fc.bias"])})


BACKBONES: dict[str, Backbone] = {}
LAYOUTS = {"sbi-b4": Layout("EfficientNet-B4", "efficientnet_pytorch_b4", _b4)}
