"""Detectors that read frequencies: F3-Net's bands and the phase spectrum of SPSL, each before an Xception."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import nn

from deepfake_detect.models.published.xception import xception

_NUM_BANDS = 4
_TINY = 1e-12
_LARGEST_SIDE = 512  # of an image whose transform is a table


class F3Net(nn.Module):
    """F3-Net's frequency-aware decomposition, then an Xception: images (N, 3, S, S) to features (N, 2048).

    Four learned filters of the image's discrete cosine transform give four images of 3 channels.

    Source: Qian et al. 2020, "Thinking in frequency", arXiv:2007.09355; this branch alone is DeepfakeBench's.

    Args:
        size: Side S of the image in pixels.
    """

    transform: torch.Tensor

    def __init__(self, size: int = 256) -> None:
        super().__init__()
        if not 1 <= size <= _LARGEST_SIDE:
            raise TypeError(f"size is {size}, must be 1 to {_LARGEST_SIDE}")
        self.register_buffer("transform", cosine_transform(size), persistent=False)
        self.filters = nn.Parameter(_bands(size))
        self.network = xception(in_chans=3 * _NUM_BANDS)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.forward_features(self._decomposed(images))  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(self._decomposed(images))  # type: ignore[no-any-return]

    def _decomposed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the image (N, 3, S, S) of each band, one after the other: (N, 12, S, S)."""
        spectrum = self.transform @ images @ self.transform.T
        bands = [self.transform.T @ (spectrum * one) @ self.transform for one in self.filters]
        return torch.cat(bands, dim=1)


class SPSL(nn.Module):
    """Spatial-phase shallow learning: images (N, 3, H, W) to features (N, 2048).

    A fourth channel is the gray image rebuilt from the phase of its spectrum alone.

    Source: Liu et al. 2021, "Spatial-phase shallow learning", arXiv:2103.01856; with all of Xception, as in
    DeepfakeBench.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = xception(in_chans=4)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.forward_features(_with_phase(images))  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(_with_phase(images))  # type: ignore[no-any-return]


def cosine_transform(size: int) -> torch.Tensor:
    """Return the orthonormal matrix (size, size) of the discrete cosine transform (type 2).

    Example:
        >>> matrix = cosine_transform(4)
        >>> torch.allclose(matrix @ matrix.T, torch.eye(4), atol=1e-6)
        True
    """
    frequency, position = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size) + 0.5
    matrix = math.sqrt(2 / size) * torch.cos(math.pi / size * frequency * position)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def _bands(size: int) -> torch.Tensor:
    """Return the low, middle and high frequencies, and all (4, size, size), as 0 and 1."""
    diagonal = torch.arange(size)[:, None] + torch.arange(size)
    low, middle = size // 2.82, size // 2
    limits = ((0, low), (low, middle), (middle, 2 * size), (0, 2 * size))
    return torch.stack([((diagonal >= first) & (diagonal <= last)).float() for first, last in limits])


def _with_phase(images: torch.Tensor) -> torch.Tensor:
    """Return images with a fourth channel, from the phase of their spectrum: (N, 4, H, W).

    The Fourier transform is a product of matrices, which ONNX has too and is not less exact.
    """
    gray = images.mean(dim=1, keepdim=True)
    height, width = (int(side) for side in gray.shape[-2:])
    (cos_y, sin_y), (cos_x, sin_x) = ([one.to(images) for one in _waves(side)] for side in (height, width))
    across, across_imaginary = gray @ cos_x, -(gray @ sin_x)
    real, imaginary = cos_y @ across + sin_y @ across_imaginary, cos_y @ across_imaginary - sin_y @ across
    magnitude = (real.square() + imaginary.square()).sqrt().clamp_min(_TINY)
    real, imaginary = real / magnitude, imaginary / magnitude
    back, back_imaginary = real @ cos_x - imaginary @ sin_x, real @ sin_x + imaginary @ cos_x
    rebuilt = (cos_y @ back - sin_y @ back_imaginary) / (height * width)
    return torch.cat([images, rebuilt], dim=1)


@functools.lru_cache(maxsize=4)
def _waves(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosine and sine (side, side) of the discrete Fourier transform."""
    # Of NumPy, since what is made while PyTorch builds a network without numbers has none, and is kept here.
    angles = 2 * np.pi / side * np.outer(np.arange(side), np.arange(side))
    return torch.from_numpy(np.cos(angles)).float(), torch.from_numpy(np.sin(angles)).float()
