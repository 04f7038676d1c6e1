"""The mosaic: one image that holds a frame at all scales at which MTCNN searches it.

P-Net runs over a dozen scales of a frame. In one image that is one run instead of a dozen, most of
which would be too small to keep a processor busy. P-Net has no padding, so away from the seams its
outputs are those for each scale alone; outputs at the seams are dropped.

    +-------------+      tile 0, the largest scale
    |      0      |
    |             |
    +---------+---+
    |    1    | 4 |
    |         +--++
    +------+--+-+5|      the mosaic is cut into strips that fit into a CPU cache
    |  2   | 3  +-+
    +------+----+

Everything that depends only on the frame's size is computed once, in :func:`mosaic_plan`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from deepfake_detect.faces.arrays import Array, to_device
from deepfake_detect.faces.integral import (
    channels_first,
    edge_differences,
    network_pixels,
    row_differences,
    window_edges,
    window_weights,
)

if TYPE_CHECKING:
    import torch

# Geometry of P-Net: one output per window of 12 x 12 pixels, with a stride of 2.
CELL_SIZE = 12
CELL_STRIDE = 2
_STRIP_PIXELS = 30_000  # P-Net's widest layer and the differences of rows then fit into a CPU's cache


@dataclass(frozen=True, eq=False)
class Tile:
    """One scale of the frame, and its position in the mosaic."""

    row_edges: np.ndarray  # int64 (2, height): first pixels of the windows whose means are the tile's pixels,
    column_edges: np.ndarray  # and the pixels after their last; (2, width)
    top: int = 0  # even, as is left, so that P-Net's cells fall as they would for the tile alone
    left: int = 0

    @property
    def height(self) -> int:
        return int(self.row_edges.shape[1])

    @property
    def width(self) -> int:
        return int(self.column_edges.shape[1])


@dataclass(frozen=True, eq=False)
class Strip(Generic[Array]):
    """Some rows of a mosaic, and how to compute them from the frame's integral image.

    A pixel is the mean over a window of the frame: a difference of two rows of the integral image, then
    of two columns.
    """

    height: int  # rows of pixels
    first_cell_row: int  # of P-Net's outputs
    row_edges: Array  # int32 (2, R): first and last row of the integral image for each row of each tile
    column_edges: Array  # int32 (2, P): for each pixel, indices into the (R, W + 1) differences of rows
    weights: Array  # float32 (P, 3): of each window, three times, since broadcasting costs more than reading
    seams: Array  # int64 (S,): indices of the first layer's outputs that see past the edge of a tile


@dataclass(frozen=True, eq=False)
class MosaicPlan(Generic[Array]):
    """How frames of one size become mosaics."""

    width: int  # of the mosaic, in pixels
    scales: Array  # float32 (T,): side of each tile divided by the side of the frame
    tops: Array  # int64 (T,): first cell row of each tile
    lefts: Array  # int64 (T,): first cell column
    cell_tiles: Array  # int64 (cell rows * cell columns,): the tile that a cell lies in, or -1
    strips: tuple[Strip[Array], ...]  # from top to bottom

    @property
    def num_cell_columns(self) -> int:
        return int(num_cells(self.width))


def frame_scales(height: int, width: int, *, smallest: float, factor: float) -> tuple[float, ...]:
    """Return the scales of a frame in descending order; empty if no face would fit.

    Args:
        height, width: Of the frame in pixels.
        smallest: Side in pixels of the smallest face to find.
        factor: Ratio of one scale to the one before.

    Example:
        >>> [round(scale, 3) for scale in frame_scales(40, 60, smallest=20, factor=0.709)]
        [0.6, 0.425, 0.302]
    """
    scale = CELL_SIZE / smallest
    side = min(height, width) * scale
    scales = []
    while side >= CELL_SIZE:
        scales.append(scale)
        scale, side = scale * factor, side * factor
    return tuple(scales)


def shrunk(length: int, scale: float) -> int:
    """Return the length in pixels of a side of a frame after scaling."""
    return int(length * scale + 1)


def num_cells(length: Any) -> Any:  # an int or an array of them
    """Return the number of P-Net's outputs along a length of pixels.

    Its layers: 3 x 3, pooling by 2 with a last window that may be half empty, 3 x 3, 3 x 3.
    """
    return (length - 1) // 2 - 4


@functools.lru_cache(maxsize=4)
def mosaic_plan(
    height: int, width: int, scales: tuple[float, ...], *, is_whole: bool, device: torch.device | None
) -> MosaicPlan[Any]:  # arrays or tensors, as the device says
    """Return how to make mosaics of frames of one size.

    The last few plans are cached, since the frames of a clip share one. A plan takes 20 bytes per
    pixel of the mosaic: 2 MB for 720p frames and faces from 56 pixels, 33 MB for 1080p and 20 pixels.

    Args:
        height, width: Of the frames in pixels.
        scales: Of :func:`frame_scales`, at least one.
        is_whole: Whether the mosaic is one strip instead of several.
        device: The torch device of the frames; ``None`` for arrays.
    """
    tiles, mosaic_height, mosaic_width = _pack(
        [
            Tile(window_edges(height, shrunk(height, scale)), window_edges(width, shrunk(width, scale)))
            for scale in scales
        ]
    )
    cell_tiles = np.full((num_cells(mosaic_height), num_cells(mosaic_width)), -1)
    for number, tile in enumerate(tiles):
        cells = cell_tiles[tile.top // CELL_STRIDE :, tile.left // CELL_STRIDE :]
        cells[: num_cells(tile.height), : num_cells(tile.width)] = number
    num_cell_rows = len(cell_tiles)
    step = num_cell_rows if is_whole else max(1, _STRIP_PIXELS // mosaic_width // CELL_STRIDE)
    strips = (
        _strip(tiles, first, min(step, num_cell_rows - first), width + 1, mosaic_width)
        for first in range(0, num_cell_rows, step)
    )
    return MosaicPlan(
        mosaic_width,
        to_device(np.array(scales, np.float32), device),
        to_device(np.array([tile.top // CELL_STRIDE for tile in tiles]), device),
        to_device(np.array([tile.left // CELL_STRIDE for tile in tiles]), device),
        to_device(cell_tiles.reshape(-1), device),
        tuple(_on_device(strip, device) for strip in strips),
    )


def strip_pixels(tables: Array, strip: Strip[Array], width: int) -> Array:
    """Return a strip of mosaics, float32 (B, 3, strip height, width), channels last in memory."""
    rows = row_differences(tables, strip.row_edges)  # (B, R, W + 1, 3)
    rows = rows.reshape(len(tables), -1, 3)
    sums = edge_differences(rows, strip.column_edges)  # (B, P, 3)
    pixels = network_pixels(sums, strip.weights)
    return channels_first(pixels.reshape(-1, strip.height, width, 3))


def _pack(tiles: Sequence[Tile]) -> tuple[list[Tile], int, int]:
    """Return tiles, largest first, with positions in an image as wide as the first; its height and width.

    Each goes into the first unused rectangle that holds it, or else below all others.
    """
    packed: list[Tile] = []
    bottom, full_width = 0, _even(tiles[0].width)
    free: list[tuple[int, int, int, int]] = []  # unused rectangles: top, left, height, width
    for tile in tiles:
        height, width = _even(tile.height), _even(tile.width)
        room = next((one for one in free if one[2] >= height and one[3] >= width), None)
        if room is None:
            room = (bottom, 0, height, full_width)
            bottom += height
        else:
            free.remove(room)
        top, left, room_height, room_width = room
        packed.append(replace(tile, top=top, left=left))
        free.append((top, left + width, height, room_width - width))
        free.append((top + height, left, room_height - height, room_width))
    return packed, bottom, full_width


def _even(length: int) -> int:
    return length + length % 2


def _strip(
    tiles: Sequence[Tile], first_cell_row: int, num_cell_rows: int, table_width: int, width: int
) -> Strip[np.ndarray]:
    """Return the strip of a mosaic that gives these rows of outputs."""
    top = first_cell_row * CELL_STRIDE
    height = num_cell_rows * CELL_STRIDE + CELL_SIZE - CELL_STRIDE
    column_edges = np.zeros((2, height, width), np.int32)
    areas = np.ones((height, width, 1), np.float32)
    row_edges = np.zeros((2, 0), np.int32)
    for tile in tiles:
        tile_rows = tile.row_edges[:, max(0, top - tile.top) : max(0, top + height - tile.top)]
        num_rows, begin = tile_rows.shape[1], max(0, tile.top - top)
        region = np.s_[begin : begin + num_rows, tile.left : tile.left + tile.width]
        starts = (row_edges.shape[1] + np.arange(num_rows)) * table_width
        for edges, tile_columns in zip(column_edges, tile.column_edges, strict=True):
            edges[region] = starts[:, None] + tile_columns
        areas[(*region, 0)] = np.outer(np.diff(tile_rows, axis=0), np.diff(tile.column_edges, axis=0))
        row_edges = np.concatenate([row_edges, tile_rows.astype(np.int32)], 1)
    return Strip(
        height,
        first_cell_row,
        row_edges,
        column_edges.reshape(2, -1),
        np.repeat(window_weights(areas).reshape(-1, 1), 3, 1),
        _seams(tiles, top, height, width),
    )


def _seams(tiles: Sequence[Tile], top: int, height: int, width: int) -> np.ndarray:
    """Return indices of the first layer's outputs that lie just past a tile of odd size: the other half
    of a pooling window that the tile alone would leave empty.
    """
    is_seam = np.zeros((height - 2, width - 2), bool)
    for tile in tiles:
        begin, end = tile.top - top, tile.top - top + tile.height
        if tile.height % 2 and 2 <= end < height:
            is_seam[end - 2, tile.left : tile.left + tile.width] = True
        if tile.width % 2 and end > 0:
            is_seam[max(0, begin) : end, tile.left + tile.width - 2] = True
    return np.flatnonzero(is_seam)


def _on_device(strip: Strip[np.ndarray], device: torch.device | None) -> Strip[Any]:
    names = ("row_edges", "column_edges", "weights", "seams")
    return replace(strip, **{name: to_device(getattr(strip, name), device) for name in names})
