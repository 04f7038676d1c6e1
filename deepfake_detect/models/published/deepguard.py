"""DeepGuard's MS-EffGCViT: an early and a late map of an EfficientNet, each read by a global context ViT.

Sources: HanMoonSub/DeepGuard; Hatamizadeh et al. 2023, arXiv:2206.09959. Layers have the names of the
authors' files. Windows fit one size of image only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.layout import Converted, Layout, State, renamed
from deepfake_detect.records import Preprocessing

_EARLY, _LATE = 1, 4  # of timm's five maps: a quarter and a thirty-second of the image's side


@dataclass(frozen=True)
class _Shape:
    """Of a transformer: its first width, and of each stage blocks, heads and side of a window in tokens."""

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]
    ratio: int


class _SqueezeExcite(nn.Module):
    """Weights the channels of a map (N, C, H, W) by what their means say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // 4
        layers = [nn.Linear(width, narrow, bias=False), nn.GELU(), nn.Linear(narrow, width, bias=False)]
        self.fc = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale: torch.Tensor = self.fc(images.mean((2, 3)))
        return images * scale[:, :, None, None]


class _ResidualConvolution(nn.Module):
    """Adds a depthwise convolution, squeeze and excitation and a 1x1 convolution to a map, then pools it."""

    def __init__(self, width: int, *, pool: bool = False) -> None:
        super().__init__()
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.mb_conv = nn.Sequential(depthwise, nn.GELU(), _SqueezeExcite(width), pointwise)
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pool(images + self.mb_conv(images))  # type: ignore[no-any-return]


class _WindowAttention(nn.Module):
    """Attention within windows, whose queries are their own or those of the whole map.

    Args:
        width: Of a token.
        num_heads: Heads of attention.
        window: Side of a window in tokens.
        is_global: Whether queries come from the whole map.
    """

    relative_position_index: torch.Tensor

    def __init__(self, width: int, num_heads: int, window: int, *, is_global: bool) -> None:
        super().__init__()
        self.num_heads, self.is_global = num_heads, is_global
        self.qkv = nn.Linear(width, width * (2 if is_global else 3))
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        self.register_buffer("relative_position_index", _relative_positions(window), persistent=False)

    def forward(self, windows: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Return windows (N W, T, C); ``queries`` of the whole map are (N, heads, T, C / heads)."""
        count, length, width = windows.shape
        parts = self.qkv(windows).unflatten(-1, (-1, self.num_heads, width // self.num_heads))
        *own, keys, values = parts.permute(2, 0, 3, 1, 4)  # each (N W, heads, T, C / heads)
        asked = queries.repeat_interleave(count // len(queries), 0) if self.is_global else own[0]
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        mixed = nn.functional.scaled_dot_product_attention(asked, keys, values, attn_mask=bias)
        return self.proj(mixed.transpose(1, 2).reshape(count, length, width))  # type: ignore[no-any-return]


def _relative_positions(window: int) -> torch.Tensor:
    """Return the row of the table of biases for each pair of a window's tokens, (T, T)."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    rows, columns = (one.flatten()[:, None] - one.flatten()[None, :] + window - 1 for one in (rows, columns))
    return rows * (2 * window - 1) + columns


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(tokens)))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """A transformer's block on the windows of a map (N, H, W, C)."""

    def __init__(self, width: int, num_heads: int, window: int, mlp_ratio: int, *, is_global: bool) -> None:
        super().__init__()
        self.window = window
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = _WindowAttention(width, num_heads, window, is_global=is_global)
        self.mlp = _Mlp(width, width * mlp_ratio)

    def forward(self, tokens: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        count, height, _, width = tokens.shape
        side = self.window
        grid = (
            self.norm1(tokens).unflatten(2, (-1, side)).unflatten(1, (-1, side))
        )  # (N, h, side, w, side, C)
        windows = grid.transpose(2, 3).reshape(-1, side * side, width)
        mixed = self.attn(windows, queries).reshape(count, height // side, -1, side, side, width)
        tokens = tokens + mixed.transpose(2, 3).reshape(tokens.shape)
        return tokens + self.mlp(self.norm2(tokens))  # type: ignore[no-any-return]


class _Halving(nn.Module):
    """Halves a map (N, H, W, C) and doubles its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mb_conv = _ResidualConvolution(width).mb_conv
        self.reduction = nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(2 * width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        images = self.norm1(tokens).permute(0, 3, 1, 2)
        halved = self.reduction(images + self.mb_conv(images))
        return self.norm2(halved.permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class _Queries(nn.Module):
    """The queries of a whole map (N, H, W, C), pooled to one window: (N, heads, T, C / heads)."""

    def __init__(self, width: int, side: int, window: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        num_halvings = int(math.log2(side // window))
        pools = [True] * num_halvings or [False]
        self.to_q_global = nn.Sequential(*(_ResidualConvolution(width, pool=pool) for pool in pools))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        pooled = self.to_q_global(tokens.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)  # (N, T, C)
        return pooled.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]


class _Stage(nn.Module):
    """Blocks of local and global attention in turn, then half the map except at the end."""

    def __init__(
        self, width: int, depth: int, side: int, num_heads: int, window: int, ratio: int, *, is_last: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(width, num_heads, window, ratio, is_global=index % 2 == 1) for index in range(depth)
        )
        self.downsample = nn.Identity() if is_last else _Halving(width)
        self.q_global_gen = _Queries(width, side, window, num_heads)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        queries = self.q_global_gen(tokens)
        for block in self.blocks:
            tokens = block(tokens, queries)
        return self.downsample(tokens)  # type: ignore[no-any-return]


class _PatchEmbedding(nn.Module):
    def __init__(self, in_chans: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(in_chans, width, 1), _ResidualConvolution(width))
        self.norm = nn.LayerNorm(width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.proj(images).permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class _GlobalContextViT(nn.Module):
    """A map (N, C, side, side) to features (N, F)."""

    def __init__(self, in_chans: int, side: int, shape: _Shape) -> None:
        super().__init__()
        width, ratio = shape.width, shape.ratio
        self.patch_embed = _PatchEmbedding(in_chans, width)
        last = len(shape.depths) - 1
        stages = zip(shape.depths, shape.heads, shape.windows, strict=True)
        self.stages = nn.Sequential(
            *(
                _Stage(width << n, depth, side >> n, count, window, ratio, is_last=n == last)
                for n, (depth, count, window) in enumerate(stages)
            )
        )
        self.num_features = width << last
        self.norm = nn.LayerNorm(self.num_features)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.stages(self.patch_embed(images))).mean((1, 2))  # type: ignore[no-any-return]


class MultiScale(nn.Module):
    """Both transformers on an EfficientNet: images (N, 3, size, size) to features (N, F).

    Args:
        efficientnet: Name in timm.
        size: Side of the image in pixels.
        early: Shape of the transformer on the early map.
        late: Shape of that on the late map.
    """

    def __init__(self, efficientnet: str, size: int, early: _Shape, late: _Shape) -> None:
        import timm

        super().__init__()
        self.backbone = timm.create_model(efficientnet, features_only=True)
        levels: Any = self.backbone.feature_info
        branches = [
            _GlobalContextViT(info["num_chs"], size // info["reduction"], shape)
            for info, shape in ((levels[_EARLY], early), (levels[_LATE], late))
        ]
        self.l_gcvit, self.h_gcvit = branches
        width = sum(branch.num_features for branch in branches)
        self.project = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width // 2), nn.GELU(), nn.Dropout(0.1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.backbone(images)
        return self.project(torch.cat([self.l_gcvit(maps[_EARLY]), self.h_gcvit(maps[_LATE])], -1))  # type: ignore[no-any-return]


def _convert(state: State) -> Converted:
    prefixes = {"feat_extractor.": "", "head.": "project."}
    indices = [name for name in state if name.endswith(".relative_position_index")]
    return renamed(state, prefixes, head="head.4.", dropped=indices)


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_B0 = partial(
    MultiScale,
    "tf_efficientnet_b0",
    224,
    _Shape(24, (2, 2, 4, 2), (1, 2, 4, 8), (7, 7, 14, 7), 4),
    _Shape(256, (4,), (4,), (7,), 4),
)
_B5 = partial(
    MultiScale,
    "tf_efficientnet_b5",
    384,
    _Shape(48, (2, 2, 6, 2), (2, 4, 8, 16), (12, 12, 24, 12), 3),
    _Shape(512, (6,), (16,), (12,), 3),
)
BACKBONES = {
    "deepguard_b0": Backbone(_B0, Preprocessing(224, *_IMAGENET), smallest=224),
    "deepguard_b5": Backbone(_B5, Preprocessing(384, *_IMAGENET), smallest=384),
}
LAYOUTS = {
    "deepguard-b0": Layout("MS-EffGCViT-B0", "deepguard_b0", _convert),
    "deepguard-b5": Layout("MS-EffGCViT-B5", "deepguard_b5", _convert),
}
