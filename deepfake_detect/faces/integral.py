"""Integral images: the mean over any window of a frame from four numbers.

MTCNN searches a frame at a dozen scales and hundreds of crops of it, each resized by averaging ("area"
interpolation). With an integral image each average costs four look-ups however large its window is.
Sums of integers are exact, so the averages are those of :func:`torch.nn.functional.interpolate`.

Integral images are numpy arrays or torch tensors, as the networks need them.

Layout: (B, H + 1, W + 1, 3), channels last; entry (y, x) is the sum of all pixels above and to the left
of (y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deepfake_detect.faces.arrays import (
    Array,
    as_float32,
    is_on_gpu,
    namespace,
    take,
    to_device_of,
)

if TYPE_CHECKING:
    import torch

# MTCNN's networks take (x - 127.5) / 128.
_PIXEL_SCALE = 1 / 128
_PIXEL_SHIFT = -127.5 / 128


def frames_array(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return RGB uint8 arrays (H, W, 3) of one size as one array (B, H, W, 3).

    A single array is not copied if it is contiguous and writable.
    """
    return np.stack(images) if len(images) > 1 else np.require(images[0], requirements=["C", "W"])[None]


def frames_tensor(images: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Return :func:`frames_array` as a tensor on a device."""
    import torch

    tensor = torch.from_numpy(frames_array(images))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def integral_images(images: Array, *, out: Array | None = None) -> Array:
    """Return the integral images of frames.

    Args:
        images: uint8 (B, H, W, 3), an array, or a tensor on any device.
        out: On a CPU, integral images of as many or more frames of this size to overwrite. Allocating
            memory for several large frames can take longer than computing the sums.

    Returns:
        int32 (B, H + 1, W + 1, 3) of the same kind and device. Sums of frames of more than 8.4 million
        pixels are modulo 2^32; those over smaller windows, which are differences of them, are exact.

    Example:
        >>> integral_images(np.ones((1, 2, 3, 3), np.uint8))[0, :, :, 0].tolist()
        [[0, 0, 0, 0], [0, 1, 2, 3], [0, 2, 4, 6]]
    """
    batch, height, width, channels = images.shape
    shape = (batch, height + 1, width + 1, channels)
    dtype = namespace(images).int32
    if not isinstance(images, np.ndarray) and is_on_gpu(images):
        sums_on_gpu = images.new_zeros(shape, dtype=dtype)
        sums_on_gpu[:, 1:, 1:] = images.cumsum(1, dtype=dtype).cumsum(2, dtype=dtype)
        return sums_on_gpu
    table = namespace(images).empty(shape, dtype=dtype) if out is None else out[:batch]
    for image, sums in zip(np.asarray(images), np.asarray(table), strict=True):
        cv2.integral(image, sums, sdepth=cv2.CV_32S)
    return table


def window_edges(length: int, count: int) -> np.ndarray:
    """Return the windows, int64 (2, count), that resize a length in pixels to a count by averaging.

    They are given by their first pixels and the pixels after their last, and overlap by one pixel if the
    lengths do not divide.

    Example:
        >>> window_edges(5, 3).tolist()
        [[0, 1, 3], [2, 4, 5]]
    """
    number = np.arange(count)
    return np.stack([number * length // count, -(-(number + 1) * length // count)])


def edge_differences(values: Array, edges: Array) -> Array:
    """Return values (B, N, ...) at the last edges (2, M) minus those at the first: (B, M, ...)."""
    differences: Array = take(values, edges[1], 1)
    differences -= take(values, edges[0], 1)
    return differences


def row_differences(tables: Array, edges: Array) -> Array:
    """Return :func:`edge_differences` of rows of integral images (B, H + 1, W + 1, 3)."""
    if is_on_gpu(tables):
        return edge_differences(tables, edges)
    batch, _, width, channels = tables.shape
    rows = namespace(tables).empty((batch, edges.shape[1], width, channels), dtype=tables.dtype)
    pairs = list(zip(*edges.tolist(), strict=True))
    # Row by row they stay in the cache: three times as fast as taking all rows twice.
    for table, differences in zip(np.asarray(tables), np.asarray(rows), strict=True):
        for (first, last), difference in zip(pairs, differences, strict=True):
            np.subtract(table[last], table[first], out=difference)
    return rows


def window_weights(areas: Array) -> Array:
    """Return float32 weights by which sums over windows of these areas (pixels) become network inputs."""
    weights: Array = _PIXEL_SCALE / as_float32(areas)
    return weights


def network_pixels(sums: Array, weights: Array) -> Array:
    """Return (mean - 127.5) / 128 as float32 from sums over windows and :func:`window_weights`."""
    pixels = as_float32(sums)
    pixels *= weights
    pixels += _PIXEL_SHIFT
    return pixels


def crop_windows(tables: Array, image_numbers: Array, windows: Array, side: int) -> Array:
    """Crop windows from frames, all resized to one size by averaging.

    Args:
        tables: Integral images (B, H + 1, W + 1, 3).
        image_numbers: int64 (N,): index of each window's frame.
        windows: int64 (N, 4): left, top, right, bottom in pixels, right and bottom exclusive,
            inside the frame and not empty.
        side: Pixels along each side of a crop.

    Returns:
        float32 (N, 3, side, side), channels last in memory, as the networks take them.
    """
    number = to_device_of(np.arange(side), windows)
    first, last = windows[:, :2, None], windows[:, 2:, None]  # (N, 2, 1)
    starts = number * (last - first) // side
    ends = -(-(number + 1) * (last - first) // side)
    edges = namespace(starts).stack([first + starts, first + ends], 2)  # (N, 2, 2, side)
    return sample_windows(tables, image_numbers, edges[:, 1], edges[:, 0])


def sample_windows(tables: Array, image_numbers: Array, rows: Array, columns: Array) -> Array:
    """Return images (N, 3, R, C), as :func:`crop_windows`, of means between rows and columns of frames.

    Args:
        tables, image_numbers: As in :func:`crop_windows`.
        rows: int64 (N, 2, R): first rows of the windows, and the rows after their last.
        columns: int64 (N, 2, C), in the same form.
    """
    height, width = tables.shape[1:3]
    count, num_rows, num_columns = len(rows), rows.shape[2], columns.shape[2]
    lines = (image_numbers[:, None] * height + rows.reshape(count, 2 * num_rows)) * width
    indices = lines[:, :, None] + columns.reshape(count, 1, 2 * num_columns)  # (N, 2 R, 2 C)
    corners = take(tables.reshape(-1, 3), indices.reshape(-1), 0).reshape(*indices.shape, 3)
    bands = corners[:, num_rows:] - corners[:, :num_rows]  # (N, R, 2 C, 3)
    sums = bands[:, :, num_columns:] - bands[:, :, :num_columns]  # (N, R, C, 3)
    # One factor per row and one per column: broadcasting one per pixel over three channels is slower.
    heights, widths = as_float32(rows[:, 1] - rows[:, 0]), as_float32(columns[:, 1] - columns[:, 0])
    weights = _PIXEL_SCALE / widths
    weights = namespace(weights).stack([weights] * 3, 2).reshape(count, 1, 3 * num_columns)
    pixels = as_float32(sums.reshape(count, num_rows, 3 * num_columns))
    pixels *= 1 / heights[:, :, None]
    pixels *= weights
    pixels += _PIXEL_SHIFT
    return channels_first(pixels.reshape(count, num_rows, num_columns, 3))


def channels_first(pixels: Array) -> Array:
    """Return a view (N, 3, H, W) of pixels (N, H, W, 3)."""
    return namespace(pixels).moveaxis(pixels, 3, 1)
