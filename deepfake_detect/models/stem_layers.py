"""The layers of :mod:`models.stems`; apart, since the names of stems must not wait for torch."""

from __future__ import annotations

import torch
from torch import nn

from deepfake_detect.models.stems import (
    BAND_SCALES,
    BLOCK,
    LUMINANCE,
    TRUNCATION,
    band_masks,
    dct_basis,
    srm_filters,
)
from deepfake_detect.records import Preprocessing


class _LuminanceStem(nn.Module):
    """From normalized colors to the luminance in gray levels; the buffers are not part of a file."""

    mean: torch.Tensor
    std: torch.Tensor
    weights: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        for name, values in (
            ("mean", preprocessing.mean),
            ("std", preprocessing.std),
            ("weights", LUMINANCE),
        ):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def luminance(self, images: torch.Tensor) -> torch.Tensor:
        """Return the luminance (N, 1, H, W), 0 to 255, of normalized images (N, 3, H, W)."""
        colors = (images * self.std + self.mean) * 255
        return (colors * self.weights).sum(1, keepdim=True)


class SrmStem(_LuminanceStem):
    """Truncated noise residuals, -1 to 1."""

    filters: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__(preprocessing)
        self.register_buffer("filters", torch.tensor(srm_filters()[:, None]).float(), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return residuals (N, 3, H, W) of normalized images (N, 3, H, W)."""
        padded = _with_edges(self.luminance(images), 2, (2, 2))
        residuals = nn.functional.conv2d(padded, self.filters)
        return residuals.clamp(-TRUNCATION, TRUNCATION) / TRUNCATION


class DctStem(_LuminanceStem):
    """Three bands of frequencies as images, -3 to 3; their unscaled sum is the luminance less 128."""

    basis: torch.Tensor
    bands: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__(preprocessing)
        basis = torch.tensor(dct_basis())[:, None]  # (64, 1, 8, 8)
        weights = torch.tensor(band_masks().T) / torch.tensor(BAND_SCALES)  # (64, 3)
        self.register_buffer("basis", basis.float(), persistent=False)
        self.register_buffer("bands", (basis * weights[..., None, None]).float(), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return bands (N, 3, H, W) of normalized images (N, 3, H, W)."""
        height, width = images.shape[-2:]
        padded = _with_edges(self.luminance(images) - 128, 0, (-height % BLOCK, -width % BLOCK))
        frequencies = nn.functional.conv2d(padded, self.basis, stride=BLOCK)  # (N, 64, H / 8, W / 8)
        bands = nn.functional.conv_transpose2d(frequencies, self.bands, stride=BLOCK)
        return bands[..., :height, :width].clamp(-TRUNCATION, TRUNCATION)


def _with_edges(images: torch.Tensor, before: int, after: tuple[int, int]) -> torch.Tensor:
    """Return images (N, 1, H, W) with their edges repeated ``before`` them, and below and right ``after``.

    Not by torch's own padding: its export to ONNX warns.
    """
    rows = [images[:, :, :1]] * before + [images] + [images[:, :, -1:]] * after[0]
    tall = torch.cat(rows, dim=2)
    columns = [tall[..., :1]] * before + [tall] + [tall[..., -1:]] * after[1]
    return torch.cat(columns, dim=3)
