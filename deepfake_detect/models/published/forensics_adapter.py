"""Forensics Adapter: a small transformer tells queries in CLIP ViT-L/14 where to look.

Source: Cui et al. 2025, arXiv:2411.19715; OUC-VAS/ForensicsAdapter. Their code mixes CLIP's maps into the
small transformer and then discards the mixture, so it is left out here; their maps of blending borders serve
training alone.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.layout import Converted, Layout, State, logit_layer
from deepfake_detect.records import Preprocessing

_QUERIES, _WIDTH, _CLIP_WIDTH, _PROJECTED = 128, 192, 1024, 768
_HEADS, _SIDE, _BLOCKS, _MIXED_BLOCK = 16, 16, 8, 6
_NOWHERE = -100.0  # added to the attention of what is not to be read
_CLIP = (
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^conv1\.", "patch_embed.proj."),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
# Beginnings of the authors' names that scoring needs, and ours.
_PLACES = {
    "adapter.query_embed": "queries",
    "adapter.query_pos_embed": "query_positions",
    "adapter.vit_model.pos_embed": "positions",
    "adapter.vit_model.blocks.": "blocks.",
    "adapter.patch_conv.": "patches.",
    "adapter.ln_pre.": "norm.",
    "adapter.mask_decoder.query_mlp.layers.": "query_mlp.",
    "adapter.mask_decoder.attn_mlp.layers.": "attention_mlp.",
    "adapter.mask_decoder.bias_scaling.": "scale.",
    "rec_attn_clip.clip_intra_blocks.0.conv_first.": "mix.0.",
    "rec_attn_clip.clip_intra_blocks.0.conv_second.": "mix.2.",
    "clip_post_process.first_process.": "reduce.",
    "clip_post_process.second_process.": "project.",
}
_VISUAL, _LAST = "clip_model.visual.", "clip_post_process.second_process.4."


class _Mlp(nn.Sequential):
    """Layers with a ReLU between them."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        *inner, last = self
        for layer in inner:
            images = torch.relu(layer(images))
        return last(images)  # type: ignore[no-any-return]


class ForensicsAdapter(nn.Module):
    """Images (N, 3, 256, 256) to features (N, 192)."""

    def __init__(self) -> None:
        import timm

        super().__init__()
        self.clip: Any = timm.create_model("vit_large_patch14_clip_quickgelu_224", num_classes=0)
        tiny: Any = timm.create_model("vit_tiny_patch16_224", num_classes=0)
        self.blocks: Any = tiny.blocks[:_BLOCKS]
        self.patches = nn.Conv2d(3, _WIDTH, 16, 16)
        self.queries = nn.Parameter(torch.zeros(1, _QUERIES, _WIDTH))
        self.query_positions = nn.Parameter(torch.zeros(1, _QUERIES, _WIDTH))
        self.positions = nn.Parameter(torch.zeros(1, 14 * 14, _WIDTH))
        self.norm = nn.LayerNorm(_WIDTH)
        self.query_mlp = _Mlp(nn.Linear(_WIDTH, 256), nn.Linear(256, 256), nn.Linear(256, 128))
        self.attention_mlp = _Mlp(
            nn.Conv2d(_WIDTH, 256, 1), nn.Conv2d(256, 256, 1), nn.Conv2d(256, 128 * _HEADS, 1)
        )
        self.scale = nn.Linear(1, 1)
        self.mix = nn.Sequential(nn.Conv1d(_CLIP_WIDTH, 192, 1), nn.ReLU(), nn.Conv1d(192, _CLIP_WIDTH, 1))
        self.projection = nn.Parameter(torch.zeros(_CLIP_WIDTH, _PROJECTED))
        self.reduce = _reduction()
        half, quarter = _PROJECTED // 2, _PROJECTED // 4
        self.project = nn.Sequential(
            nn.Linear(_PROJECTED, half), nn.ReLU(), nn.Linear(half, quarter), nn.ReLU()
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        biases = self.attention_biases(images)
        resized = nn.functional.interpolate(images, size=(224, 224), mode="bilinear", align_corners=False)
        tokens = self.clip.norm_pre(self.clip._pos_embed(self.clip.patch_embed(resized)))
        tokens = torch.cat([tokens[:, :1].expand(-1, _QUERIES, -1), tokens], 1)
        mask = attention_mask(biases)
        for index, block in enumerate(self.clip.blocks):
            tokens = block(tokens, attn_mask=mask)
            if index == _MIXED_BLOCK:
                patches = tokens[:, _QUERIES + 1 :]
                mixed = self.mix(patches.transpose(1, 2)).transpose(1, 2)
                tokens = torch.cat([tokens[:, : _QUERIES + 1], patches + 0.05 * mixed], 1)
        found = self.clip.norm(tokens[:, :_QUERIES]) @ self.projection
        reduced = self.reduce(nn.functional.normalize(found, dim=-1)).squeeze(1)
        return self.project(reduced)  # type: ignore[no-any-return]

    def attention_biases(self, images: torch.Tensor) -> torch.Tensor:
        """Return what is added to the attention of each query to each patch, (N, heads, queries, patches)."""
        grid = self.positions.transpose(1, 2).reshape(1, _WIDTH, 14, 14)
        grid = nn.functional.interpolate(grid, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        positions = torch.cat([self.query_positions, grid.flatten(2).transpose(1, 2)], 1)
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([self.queries.expand(len(images), -1, -1), patches], 1) + positions)
        for index, block in enumerate(self.blocks):
            tokens = block(tokens if index == 0 else tokens + positions)
        queries = self.query_mlp(tokens[:, :_QUERIES])
        maps = tokens[:, _QUERIES:].transpose(1, 2).unflatten(2, (_SIDE, _SIDE))
        keys = self.attention_mlp(maps).flatten(2).unflatten(1, (_HEADS, -1))  # (N, heads, 128, patches)
        return self.scale(torch.einsum("nqd,nhdp->nhqp", queries, keys)[..., None])[..., 0]  # type: ignore[no-any-return]


def attention_mask(biases: torch.Tensor) -> torch.Tensor:
    """Return what is added to the attention among queries, class token and patches, (N, heads, T, T).

    No other token attends to a query, and queries do not attend to the class token.

    Args:
        biases: Of each query to each patch, (N, heads, queries, patches).
    """
    length = _QUERIES + 1 + biases.shape[-1]
    mask = biases.new_zeros(*biases.shape[:2], length, length)
    mask[..., :_QUERIES] = _NOWHERE
    mask[..., :_QUERIES, _QUERIES] = _NOWHERE
    mask[..., :_QUERIES, _QUERIES + 1 :] = biases
    own = torch.arange(_QUERIES, device=biases.device)
    mask[..., own, own] = 0
    return mask


def _reduction() -> nn.Sequential:
    """Return convolutions from the queries' features (N, 128, 768) to one, (N, 1, 768)."""
    layers: list[nn.Module] = []
    for before, after in ((_QUERIES, 64), (64, 32)):
        layers += [nn.Conv1d(before, after, 3, padding=1), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv1d(32, 1, 3, padding=1))


def _convert(state: State) -> Converted:
    visual = {name.removeprefix(_VISUAL): one for name, one in state.items() if name.startswith(_VISUAL)}
    tensors = {"encoder.projection": visual.pop("proj")}
    tensors |= {f"encoder.clip.{_clip_name(name)}": one for name, one in visual.items()}
    tensors["encoder.clip.cls_token"] = tensors["encoder.clip.cls_token"].reshape(1, 1, -1)
    tensors["encoder.clip.pos_embed"] = tensors["encoder.clip.pos_embed"].unsqueeze(0)
    dropped = []
    for name, tensor in state.items():
        place = next((one for one in _PLACES if name.startswith(one)), None)
        unused_block = re.match(r"adapter\.vit_model\.blocks\.(\d+)\.", name)
        if name.startswith((_VISUAL, _LAST)):
            continue
        if place is None or (unused_block and int(unused_block[1]) >= _BLOCKS):
            dropped.append(name)
        else:
            tensors[f"encoder.{_PLACES[place]}{name.removeprefix(place)}"] = tensor
    return Converted(
        {**tensors, **logit_layer(state[f"{_LAST}weight"], state[f"{_LAST}bias"])}, tuple(dropped)
    )


def _clip_name(name: str) -> str:
    for pattern, replacement in _CLIP:
        name = re.sub(pattern, replacement, name)
    return name


_PREPROCESSING = Preprocessing(256, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
BACKBONES = {"forensics_adapter": Backbone(ForensicsAdapter, _PREPROCESSING, smallest=256)}
LAYOUTS = {"forensics-adapter": Layout("Forensics Adapter", "forensics_adapter", _convert)}
