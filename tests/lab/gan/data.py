"""Small sets of images for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.lab.gan.images import GanImages
from deepfake_detect.records import CropGeometry


def write_images(folder: Path, count: int, *, side: int = 32, gray: bool = False, seed: int = 0) -> Path:
    """Write PNGs of soft random blots, RGB or gray."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        coarse = rng.integers(0, 256, (4, 4, 1 if gray else 3), dtype=np.uint8)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        (folder / f"{number:03d}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


def squares(count: int = 12, side: int = 8, channels: int = 1, *, seed: int = 0) -> GanImages:
    """Return bright squares at random positions on black."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, side, side, channels), np.uint8)
    for image, (top, left) in zip(images, rng.integers(0, side - 3, (count, 2)), strict=True):
        image[top : top + 3, left : left + 3] = 255
    return GanImages(images, images[:0], "squares", (None,) * count, CropGeometry(1.2), ("squares on black",))
