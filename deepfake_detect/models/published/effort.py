"""Effort: CLIP ViT-L/14 whose attention layers were trained in one singular direction.

Source: Yan et al. 2025, arXiv:2411.15633; YZY-stack/Effort-AIGI-Detection. In scoring a layer's weight is
the fixed part plus the trained one.
"""

from __future__ import annotations

import torch

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.encoders import clip_names
from deepfake_detect.models.published.layout import Converted, Layout, State, logit_layer

_PARTS = (".weight_main", ".S_residual", ".U_residual", ".V_residual")
_FIXED_DIRECTIONS = (".S_r", ".U_r", ".V_r")  # which the fixed part is made of


def _convert(state: State) -> Converted:
    prefix = "module." if "module.head.weight" in state else ""  # of a network in parallel
    unused = tuple(name for name in state if name.endswith((*_FIXED_DIRECTIONS, ".position_ids")))
    vision = {
        name.removeprefix(f"{prefix}backbone."): tensor
        for name, tensor in state.items()
        if name.startswith(f"{prefix}backbone.") and name not in unused
    }
    encoder = {f"encoder.{name}": tensor for name, tensor in clip_names(_composed(vision)).items()}
    head = logit_layer(state[f"{prefix}head.weight"], state[f"{prefix}head.bias"])
    return Converted({**encoder, **head}, unused)


def _composed(state: State) -> dict[str, torch.Tensor]:
    """Return the tensors with the weights of each attention layer in one."""
    composed = {name: tensor for name, tensor in state.items() if not name.endswith(_PARTS)}
    for layer in (name.removesuffix(".weight_main") for name in state if name.endswith(".weight_main")):
        main, s, u, v = (state[layer + part] for part in _PARTS)
        composed[f"{layer}.weight"] = main + u @ torch.diag(s) @ v
    return composed


BACKBONES: dict[str, Backbone] = {}
LAYOUTS = {
    "effort-clip-l": Layout("Effort on CLIP ViT-L/14", "vit_large_patch14_clip_quickgelu_224", _convert)
}
