"""FSFM and FS-VFM: masked autoencoders of faces, fine-tuned; the mean of the patches is read.

Source: Wang et al. 2025, arXiv:2412.12032 and arXiv:2510.10663; wolo-wolo/FSFM-CVPR25. In their files class
0 is the fake.
"""

from __future__ import annotations

import torch
from torch import nn

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.layout import Converted, Layout, State, renamed
from deepfake_detect.records import Preprocessing


class _Adapter(nn.Module):
    """Features (N, F) to themselves and those of two layers without bias, (N, 2 F)."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(num_features, num_features // 4, bias=False)
        self.linear2 = nn.Linear(num_features // 4, num_features, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        adapted = torch.relu(self.linear2(torch.relu(self.linear1(features))))
        return torch.cat([features, adapted], dim=-1)


def adapted_vit_l16() -> nn.Module:
    """Return ViT-L/16 with an adapter after its features: images (N, 3, 224, 224) to (N, 2048)."""
    import timm

    network: nn.Module = timm.create_model("vit_large_patch16_224", num_classes=0, global_pool="avg")
    network.head = _Adapter(1024)
    return network


def _vit(state: State) -> Converted:
    return renamed(state, {}, head="head.")


def _adapted(state: State) -> Converted:
    return renamed(state, {"adapter.": "head."}, head="head.", dropped=["projector."])


_POOLING = {"global_pool": "avg"}
_FACES = ((0.5482207536697388, 0.42340534925460815, 0.3654651641845703),) + (
    (0.2789176106452942, 0.2438540756702423, 0.23493893444538116),
)
BACKBONES = {"fsvfm_adapter_vit_l16": Backbone(adapted_vit_l16, Preprocessing(224, *_FACES))}
LAYOUTS = {
    "fsfm-vit-b": Layout("FSFM ViT-B/16", "vit_base_patch16_224", _vit, backbone_options=_POOLING),
    "fsvfm-vit-l": Layout("FS-VFM ViT-L/16", "vit_large_patch16_224", _vit, backbone_options=_POOLING),
    "fsvfm-vit-l-adapter": Layout("FS-VFM ViT-L/16 with adapter", "fsvfm_adapter_vit_l16", _adapted),
}
