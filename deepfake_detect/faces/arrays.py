"""One set of operations for numpy arrays and torch tensors, where the two name them differently.

The cascade runs on tensors with PyTorch's networks, and on arrays with those of another runtime, where
PyTorch may not even be installed: it is imported only when a tensor is passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", np.ndarray, "torch.Tensor")
"""A numpy array or a torch tensor: what a function is given is what it returns."""
_NMS_BLOCK = 256  # boxes that are compared with all others at once


class Namespace(Protocol[Array]):
    """The functions that numpy and torch have in common and that are used here."""

    int32: Any  # dtypes, which have no common type
    float64: Any

    def concatenate(self, parts: Sequence[Array], axis: int, /) -> Array: ...

    def empty(self, shape: tuple[int, ...], *, dtype: Any) -> Array: ...

    def floor(self, values: Array, /) -> Array: ...

    def maximum(self, one: Array, other: Array, /) -> Array: ...

    def moveaxis(self, values: Array, source: int, destination: int, /) -> Array: ...

    def stack(self, parts: Sequence[Array], axis: int, /) -> Array: ...

    def where(self, condition: Array, /) -> tuple[Array, ...]: ...


def namespace(values: Array) -> Namespace[Array]:
    """Return the module whose functions take these values: numpy or torch."""
    if isinstance(values, np.ndarray):
        return cast("Namespace[Array]", np)
    import torch

    return cast("Namespace[Array]", torch)


def device_of(values: Array) -> torch.device | None:
    """Return the torch device of a tensor, ``None`` for an array."""
    return None if isinstance(values, np.ndarray) else values.device


def is_on_gpu(values: Array) -> bool:
    """Return whether values are a tensor in a GPU's memory."""
    return not isinstance(values, np.ndarray) and bool(values.is_cuda)


def to_device(values: np.ndarray, device: torch.device | None) -> Any:  # the kind that the device asks for
    """Return an array as a tensor on a torch device; unchanged if there is none."""
    if device is None:
        return values
    import torch

    return torch.from_numpy(values).to(device)


def to_device_of(values: np.ndarray, other: Array) -> Array:
    """Return an array as the kind of another one, on its device."""
    return cast("Array", to_device(values, device_of(other)))


def as_numpy(values: Array) -> np.ndarray:
    """Return values as an array in main memory."""
    array: np.ndarray = values if isinstance(values, np.ndarray) else values.cpu().numpy()
    return array


def take(values: Array, indices: Array, axis: int) -> Array:
    """Return the values at indices (N,) along an axis, as a copy."""
    either: Any = values  # the type checker reads this body once per kind, each with the other's methods
    return cast(
        "Array",
        either.take(indices, axis) if isinstance(values, np.ndarray) else either.index_select(axis, indices),
    )


def indices_of(mask: Array) -> Array:
    """Return the indices, int64 (M,), at which a mask (N,) is true."""
    return namespace(mask).where(mask)[0]


def concat(parts: Sequence[Array], axis: int = 0) -> Array:
    """Return arrays of one kind, at least one, concatenated."""
    return namespace(parts[0]).concatenate(list(parts), axis)


def as_float32(values: Array) -> Array:
    """Return values as float32."""
    either: Any = values
    return cast("Array", either.astype(np.float32) if isinstance(values, np.ndarray) else either.float())


def as_int64(values: Array) -> Array:
    """Return values as int64, rounded toward zero."""
    either: Any = values
    return cast("Array", either.astype(np.int64) if isinstance(values, np.ndarray) else either.long())


def nms(boxes_xyxy: Array, scores: Array, groups: Array, overlap: float) -> Array:
    """Return the boxes, int64 (M,) by descending score, that remain after non-maximum suppression.

    Args:
        boxes_xyxy: float32 (N, 4).
        scores: float32 (N,).
        groups: int64 (N,): boxes of different groups do not suppress each other.
        overlap: Intersection over union above which the box with the lower score is suppressed.

    Example:
        >>> boxes = np.float32([[0, 0, 9, 9], [0, 0, 9, 8], [0, 0, 9, 8]])
        >>> nms(boxes, np.float32([0.8, 0.9, 0.7]), np.array([0, 0, 1]), 0.5).tolist()
        [1, 2]
    """
    arguments: Any = (boxes_xyxy, scores, groups, overlap)
    if isinstance(boxes_xyxy, np.ndarray):
        return _numpy_nms(*arguments)
    from torchvision.ops import batched_nms

    return cast("Array", batched_nms(*arguments))


def _numpy_nms(boxes_xyxy: np.ndarray, scores: np.ndarray, groups: np.ndarray, overlap: float) -> np.ndarray:
    kept = []
    for group in np.unique(groups):
        rest = np.flatnonzero(groups == group)
        rest = rest[np.argsort(-scores[rest], kind="stable")]
        while len(rest):
            num_best = min(len(rest), _NMS_BLOCK)
            may_both_stay = _overlaps(boxes_xyxy[rest[:num_best]], boxes_xyxy[rest]) <= overlap
            stays = np.ones(len(rest), bool)
            for row in range(num_best):
                if stays[row]:
                    stays[row + 1 :] &= may_both_stay[row, row + 1 :]
            kept.append(rest[:num_best][stays[:num_best]])
            rest = rest[num_best:][stays[num_best:]]
    indices = np.sort(np.concatenate([*kept, np.empty(0, np.int64)]))
    return indices[np.argsort(-scores[indices], kind="stable")]


def _overlaps(boxes_xyxy: np.ndarray, others_xyxy: np.ndarray) -> np.ndarray:
    """Return intersections over unions, float64 (M, N), of boxes (M, 4) and (N, 4)."""
    left, top, right, bottom = boxes_xyxy.T[:, :, None]
    other_left, other_top, other_right, other_bottom = others_xyxy.T
    widths = np.maximum(np.minimum(right, other_right) - np.maximum(left, other_left), 0)
    heights = np.maximum(np.minimum(bottom, other_bottom) - np.maximum(top, other_top), 0)
    shared = widths * heights
    areas = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
    overlaps: np.ndarray = (shared / (areas - shared)).astype(np.float64)
    return overlaps
