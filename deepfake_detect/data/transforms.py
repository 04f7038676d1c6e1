"""Crop to tensor: the one preprocessing that training, evaluation and scoring share, and the
augmentation that only training adds before it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.records import Preprocessing

if TYPE_CHECKING:
    import torch

Augmentation = Literal["none", "light", "strong"]
AUGMENTATIONS: tuple[Augmentation, ...] = ("none", "light", "strong")


def resize_square(image: np.ndarray, size: int) -> np.ndarray:
    """Resize an RGB uint8 image (H, W, 3) to (size, size, 3), by area when shrinking."""
    if image.shape[:2] == (size, size):
        return image
    shrinks = max(image.shape[:2]) > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def centre_square(image: np.ndarray, share: float) -> np.ndarray:
    """Return the centred part of an image (H, W, 3) whose sides are ``share`` (0 to 1] of it."""
    height, width = image.shape[:2]
    keep_height, keep_width = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return image[top : top + keep_height, left : left + keep_width]


def crop_to_tensor(image: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    """Turn a face crop into a network's input.

    Args:
        image: RGB uint8 (H, W, 3), any size.
        preprocessing: Size and normalisation of the network.

    Returns:
        float32 tensor (3, image_size, image_size).

    Example:
        >>> prep = Preprocessing(image_size=4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> tuple(crop_to_tensor(np.zeros((9, 9, 3), np.uint8), prep).shape)
        (3, 4, 4)
    """
    import torch

    resized = resize_square(image, preprocessing.image_size).astype(np.float32)
    mean = np.asarray(preprocessing.mean, np.float32) * 255
    std = np.asarray(preprocessing.std, np.float32) * 255
    normalised = (resized - mean) / std  # (H, W, 3)
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))


class TrainingAugmentation:
    """From RGB uint8 (H, W, 3) to an augmented (image_size, image_size, 3).

    ``none`` resizes only; ``light`` mirrors, shifts, zooms and re-compresses a little; ``strong``
    adds what clips go through before they reach a detector: rescaling, blur, noise, colour change
    and JPEG down to quality 30, and zooms enough to bear another crop margin.

    Args:
        name: One of ``AUGMENTATIONS``.
        image_size: Side of the result in pixels.

    Raises:
        OptionError: The name is unknown.

    Example:
        >>> TrainingAugmentation("none", 8)(np.zeros((20, 20, 3), np.uint8)).shape
        (8, 8, 3)
    """

    def __init__(self, name: Augmentation, image_size: int) -> None:
        if name not in AUGMENTATIONS:
            raise OptionError(
                "augmentation", f"{name!r} is unknown", f"choose one of: {', '.join(AUGMENTATIONS)}"
            )
        A = _albumentations()

        steps = {"none": [], "light": _light(), "strong": _strong()}[name]
        self._image_size = image_size
        self._pipeline = A.Compose(steps)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        # The very resizing of scoring, so that training sees no other sharpness.
        augmented: np.ndarray = self._pipeline(image=resize_square(image, self._image_size))["image"]
        return augmented

    def reseed(self, seed: int) -> None:
        """Start the random choices anew from ``seed``."""
        self._pipeline.set_random_seed(seed)


def _albumentations() -> Any:
    """Import albumentations, whose import else asks the network for a newer version of itself."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _light() -> list[Any]:
    A = _albumentations()

    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(
            scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), border_mode=cv2.BORDER_REFLECT_101, p=0.7
        ),
        A.ImageCompression(quality_range=(60, 95), p=0.5),
    ]


def _strong() -> list[Any]:
    A = _albumentations()

    degradations = [
        A.Downscale(scale_range=(0.3, 0.8)),
        A.GaussianBlur(sigma_limit=(0.3, 2.0), blur_limit=0),
        A.MotionBlur(blur_limit=(3, 5)),
    ]
    return [
        A.HorizontalFlip(p=0.5),
        # Zooming out down to 0.7 stands for crops cut wider than the training data's.
        A.Affine(
            scale=(0.7, 1.25),
            translate_percent=(-0.08, 0.08),
            keep_ratio=True,
            rotate=(-8, 8),
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.8,
        ),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.4),
        A.HueSaturationValue(hue_shift_limit=8, sat_shift_limit=25, val_shift_limit=15, p=0.3),
        A.OneOf(degradations, p=0.4),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.15),
        A.ImageCompression(quality_range=(30, 95), p=0.6),
    ]
