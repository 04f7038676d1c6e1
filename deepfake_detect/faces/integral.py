"""Summed-area tables: the mean over any window of a frame from four numbers.

MTCNN looks at a frame in a dozen sizes and at hundreds of crops of it, each shrunk by averaging
("area" interpolation). With the sums over all rectangles that start in the frame's corner, each
of those averages costs four look-ups however large its window is, and since sums of whole numbers
are exact, it is the average that :func:`torch.nn.functional.interpolate` computes.

Tables are numpy's arrays or torch's tensors, as the networks that look at them want it.

Layout: a table is (B, H + 1, W + 1, 3), channels last; entry (y, x) is the sum of all pixels above
and to the left of (y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deepfake_detect.faces.arrays import (
    Array,
    as_float32,
    device_of,
    is_on_gpu,
    library,
    placed,
    taken,
)

if TYPE_CHECKING:
    import torch

# MTCNN's networks take (x - 127.5) / 128.
_PIXEL_SCALE = 1 / 128
_PIXEL_SHIFT = -127.5 / 128
_LARGEST_INT32 = 2**31 - 1


def frames_array(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return RGB uint8 arrays (H, W, 3) of one size as one array (B, H, W, 3), a single one uncopied
    where its memory is in order and may be written to."""
    return np.stack(images) if len(images) > 1 else np.require(images[0], requirements=["C", "W"])[None]


def frames_tensor(images: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Return RGB uint8 arrays (H, W, 3) of one size as one tensor (B, H, W, 3) on a device.

    On a CPU a single array is not copied, unless torch could not use it as it lies in memory.
    """
    import torch

    tensor = torch.from_numpy(frames_array(images))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def summed_area_table(images: Array, *, out: Array | None = None) -> Array:
    """Return the summed-area tables of frames.

    Args:
        images: uint8 (B, H, W, 3), an array, or a tensor on any device.
        out: On a CPU, tables of as many or more frames of this size that are no longer needed: they
            are written over. New memory for several large frames can take longer than their sums.

    Returns:
        (B, H + 1, W + 1, 3) of the same kind and device: int32, or float64 for frames of more than 8.4
        million pixels, whose sums are larger than int32 holds. Both are exact.

    Example:
        >>> summed_area_table(np.ones((1, 2, 3, 3), np.uint8))[0, :, :, 0].tolist()
        [[0, 0, 0, 0], [0, 1, 2, 3], [0, 2, 4, 6]]
    """
    batch, height, width, channels = images.shape
    shape = (batch, height + 1, width + 1, channels)
    fits_int32 = 255 * height * width <= _LARGEST_INT32
    dtype = library(images).int32 if fits_int32 else library(images).float64
    if is_on_gpu(images):
        table = images.new_zeros(shape, dtype=dtype)
        table[:, 1:, 1:] = images.cumsum(1, dtype=dtype).cumsum(2, dtype=dtype)
        return table
    table = library(images).empty(shape, dtype=dtype) if out is None else out[:batch]
    for image, sums in zip(np.asarray(images), np.asarray(table), strict=True):
        cv2.integral(image, sums, sdepth=cv2.CV_32S if fits_int32 else cv2.CV_64F)
    return table


def window_edges(length: int, count: int) -> np.ndarray:
    """Return the windows that shrink (or stretch) a length to a count by averaging.

    Args:
        length: Pixels along one side.
        count: Pixels wanted.

    Returns:
        int64 (2, count): the first pixel of each window, and the pixel after its last. Windows
        overlap by a pixel where the lengths do not divide.

    Example:
        >>> window_edges(5, 3).tolist()
        [[0, 1, 3], [2, 4, 5]]
    """
    number = np.arange(count)
    return np.stack([number * length // count, -(-(number + 1) * length // count)])


def edge_differences(values: Array, edges: Array) -> Array:
    """Return values (B, N, ...) at the last edges (2, M) less those at the first: (B, M, ...)."""
    differences = taken(values, edges[1], 1)
    differences -= taken(values, edges[0], 1)
    return differences


def window_weights(areas: Array) -> Array:
    """Return float32 weights that make of sums over windows of these areas (pixels) what networks take."""
    return _PIXEL_SCALE / as_float32(areas)


def network_pixels(sums: Array, weights: Array) -> Array:
    """Return (mean - 127.5) / 128 as float32 from sums over windows and :func:`window_weights`."""
    pixels = as_float32(sums)
    pixels *= weights
    pixels += _PIXEL_SHIFT
    return pixels


def crop_windows(tables: Array, image_numbers: Array, windows: Array, side: int) -> Array:
    """Cut windows out of frames, all shrunk (or stretched) to one size by averaging.

    Args:
        tables: Of :func:`summed_area_table`, (B, H + 1, W + 1, 3).
        image_numbers: int64 (N,): which frame each window is of.
        windows: int64 (N, 4): left, top, right, bottom in pixels, right and bottom exclusive,
            inside the frame and not empty.
        side: Pixels along each side of a crop.

    Returns:
        float32 (N, 3, side, side), channels last in memory, as the networks take it.
    """
    number = placed(np.arange(side), device_of(tables))
    first, last = windows[:, :2, None], windows[:, 2:, None]  # (N, 2, 1)
    starts = number * (last - first) // side
    ends = -(-(number + 1) * (last - first) // side)
    edges = library(starts).stack([first + starts, first + ends], 2)  # (N, 2, 2, side)
    return sample_windows(tables, image_numbers, edges[:, 1], edges[:, 0])


def sample_windows(tables: Array, image_numbers: Array, rows: Array, columns: Array) -> Array:
    """Return pictures whose pixels are means over the windows between given rows and columns.

    Args:
        tables: Of :func:`summed_area_table`, (B, H + 1, W + 1, 3).
        image_numbers: int64 (N,): which frame each picture is of.
        rows: int64 (N, 2, R): first rows of the windows, and the rows after their last.
        columns: int64 (N, 2, C), likewise.

    Returns:
        float32 (N, 3, R, C), channels last in memory, as the networks take it.
    """
    height, width = tables.shape[1:3]
    count, num_rows, num_columns = len(rows), rows.shape[2], columns.shape[2]
    lines = (image_numbers[:, None] * height + rows.reshape(count, 2 * num_rows)) * width
    places = lines[:, :, None] + columns.reshape(count, 1, 2 * num_columns)  # (N, 2 R, 2 C)
    corners = taken(tables.reshape(-1, 3), places.reshape(-1), 0).reshape(*places.shape, 3)
    bands = corners[:, num_rows:] - corners[:, :num_rows]  # (N, R, 2 C, 3)
    sums = bands[:, :, num_columns:] - bands[:, :, :num_columns]  # (N, R, C, 3)
    # One factor per row, one per column: spreading one per pixel over three channels costs more.
    heights, widths = as_float32(rows[:, 1] - rows[:, 0]), as_float32(columns[:, 1] - columns[:, 0])
    weights = _PIXEL_SCALE / widths
    weights = library(weights).stack([weights] * 3, 2).reshape(count, 1, 3 * num_columns)
    pixels = as_float32(sums.reshape(count, num_rows, 3 * num_columns))
    pixels *= 1 / heights[:, :, None]
    pixels *= weights
    pixels += _PIXEL_SHIFT
    return channels_first(pixels.reshape(count, num_rows, num_columns, 3))


def channels_first(pixels: Array) -> Array:
    """Return a view (N, 3, H, W) of pixels (N, H, W, 3)."""
    return library(pixels).moveaxis(pixels, 3, 1)
