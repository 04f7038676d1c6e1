"""The same operations on numpy's arrays and on torch's tensors, where the two name them differently.

The cascade runs on either: on tensors beside networks of PyTorch, on arrays beside networks of
another runtime, where PyTorch need not even be installed. So nothing here imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor; what a function is given is what it returns."""


def library(values: Array) -> Any:
    """Return the module whose functions take these values: numpy or torch."""
    return np if isinstance(values, np.ndarray) else sys.modules["torch"]


def device_of(values: Array) -> Any:
    """Return the torch device of a tensor; ``None`` for an array."""
    return None if isinstance(values, np.ndarray) else values.device


def is_on_gpu(values: Array) -> bool:
    """Tell whether values are a tensor in a GPU's memory."""
    return not isinstance(values, np.ndarray) and bool(values.is_cuda)


def placed(values: np.ndarray, device: Any) -> Array:
    """Return an array as a tensor on a torch device, or as it is where there is none."""
    return values if device is None else sys.modules["torch"].from_numpy(values).to(device)


def as_numpy(values: Array) -> np.ndarray:
    """Return values as an array in the computer's own memory."""
    array: np.ndarray = values if isinstance(values, np.ndarray) else values.cpu().numpy()
    return array


def taken(values: Array, places: Array, axis: int) -> Array:
    """Return a new array of the values at places (N,) along an axis.

    Example:
        >>> taken(np.array([[1, 2, 3]]), np.array([2, 0]), 1).tolist()
        [[3, 1]]
    """
    if isinstance(values, np.ndarray):
        return values.take(places, axis)
    return values.index_select(axis, places)


def places_of(mask: Array) -> Array:
    """Return the places, int64 (M,), where a mask (N,) is true."""
    return np.flatnonzero(mask) if isinstance(mask, np.ndarray) else mask.nonzero()[:, 0]


def joined(parts: Sequence[Array], axis: int = 0) -> Array:
    """Return arrays of one kind, at least one, put end to end."""
    return library(parts[0]).concatenate(list(parts), axis)


def as_float32(values: Array) -> Array:
    """Return values as float32."""
    return values.astype(np.float32) if isinstance(values, np.ndarray) else values.float()


def as_int64(values: Array) -> Array:
    """Return values as int64, rounded towards zero."""
    return values.astype(np.int64) if isinstance(values, np.ndarray) else values.long()


def nms(boxes_xyxy: Array, scores: Array, groups: Array, overlap: float) -> Array:
    """Return which boxes stay when those go that overlap a surer one of their group.

    Args:
        boxes_xyxy: float32 (N, 4).
        scores: float32 (N,).
        groups: int64 (N,): boxes of different groups leave one another alone.
        overlap: Intersection over union from above which the less sure of two boxes goes.

    Returns:
        int64 (M,), nms first.

    Example:
        >>> boxes = np.float32([[0, 0, 9, 9], [0, 0, 9, 8], [0, 0, 9, 8]])
        >>> nms(boxes, np.float32([0.8, 0.9, 0.7]), np.array([0, 0, 1]), 0.5).tolist()
        [1, 2]
    """
    if not isinstance(boxes_xyxy, np.ndarray):
        from torchvision.ops import batched_nms

        return batched_nms(boxes_xyxy, scores, groups, overlap)
    sizes = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    areas = sizes[:, 0] * sizes[:, 1]
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        starts = np.maximum(boxes_xyxy[best, :2], boxes_xyxy[rest, :2])
        ends = np.minimum(boxes_xyxy[best, 2:], boxes_xyxy[rest, 2:])
        shared = np.maximum(ends - starts, 0).prod(1)
        shares = (shared / (areas[best] + areas[rest] - shared)).astype(np.float64)
        order = rest[(shares <= overlap) | (groups[rest] != groups[best])]
    return np.array(kept, np.int64)
