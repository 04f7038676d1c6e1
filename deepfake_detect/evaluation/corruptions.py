"""Corruptions that images undergo before they reach a detector, at five levels each.

A corruption is a pure function of image and level: noise and blocks are seeded by the bytes of the
image, so that a crop changes in the same way in every run. Sizes are in units of a crop 224 pixels wide.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.video.still import through_h264

_REFERENCE_SIDE = 224
_BLOCKS_PER_SIDE = 8


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        words: Unit of the level, for axes and tables.
        levels: From the mildest to the strongest.
        apply: RGB uint8 (H, W, 3) and a level to an image of the same shape and type.
    """

    words: str
    levels: tuple[float, ...]
    apply: Callable[[np.ndarray, float], np.ndarray]


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Encode and decode the image as JPEG of a quality from 1 to 100."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV cannot read its own JPEG"
    return np.ascontiguousarray(decoded[..., ::-1])


def h264(image: np.ndarray, crf: float) -> np.ndarray:
    """Encode and decode the image as an H.264 key frame, at a constant rate factor from 0 to 51."""
    return through_h264(image, crf=int(crf))


def downscale(image: np.ndarray, fraction: float) -> np.ndarray:
    """Shrink the image to a fraction of its side, and enlarge it again."""
    height, width = image.shape[:2]
    small = (max(1, round(width * fraction)), max(1, round(height * fraction)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return _to_uint8(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC))


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of a standard deviation in pixels of a crop 224 wide."""
    return _to_uint8(cv2.GaussianBlur(image, (0, 0), sigma * image.shape[1] / _REFERENCE_SIDE))


def noise(image: np.ndarray, sigma: float) -> np.ndarray:
    """Add Gaussian noise of a standard deviation in gray levels of 255, to each channel."""
    return _to_uint8(image + _generator(image).normal(0.0, sigma, image.shape))


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply every value."""
    return _to_uint8(image * factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale the distance of every value from the mean gray of the image."""
    mean = image.mean()
    return _to_uint8(mean + factor * (image - mean))


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale the distance of every color from its gray; 0 removes all color."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float64)
    return _to_uint8(gray + factor * (image - gray))


def occlusion(image: np.ndarray, fraction: float) -> np.ndarray:
    """Cover a fraction of the 8 x 8 blocks with gray; a higher level covers the blocks of a lower one."""
    count = round(fraction * _BLOCKS_PER_SIDE**2)
    covered = _generator(image).permutation(_BLOCKS_PER_SIDE**2)[:count]
    height, width = image.shape[:2]
    rows = np.linspace(0, height, _BLOCKS_PER_SIDE + 1).round().astype(int)
    columns = np.linspace(0, width, _BLOCKS_PER_SIDE + 1).round().astype(int)
    changed = image.copy()
    for block in covered:
        row, column = divmod(int(block), _BLOCKS_PER_SIDE)
        changed[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = 128
    return changed


CORRUPTIONS: dict[str, Corruption] = {
    "jpeg": Corruption("JPEG quality", (90, 70, 50, 30, 10), jpeg),
    "h264": Corruption("H.264 CRF", (23, 28, 32, 36, 40), h264),
    "downscale": Corruption("side kept", (0.75, 0.5, 0.35, 0.25, 0.15), downscale),
    "blur": Corruption("Gaussian blur, sigma in pixels of 224", (0.5, 1, 2, 3, 5), blur),
    "noise": Corruption("Gaussian noise, sigma of 255", (4, 8, 16, 24, 40), noise),
    "brightness": Corruption("brightness factor", (0.8, 0.65, 0.5, 0.35, 0.2), brightness),
    "contrast": Corruption("contrast factor", (0.8, 0.65, 0.5, 0.35, 0.2), contrast),
    "saturation": Corruption("saturation factor", (0.8, 0.6, 0.4, 0.2, 0.0), saturation),
    "occlusion": Corruption("fraction of blocks covered", (0.05, 0.1, 0.2, 0.3, 0.45), occlusion),
}
"""Every corruption by name, levels from the mildest to the strongest."""


@dataclass(frozen=True)
class Corrupted:
    """One corruption at one level, as a function that can be sent to worker processes."""

    name: str
    level: float

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the corrupted image, RGB uint8 of the same shape."""
        return CORRUPTIONS[self.name].apply(image, self.level)


def check_corruptions(names: tuple[str, ...]) -> None:
    """Check that corruptions exist.

    Raises:
        OptionError: Unknown name.
    """
    for name in names:
        if name not in CORRUPTIONS:
            raise OptionError("robustness", f"is {name!r}", f"must be one of {', '.join(CORRUPTIONS)}")


def _generator(image: np.ndarray) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(image).tobytes()))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    image: np.ndarray = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return image
