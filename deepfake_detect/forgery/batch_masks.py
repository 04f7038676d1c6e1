"""The masks of a batch: the definition of ``masks``, on a coarser grid and without a loop over faces."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from deepfake_detect.forgery.batch_draws import NOISE_SIDE, MaskDraws

_CELLS = 112  # a side of the grid
_NUM_DIRECTIONS = 64
# Drawing, bending and enlarging the coarse grid smooth as a further window would whose squared
# width is this many cells.
_GRID_SMOOTHS = 3.5
# Fitted, so that edges are as steep as those of one picture at a time: how much steeper the bent edge
# is made, and the share of a window's width that is kept at least.
_STEEPER = 3.0
_LEAST_WIDTH_KEPT = 0.65
_UNIFORM_STD = 1 / np.sqrt(3)


def draw_masks(outlines_xy: np.ndarray, size: tuple[int, int], draws: MaskDraws) -> torch.Tensor:
    """Return the weights with which sources are blended in; see :func:`masks.draw_mask`.

    Args:
        outlines_xy: (N, P, 2), in pixels of the pictures.
        size: Height and width of the pictures in pixels.
        draws: What chance decided.

    Returns:
        float32 (N, H, W) in [0, 1], on the device of the noise.
    """
    cells = (outlines_xy + 0.5) * (_CELLS / np.array(size[::-1]))
    cells_per_pixel = _CELLS / draws.grid  # (N, 2), of the masks as the configuration sees them
    ends = _row_ends(cells, (draws.first_width[:, None] - 1) / 2 * cells_per_pixel)
    whole = _row_ends(cells, np.zeros_like(cells_per_pixel))
    vanished = (ends[:, 1] - ends[:, 0]).max(1) < 1
    ends[vanished] = whole[vanished]
    device = draws.noise.device
    filled = _filled(torch.from_numpy(ends.astype(np.float32)).to(device))
    if draws.config.elastic_alpha > 0:
        filled = F.grid_sample(filled[:, None], _bending(draws), padding_mode="border", align_corners=False)[
            :, 0
        ]
    # Bending has blurred the edge.
    filled = filled.sub_(0.5).mul_(_STEEPER).add_(0.5).clamp_(0, 1)
    widths = draws.second_width[:, None] * cells_per_pixel
    narrowed = np.sqrt(np.maximum(widths**2 - _GRID_SMOOTHS, (_LEAST_WIDTH_KEPT * widths) ** 2))
    soft = _smoothed(filled, *_kernels(narrowed, draws.sigma[:, None] * cells_per_pixel, device))
    peak = soft.amax((1, 2)).clamp_min_(1e-6)
    ratio = torch.from_numpy(draws.ratio.astype(np.float32)).to(device)
    soft *= (ratio / peak)[:, None, None]
    return F.interpolate(soft[:, None], size=size, mode="bilinear")[:, 0]


def _row_ends(cells_xy: np.ndarray, worn: np.ndarray) -> np.ndarray:
    """Return where each row of the grid enters and leaves the hulls: (N, 2, cells).

    A hull is what lies on the near side of the tangents in many directions. Worn down by a
    rectangle, its tangents move in by what the rectangle measures in their direction.

    Args:
        cells_xy: Points (N, P, 2) in cells, 0 being the edge of the first.
        worn: Half width and height (N, 2) of that rectangle.
    """
    angles = (np.arange(_NUM_DIRECTIONS) + 0.5) * (2 * np.pi / _NUM_DIRECTIONS)  # none is level
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    reach = (cells_xy @ normals.T).max(1) - worn @ np.abs(normals).T
    rows = np.arange(_CELLS) + 0.5
    crossing = (reach[:, None] - rows[:, None] * normals[:, 1]) / normals[:, 0]
    is_right = normals[:, 0] > 0
    return np.stack([crossing[..., ~is_right].max(2), crossing[..., is_right].min(2)], axis=1)


def _filled(ends: torch.Tensor) -> torch.Tensor:
    """Return the share (N, cells, cells) of each cell that lies between the ends of its row."""
    middles = torch.arange(_CELLS, device=ends.device) + 0.5
    inside = torch.minimum(middles - ends[:, 0, :, None], ends[:, 1, :, None] - middles)
    return inside.add_(0.5).clamp_(0, 1)


def _bending(draws: MaskDraws) -> torch.Tensor:
    """Return for each cell the place it is taken from, as grid_sample has it: (N, cells, cells, 2)."""
    config, noise = draws.config, draws.noise
    step = float(np.mean(config.mask_side)) / NOISE_SIDE
    sigma = np.full((len(noise), 2), config.elastic_sigma / step)
    across, down = _kernels(6 * sigma, sigma, noise.device)
    smooth = torch.stack([_smoothed(noise[:, n], across, down) for n in (0, 1)], dim=1)
    # Noise of independent pixels, smoothed by a Gaussian, keeps this much of its spread.
    wanted = config.elastic_alpha * _UNIFORM_STD / (2 * np.sqrt(np.pi) * config.elastic_sigma)
    energy = (across[0] ** 2).sum() * (down[0] ** 2).sum()
    smooth *= wanted / (_UNIFORM_STD * energy.sqrt())
    smooth *= torch.from_numpy((2 / draws.grid).astype(np.float32)).to(noise.device)[..., None, None]
    shift = F.interpolate(smooth, size=(_CELLS, _CELLS), mode="bilinear").permute(0, 2, 3, 1)
    line = (torch.arange(_CELLS, device=noise.device) + 0.5) * (2 / _CELLS) - 1
    return shift + torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)


def _kernels(
    widths: np.ndarray, sigmas: np.ndarray, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Gaussian kernels across and down, each float32 (N, L), cut off at widths (N, 2)."""
    kernels = []
    for axis in (0, 1):
        half = widths[:, axis, None] / 2
        reach = int(np.ceil(half.max()))
        places = np.arange(-reach, reach + 1)
        kernel = np.exp(-0.5 * (places / sigmas[:, axis, None]) ** 2)
        kernel *= np.clip(half - np.abs(places) + 0.5, 0, 1)
        kernel /= kernel.sum(1, keepdims=True)
        kernels.append(torch.from_numpy(kernel.astype(np.float32)).to(device))
    return kernels[0], kernels[1]


def _smoothed(values: torch.Tensor, across: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Return values (N, R, C) smoothed by each one's own kernels, the border repeated.

    Both ways it is the rows that are mixed, which is several times faster than the columns.
    """
    for kernels in (down, across):
        count, length = kernels.shape
        padded = F.pad(values[None], (0, 0, length // 2, length // 2), mode="replicate")
        values = F.conv2d(padded, kernels.view(count, 1, length, 1), groups=count)[0]
        values = values.transpose(1, 2).contiguous()
    return values
