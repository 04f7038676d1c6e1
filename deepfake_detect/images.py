"""Any image object -> RGB uint8 (H, W, 3), or an error that explains what to pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepfake_detect.errors import ImageError

_ACCEPTED = "pass RGB arrays (H, W, 3), uint8 or float in [0, 1], PIL images or torch tensors of that shape"


def rgb_uint8(image: Any, *, subject: str = "image") -> np.ndarray:
    """Return an image as an RGB uint8 array (H, W, 3), without a copy if it already is one.

    Args:
        image: numpy array or torch tensor (H, W, 3), uint8, or float with values in [0, 1]; or a
            PIL image of any mode. A tensor may be (3, H, W), as networks take them.
        subject: Name of the image in errors.

    Raises:
        ImageError: Another type, shape, dtype or range, or a side of 0 pixels.

    Example:
        >>> int(rgb_uint8(np.ones((2, 3, 3))).max())
        255
    """
    if hasattr(image, "convert") and hasattr(image, "getbands"):  # PIL, without importing it
        return np.asarray(image.convert("RGB"))
    if hasattr(image, "detach"):  # torch, without importing it
        try:
            image = image.detach().cpu().numpy()
        except TypeError as error:  # numpy has no such dtype
            kind = str(image.dtype).removeprefix("torch.")
            raise ImageError(subject, f"is a {kind} tensor", _ACCEPTED) from error
        if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
            image = np.ascontiguousarray(image.transpose(1, 2, 0))
    if not isinstance(image, np.ndarray):
        raise ImageError(subject, f"is a {type(image).__name__}", _ACCEPTED)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        hint = {2: "for grayscale, stack it three times: np.stack([image] * 3, axis=-1)"}.get(
            image.ndim, _ACCEPTED
        )
        raise ImageError(subject, f"has the shape {image.shape}", hint)
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise ImageError(subject, f"has the dtype {image.dtype}", _ACCEPTED)
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ImageError(
            subject, "is floating point with values outside [0, 1]", "divide it by its white value"
        )
    scaled: np.ndarray = np.rint(image * 255).astype(np.uint8)
    return scaled
