"""The crops of facenet-pytorch: the whole box with a margin, stretched to a square, as a tensor.

They differ from the crops of this library's detectors, which are squares of the frame. Rounding and
resizing are those of facenet-pytorch 2.5.3, which resizes images of each kind in its own way: PIL images
bilinearly, arrays with OpenCV and tensors with PyTorch, both by averaging.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate

from deepfake_detect.errors import OptionError
from deepfake_detect.faces.cascade import USUAL
from deepfake_detect.faces.detector import SMALLEST_USUAL_FACE
from deepfake_detect.faces.torch_detector import MtcnnDetector
from deepfake_detect.images import rgb_uint8
from deepfake_detect.records import Face, Frame

FaceSelection = Literal["largest", "probability", "center_weighted_size", "largest_over_threshold", "all"]
_LEAST_PROBABILITY = 0.9
_CENTER_WEIGHT = 2.0


def face_tensors(
    images: Any,
    *,
    image_size: int = 160,
    margin: int = 0,
    selection: FaceSelection = "largest",
    standardize: bool = True,
    min_face: float = SMALLEST_USUAL_FACE,
    thresholds: tuple[float, float, float] = USUAL.thresholds,
    factor: float = USUAL.factor,
    device: str | torch.device = "auto",
) -> Any:
    """Return faces as the tensors that facenet-pytorch's MTCNN returns, ready for a FaceNet.

    Args:
        images: A PIL image, an RGB array (H, W, 3), a tensor (H, W, 3) or (3, H, W), or several of them,
            also as one array or tensor with a first dimension more. Sizes may differ.
        image_size: Side of the crops in pixels.
        margin: Pixels of a crop, in all, that are around the box; below ``image_size``.
        selection: Which face of an image; see :func:`select_faces`.
        standardize: Whether pixels become (x - 127.5) / 128; otherwise they are 0 to 255.
        min_face: Side in pixels of the smallest face to detect, 8 or more.
        thresholds, factor: See :class:`MtcnnDetector`.
        device: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"``.

    Returns:
        For an image its face, float32 (3, S, S) on the CPU, or with ``"all"`` its N faces (N, 3, S, S);
        ``None`` without a face. For several images a list of those.

    Raises:
        ImageError: An image is not RGB; the message names it.
        OptionError: An option is out of range.
        DeviceError: There is no such device.

    Example:
        >>> face_tensors(np.zeros((120, 160, 3), np.uint8)) is None
        True
    """
    _check(image_size, margin, selection)
    is_single = isinstance(images, Frame) or hasattr(images, "getbands") or getattr(images, "ndim", 0) == 3
    several = [images] if is_single else list(images)
    detector = MtcnnDetector(
        device=device, min_face=min_face, mode="exact", thresholds=thresholds, factor=factor
    )
    found = [
        _tensors(image, select_faces(faces, selection, size=_size(image)), image_size, margin, standardize)
        for image, faces in zip(several, detector.detect_each(several), strict=True)
    ]
    crops = found if selection == "all" else [None if one is None else one[0] for one in found]
    return crops[0] if is_single else crops


def select_faces(faces: Sequence[Face], selection: FaceSelection, *, size: tuple[int, int]) -> list[Face]:
    """Return the faces of an image that a rule of facenet-pytorch selects: one, none, or all.

    ========================  =====================================================================
    selection                 the face
    ========================  =====================================================================
    "largest"                 with the box of the largest area
    "probability"             with the highest score
    "center_weighted_size"    with the largest area minus twice its squared distance from the center
    "largest_over_threshold"  the largest with a score above 0.9
    "all"                     all, largest first
    ========================  =====================================================================

    Args:
        faces: Faces of one image, largest first.
        selection: The rule.
        size: Width and height of the image in pixels.

    Raises:
        OptionError: The rule is unknown.
    """
    _check_selection(selection)
    if selection == "largest_over_threshold":
        faces = [face for face in faces if face.score > _LEAST_PROBABILITY]
    if selection == "all" or not faces:
        return list(faces)
    boxes = np.stack([face.box_xyxy for face in faces])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    ranks = {"probability": np.array([face.score for face in faces])}
    if selection == "center_weighted_size":
        offsets = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array(size) / 2
        ranks[selection] = areas - (offsets**2).sum(1) * _CENTER_WEIGHT
    return [faces[int(np.argsort(ranks.get(selection, areas))[-1])]]


def extract_face(
    image: Any, box_xyxy: np.ndarray | Iterable[float], *, image_size: int = 160, margin: int = 0
) -> torch.Tensor:
    """Return a box of an image, stretched to a square, as facenet-pytorch's ``extract_face`` does.

    Args:
        image: PIL image, RGB array (H, W, 3), or tensor (H, W, 3) or (3, H, W).
        box_xyxy: Left, top, right and bottom in pixels of the image.
        image_size: Side of the crop in pixels.
        margin: Pixels of the crop, in all, that are around the box; cut off at the image's border.

    Returns:
        float32 (3, S, S), values 0 to 255.

    Raises:
        ImageError: The image is not RGB.
        OptionError: The margin is not below ``image_size``, or the box has no pixel of the image.

    Example:
        >>> extract_face(np.full((90, 120, 3), 7, np.uint8), [40, 30, 60, 60]).shape
        torch.Size([3, 160, 160])
    """
    _check(image_size, margin, "largest")
    width, height = _size(image)
    left, top, right, bottom = box_xyxy
    around_x, around_y = (margin * side / (image_size - margin) for side in (right - left, bottom - top))
    window = (
        int(max(left - around_x / 2, 0)),
        int(max(top - around_y / 2, 0)),
        int(min(right + around_x / 2, width)),
        int(min(bottom + around_y / 2, height)),
    )
    if window[0] >= window[2] or window[1] >= window[3]:
        cause = f"{[float(edge) for edge in (left, top, right, bottom)]} has no pixel of the image"
        raise OptionError("box_xyxy", cause, f"the image has {width} x {height} pixels")
    pixels = _resized(image, window, image_size)
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).contiguous()


def _resized(image: Any, window: tuple[int, int, int, int], side: int) -> np.ndarray:
    """Return a window of an image, uint8 (side, side, 3), resized as facenet-pytorch does for its kind."""
    left, top, right, bottom = window
    if hasattr(image, "getbands"):
        from PIL import Image

        return np.asarray(image.convert("RGB").crop(window).resize((side, side), Image.Resampling.BILINEAR))
    part = rgb_uint8(image.image if isinstance(image, Frame) else image)[top:bottom, left:right]
    if hasattr(image, "detach"):
        planes = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None].float()
        resized = interpolate(planes, size=(side, side), mode="area").byte()[0]
        return np.asarray(resized.permute(1, 2, 0))
    return cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)


def _tensors(
    image: Any, faces: Sequence[Face], image_size: int, margin: int, standardize: bool
) -> torch.Tensor | None:
    if not faces:
        return None
    crops = [extract_face(image, face.box_xyxy, image_size=image_size, margin=margin) for face in faces]
    stacked = torch.stack(crops)
    return (stacked - 127.5) / 128.0 if standardize else stacked


def _size(image: Any) -> tuple[int, int]:
    """Return width and height in pixels."""
    if hasattr(image, "getbands"):
        width, height = image.size
        return width, height
    pixels = rgb_uint8(image.image if isinstance(image, Frame) else image)
    return pixels.shape[1], pixels.shape[0]


def _check(image_size: int, margin: int, selection: str) -> None:
    if image_size < 1:
        raise OptionError("image_size", f"is {image_size}", "must be 1 or more pixels")
    if not 0 <= margin < image_size:
        raise OptionError("margin", f"is {margin}", f"must be 0 to {image_size - 1}, below image_size")
    _check_selection(selection)


def _check_selection(selection: str) -> None:
    if selection not in get_args(FaceSelection):
        allowed = ", ".join(get_args(FaceSelection))
        raise OptionError("selection", f"is {selection!r}", f"must be one of {allowed}")
