"""Stems: what a network looks at instead of the colors, in three channels, so that any backbone fits.

=====  ======================================================================================
rgb    the normalized colors, unchanged
srm    noise residuals of three fixed high-pass filters of the spatial rich model (Fridrich and
       Kodovsky 2012, IEEE TIFS 7), truncated, as Zhou et al. 2018 (arXiv:1805.04953) give them to a
       network
dct    low, middle and high frequencies of blocks of 8 x 8 pixels by the discrete cosine
       transform, each as an image (after the frequency-aware decomposition of F3-Net, Qian et al.
       2020, arXiv:2007.09355, with the blocks of JPEG)
=====  ======================================================================================

Both filters read the luminance and have nothing to train.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.records import Preprocessing
from deepfake_detect.registry import Registry

if TYPE_CHECKING:  # the names of stems are options of training, whose help does not wait for torch
    from collections.abc import Callable

    from torch import nn

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in JPEG
TRUNCATION = 3.0  # of residuals, in gray levels, and of scaled bands
BLOCK = 8
# Bands by the sum of both frequencies of a block, and how many gray levels of each become 1.
_BANDS = ((0, 1), (2, 4), (5, 14))
BAND_SCALES = (64.0, 16.0, 4.0)


def srm_filters() -> np.ndarray:
    """Return three filters of the spatial rich model, float64 (3, 5, 5), for gray levels.

    They are its 5 x 5 and 3 x 3 square filters and its second-order horizontal one; flat areas and
    gradients become 0.

    Example:
        >>> bool(abs(srm_filters().sum(axis=(1, 2))).max() < 1e-15)
        True
    """
    square = np.array(
        [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
    )
    small, line = np.zeros((5, 5)), np.zeros((5, 5))
    small[1:4, 1:4] = [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]
    line[2, 1:4] = [1, -2, 1]
    return np.stack([square / 12, small / 4, line / 2])


def dct_basis() -> np.ndarray:
    """Return the orthonormal basis of blocks, float64 (64, 8, 8): by vertical, then horizontal frequency.

    Example:
        >>> basis = dct_basis().reshape(64, 64)
        >>> bool(np.allclose(basis @ basis.T, np.eye(64)))
        True
    """
    positions = np.arange(BLOCK) + 0.5
    waves = np.cos(np.pi * np.arange(BLOCK)[:, None] * positions / BLOCK) * math.sqrt(2 / BLOCK)
    waves[0] /= math.sqrt(2)
    basis: np.ndarray = np.einsum("ui,vj->uvij", waves, waves)
    return basis.reshape(BLOCK**2, BLOCK, BLOCK)


def band_masks() -> np.ndarray:
    """Return which of the 64 frequencies each band has, bool (3, 64); each is in one."""
    sums = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)).reshape(-1)
    return np.stack([(sums >= low) & (sums <= high) for low, high in _BANDS])


def _rgb(_: Preprocessing) -> nn.Module:
    from torch import nn

    return nn.Identity()


def _srm(preprocessing: Preprocessing) -> nn.Module:
    from deepfake_detect.models.stem_layers import SrmStem

    return SrmStem(preprocessing)


def _dct(preprocessing: Preprocessing) -> nn.Module:
    from deepfake_detect.models.stem_layers import DctStem

    return DctStem(preprocessing)


STEMS: Registry[Callable[[Preprocessing], nn.Module]] = Registry(
    "stem", {"rgb": _rgb, "srm": _srm, "dct": _dct}
)
"""Stems by name: from the preprocessing to a module from normalized images (N, 3, S, S) to the same shape."""


def make_stem(spec: ModelSpec) -> nn.Module:
    """Return the stem of a spec."""
    return STEMS.find(spec.stem)(spec.preprocessing)
