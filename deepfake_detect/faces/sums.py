"""Summed-area tables: the mean over any window of a frame from four numbers.

MTCNN looks at a frame in a dozen sizes and at hundreds of crops of it, each shrunk by averaging
("area" interpolation). With the sums over all rectangles that start in the frame's corner, each
of those averages costs four look-ups however large its window is, and since sums of whole numbers
are exact, it is the average that :func:`torch.nn.functional.interpolate` computes.

Layout: a table is (B, H + 1, W + 1, 3), channels last; entry (y, x) is the sum of all pixels above
and to the left of (y, x).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

# MTCNN's networks take (x - 127.5) / 128.
_PIXEL_SCALE = 1 / 128
_PIXEL_SHIFT = -127.5 / 128
_LARGEST_INT32 = 2**31 - 1


def frames_tensor(images: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Return RGB uint8 arrays (H, W, 3) of one size as one tensor (B, H, W, 3) on a device.

    On a CPU a single array is not copied, unless torch could not use it as it lies in memory.
    """
    batch = np.stack(images) if len(images) > 1 else np.require(images[0], requirements=["C", "W"])[None]
    tensor = torch.from_numpy(batch)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def summed_area_table(images: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return the summed-area tables of frames.

    Args:
        images: uint8 (B, H, W, 3) on any device.
        out: On a CPU, tables of as many or more frames of this size that are no longer needed: they
            are written over. New memory for several large frames can take longer than their sums.

    Returns:
        (B, H + 1, W + 1, 3) on the same device: int32, or float64 for frames of more than 8.4
        million pixels, whose sums are larger than int32 holds. Both are exact.

    Example:
        >>> summed_area_table(torch.ones(1, 2, 3, 3, dtype=torch.uint8))[0, :, :, 0].tolist()
        [[0, 0, 0, 0], [0, 1, 2, 3], [0, 2, 4, 6]]
    """
    batch, height, width, channels = images.shape
    shape = (batch, height + 1, width + 1, channels)
    fits_int32 = 255 * height * width <= _LARGEST_INT32
    dtype = torch.int32 if fits_int32 else torch.float64
    if images.is_cuda:
        table = images.new_zeros(shape, dtype=dtype)
        table[:, 1:, 1:] = images.cumsum(1, dtype=dtype).cumsum(2, dtype=dtype)
        return table
    table = torch.empty(shape, dtype=dtype) if out is None else out[:batch]
    for image, sums in zip(images.numpy(), table.numpy(), strict=True):
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


def edge_differences(values: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Return values (B, N, ...) at the last edges (2, M) less those at the first: (B, M, ...)."""
    return values.index_select(1, edges[1]).sub_(values.index_select(1, edges[0]))


def window_weights(areas: torch.Tensor) -> torch.Tensor:
    """Return float32 weights that make of sums over windows of these areas (pixels) what networks take."""
    return _PIXEL_SCALE / areas.float()


def network_pixels(sums: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return (mean - 127.5) / 128 as float32 from sums over windows and :func:`window_weights`."""
    return sums.float().mul_(weights).add_(_PIXEL_SHIFT)


def crop_windows(
    tables: torch.Tensor, image_numbers: torch.Tensor, windows: torch.Tensor, side: int
) -> torch.Tensor:
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
    number = torch.arange(side, device=tables.device)
    first, last = windows[:, :2, None], windows[:, 2:, None]  # (N, 2, 1)
    starts = number * (last - first) // side
    ends = -(-(number + 1) * (last - first) // side)
    columns, rows = torch.stack([first + starts, first + ends], 2).unbind(1)
    return sample_windows(tables, image_numbers, rows, columns)


def sample_windows(
    tables: torch.Tensor, image_numbers: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
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
    num_rows, num_columns = rows.shape[2], columns.shape[2]
    row_places = ((image_numbers[:, None] * height + rows.flatten(1)) * width)[:, :, None]
    places = row_places + columns.flatten(1)[:, None]  # (N, 2 R, 2 C)
    corners = tables.view(-1, 3).index_select(0, places.view(-1)).view(*places.shape, 3)
    bands = corners[:, num_rows:] - corners[:, :num_rows]  # (N, R, 2 C, 3)
    sums = bands[:, :, num_columns:] - bands[:, :, :num_columns]  # (N, R, C, 3)
    # One factor per row, one per column: spreading one per pixel over three channels costs more.
    heights, widths = (rows[:, 1] - rows[:, 0]).float(), (columns[:, 1] - columns[:, 0]).float()
    weights = (_PIXEL_SCALE / widths).repeat_interleave(3, 1)  # (N, 3 C)
    pixels = sums.flatten(2).float().mul_(1 / heights[:, :, None]).mul_(weights[:, None]).add_(_PIXEL_SHIFT)
    return pixels.view(-1, num_rows, num_columns, 3).permute(0, 3, 1, 2)
