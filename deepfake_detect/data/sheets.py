"""Contact sheets: crops side by side in one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.errors import ImageError, OutputError
from deepfake_detect.io.files import atomic_path

_CAPTION_HEIGHT = 18
_GAP = 4
_BACKGROUND = 255


def contact_sheet(
    images: Sequence[np.ndarray],
    captions: Sequence[str] = (),
    *,
    num_columns: int | None = None,
    side: int = 128,
) -> np.ndarray:
    """Arrange images in a grid, RGB uint8 (H, W, 3), each with its caption below it, if there are any.

    Images, RGB uint8 (H, W, 3) of any sizes, are resized to ``side`` by ``side`` pixels. Without
    ``num_columns`` there are as many rows as columns.

    Raises:
        ImageError: There is no image.

    Example:
        >>> contact_sheet([np.zeros((9, 9, 3), np.uint8)] * 3, ["a", "b", "c"], side=20).shape
        (88, 52, 3)
    """
    if not images:
        raise ImageError("contact sheet", "there is no image to show", "pass one or more")
    columns = num_columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height = side + (_CAPTION_HEIGHT if captions else 0) + _GAP
    sheet = np.full((rows * height + _GAP, columns * (side + _GAP) + _GAP, 3), _BACKGROUND, np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * height + _GAP, number % columns * (side + _GAP) + _GAP
        shrinks = max(image.shape[:2]) > side
        sheet[top : top + side, left : left + side] = cv2.resize(
            image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
        )
        if captions:
            origin = (left, top + side + _CAPTION_HEIGHT - 5)
            cv2.putText(
                sheet, captions[number], origin, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA
            )
    return sheet


def save_image(path: Path, image: np.ndarray) -> None:
    """Write an RGB uint8 image (H, W, 3) as PNG, atomically.

    Raises:
        OutputError: It cannot be written.
    """
    is_encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not is_encoded:
        raise OutputError(path, "cannot be encoded as PNG", "report this with the image's shape")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
