"""GenD: vision transformers whose features of length 1 a linear layer reads.

Source: Yermakov, Cech, Matas and Fritz 2026, arXiv:2508.06248; yermandy/GenD.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.encoders import clip_names, dinov3_names
from deepfake_detect.models.published.layout import Converted, Layout, State, logit_layer
from deepfake_detect.records import Preprocessing

_VISION, _BACKBONE = "feature_extractor.vision_model.", "feature_extractor.backbone."
# The projection to CLIP's texts, CLIP's count of positions, and DINOv3's token of masked patches.
_UNUSED = (
    "feature_extractor.visual_projection.weight",
    "feature_extractor.vision_model.embeddings.position_ids",
    "feature_extractor.backbone.embeddings.mask_token",
)


class UnitLength(nn.Module):
    """Scales features (N, F) to length 1."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(features, dim=1)


def unit_features(name: str, **options: Any) -> nn.Module:
    """Return a transformer of timm whose features have length 1."""
    import timm

    network: nn.Module = timm.create_model(name, num_classes=0, **options)
    network.head = UnitLength()
    return network


def _convert(state: State, *, prefix: str, names: Callable[[State], dict[str, torch.Tensor]]) -> Converted:
    unused = tuple(name for name in _UNUSED if name in state)
    used = {n: tensor for n, tensor in state.items() if n.startswith(prefix) and n not in unused}
    encoder = names({name.removeprefix(prefix): tensor for name, tensor in used.items()})
    head = logit_layer(state["model.linear.weight"], state["model.linear.bias"])
    return Converted({**{f"encoder.{name}": tensor for name, tensor in encoder.items()}, **head}, unused)


_CLIP = Preprocessing(224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = Preprocessing(224, (0.5,) * 3, (0.5,) * 3)
_IMAGENET = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BACKBONES = {
    "gend_clip_l14": Backbone(partial(unit_features, "vit_large_patch14_clip_quickgelu_224"), _CLIP),
    # Positions of 336 pixels are resized to those of the image, as the authors do it at 224.
    "gend_pe_l14": Backbone(
        partial(unit_features, "vit_pe_core_large_patch14_336", dynamic_img_size=True), _HALF, smallest=14
    ),
    "gend_dinov3_l16": Backbone(
        partial(unit_features, "vit_large_patch16_dinov3_qkvb", global_pool="token"), _IMAGENET, smallest=16
    ),
}
LAYOUTS = {
    "gend-clip-l": Layout(
        "GenD on CLIP ViT-L/14", "gend_clip_l14", partial(_convert, prefix=_VISION, names=clip_names)
    ),
    "gend-pe-l": Layout(
        "GenD on Perception Encoder L/14", "gend_pe_l14", partial(_convert, prefix=_BACKBONE, names=dict)
    ),
    "gend-dinov3-l": Layout(
        "GenD on DINOv3 ViT-L/16", "gend_dinov3_l16", partial(_convert, prefix=_BACKBONE, names=dinov3_names)
    ),
}
