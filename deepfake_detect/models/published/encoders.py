"""Vision transformers of Hugging Face's transformers under timm's names.

Both compute the same; transformers keeps query, key and value apart, timm in one layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch

from deepfake_detect.models.published.layout import State

_CLIP = (
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^post_layernorm\.", "norm."),
    (r"^encoder\.layers\.", "blocks."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1."),
)
_DINOV3 = (
    (r"^(?:model|encoder)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.patch_embeddings\.", "patch_embed.proj."),
    (r"^layer\.", "blocks."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.([qkv])_proj\.weight$", r".attn.\1.weight"),
    (r"\.attention\.([qv])_proj\.bias$", r".attn.\1_bias"),
    (r"\.layer_scale(\d)\.lambda1$", r".gamma_\1"),
    (r"\.mlp\.up_proj\.", ".mlp.fc1."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
)
_ATTENTION_PARTS = re.compile(r"(.*\.attn\.)[qkv](\.weight|\.bias)$")


def clip_names(state: State) -> dict[str, torch.Tensor]:
    """Return the tensors of transformers' ``CLIPVisionModel`` under their names in timm.

    Raises:
        KeyError: A tensor is missing.
    """
    found = _joined(_renamed(state, _CLIP))
    found["cls_token"] = found["cls_token"].reshape(1, 1, -1)
    found["pos_embed"] = found["pos_embed"].unsqueeze(0)
    return found


def dinov3_names(state: State) -> dict[str, torch.Tensor]:
    """Return the tensors of transformers' ``DINOv3ViTModel`` under their names in timm.

    Raises:
        KeyError: A tensor is missing.
    """
    return _joined(_renamed(state, _DINOV3))


def _renamed(state: State, rules: Iterable[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Return the tensors under new names: each rule is a regular expression and what replaces it."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def rename(name: str) -> str:
        for pattern, replacement in compiled:
            name = pattern.sub(replacement, name)
        return name

    return {rename(name): tensor for name, tensor in state.items()}


def _joined(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with query, key and value of each layer in one."""
    parts = {name: match for name in tensors if (match := _ATTENTION_PARTS.match(name))}
    layers = dict.fromkeys((match[1], match[2]) for match in parts.values())
    joined = {name: tensor for name, tensor in tensors.items() if name not in parts}
    for layer, kind in layers:
        joined[f"{layer}qkv{kind}"] = torch.cat([tensors[f"{layer}{part}{kind}"] for part in "qkv"])
    return joined
