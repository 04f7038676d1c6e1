"""A small head that reads a frozen detector's feature maps and says how likely each position was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from benchmarks.studies.forged_region_data import GRID, ORIGINAL, View
from deepfake_detect.data.transforms import crops_to_tensor
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.layers import outputs_of
from deepfake_detect.models.tensor_file import save_tensors

LAYERS = ("blocks.2", "blocks.4", "blocks.6")  # strides 8, 16, 32 of MobileNetV2 and EfficientNet-Lite0
POOLED = "global_pool"  # what their own head reads
_BATCH = 32


class RegionHead(nn.Module):
    """Feature maps of several strides to one map of logits as fine as the finest.

    Args:
        channels: Of each layer, finest first.
        width: Channels in between.
    """

    def __init__(self, channels: Sequence[int], width: int = 32) -> None:
        super().__init__()
        start = torch.tensor([0.0, 1.0])[:, None, None, None]
        for number, count in enumerate(channels):
            self.register_buffer(f"scale_{number}", start.repeat(1, count, 1, 1))
        self.reduce = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.drop = nn.Dropout2d(0.2)
        self.around = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mix = nn.Conv2d(width, width, 1)
        self.logit = nn.Conv2d(width, 1, 1)

    @property
    def scales(self) -> list[torch.Tensor]:
        """Mean and deviation (2, C, 1, 1) of the features of each layer."""
        return [self.get_buffer(f"scale_{number}") for number in range(len(self.reduce))]

    def fit_scale(self, maps: Sequence[torch.Tensor]) -> None:
        """Have features standardized by their mean and deviation over all positions of these maps."""
        for scale, one in zip(self.scales, maps, strict=True):
            deviation, mean = torch.std_mean(one.float(), (0, 2, 3))
            scale.copy_(torch.stack([mean, deviation + 1e-3])[:, :, None, None])

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits (N, h, w) of maps (N, C, h, w), the finest first."""
        size = maps[0].shape[-2:]
        parts = []
        for one, reduce, scale in zip(maps, self.reduce, self.scales, strict=True):
            reduced = reduce((one - scale[0]) / scale[1])
            parts.append(functional.interpolate(reduced, size, mode="bilinear", align_corners=False))
        joined = self.drop(functional.relu(torch.stack(parts).sum(0)))
        joined = functional.relu(self.mix(self.around(joined)))
        logits: torch.Tensor = self.logit(joined)[:, 0]
        return logits


@dataclass(frozen=True, eq=False)
class Examples:
    """What a frozen detector makes of crops.

    Attributes:
        views: N crops as it sees them.
        maps: float16 (N, C, h, w) of each layer.
        pooled: float32 (N, F), what its own head reads.
        regions: float32 (N, 56, 56), how much of each position was changed; NaN where unknown.
    """

    views: Sequence[View]
    maps: Sequence[torch.Tensor]
    pooled: torch.Tensor
    regions: torch.Tensor

    def __len__(self) -> int:
        return len(self.views)

    @property
    def methods(self) -> np.ndarray:
        return np.array([view.crop.method for view in self.views])

    @property
    def is_forged(self) -> np.ndarray:
        return self.methods != ORIGINAL

    @property
    def is_located(self) -> np.ndarray:
        """Whether it is known what was changed."""
        return ~torch.isnan(self.regions[:, 0, 0]).numpy()

    @property
    def changed(self) -> np.ndarray:
        """Which positions were changed for the most part, bool (N, 56, 56)."""
        return self.regions.numpy() >= 0.5

    def where(self, chosen: np.ndarray) -> Examples:
        """Return those of a mask, bool (N,)."""
        views = [view for view, is_chosen in zip(self.views, chosen, strict=True) if is_chosen]
        return Examples(views, [one[chosen] for one in self.maps], self.pooled[chosen], self.regions[chosen])

    def __add__(self, other: Examples) -> Examples:
        maps = [torch.cat(both) for both in zip(self.maps, other.maps, strict=True)]
        pooled, regions = torch.cat([self.pooled, other.pooled]), torch.cat([self.regions, other.regions])
        return Examples([*self.views, *other.views], maps, pooled, regions)


def examples_of(model: ForgeryClassifier, views: Sequence[View], *, kept: Path) -> Examples:
    """Run a detector on crops; what it makes of them is kept in a file, and read from it the next time."""
    if not kept.exists():
        save_tensors(kept, _run(model, views), {})
    tensors = load_file(kept)
    maps = [tensors[name] for name in LAYERS]
    return Examples(views, maps, tensors[POOLED], tensors["regions"])


@torch.inference_mode()
def _run(model: ForgeryClassifier, views: Sequence[View]) -> dict[str, torch.Tensor]:
    found: dict[str, list[torch.Tensor]] = {name: [] for name in (*LAYERS, POOLED)}
    for start in range(0, len(views), _BATCH):
        images = [view.image() for view in views[start : start + _BATCH]]
        tensors = crops_to_tensor(images, model.spec.preprocessing)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = outputs_of(model, found, tensors)
        for name, output in outputs.items():
            found[name].append(output.float() if name == POOLED else output.half().contiguous())
    regions = torch.from_numpy(np.stack([view.region() for view in views]))
    return {**{name: torch.cat(parts) for name, parts in found.items()}, "regions": regions}


def train_head(examples: Examples, *, epochs: int, seed: int = 0) -> RegionHead:
    """Train a head; the detector stays as it is."""
    torch.manual_seed(seed)
    head = RegionHead([one.shape[1] for one in examples.maps])
    head.fit_scale(examples.maps)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.05)
    steps = epochs * -(-len(examples) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(examples)).split(_BATCH):
            logits = head([one[chosen].float() for one in examples.maps])
            wanted = _resized(examples.regions[chosen], logits.shape[-1])
            optimizer.zero_grad()
            functional.binary_cross_entropy_with_logits(logits, wanted).backward()
            optimizer.step()
            schedule.step()
    return head.eval()


def _resized(maps: torch.Tensor, side: int) -> torch.Tensor:
    return functional.interpolate(maps[:, None], (side, side), mode="area")[:, 0]


@torch.inference_mode()
def predict(head: RegionHead, examples: Examples) -> np.ndarray:
    """Return the probability that each position was changed, float32 (N, 56, 56)."""
    found = []
    for chosen in torch.arange(len(examples)).split(_BATCH):
        logits = head([one[chosen].float() for one in examples.maps])
        logits = functional.interpolate(logits[:, None], (GRID, GRID), mode="bilinear", align_corners=False)
        found.append(torch.sigmoid(logits[:, 0]).numpy())
    return np.concatenate(found)
