"""Crop to tensor: the one preprocessing that training, evaluation and scoring share, and the
augmentation that only training adds before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.records import Preprocessing

if TYPE_CHECKING:
    import torch

Augmentation = Literal["none", "light", "strong", "dfdc", "compression", "robust"]
_CRF_RANGE = (18, 42)
AUGMENTATIONS: tuple[Augmentation, ...] = ("none", "light", "strong", "dfdc", "compression", "robust")


def resize_square(image: np.ndarray, size: int) -> np.ndarray:
    """Resize an RGB uint8 image (H, W, 3) to (size, size, 3), by area when shrinking."""
    if image.shape[:2] == (size, size):
        return image
    shrinks = max(image.shape[:2]) > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def center_crop(image: np.ndarray, share: float) -> np.ndarray:
    """Return the centered part of an image (H, W, 3) whose sides are ``share`` (0 to 1] of it."""
    height, width = image.shape[:2]
    keep_height, keep_width = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return image[top : top + keep_height, left : left + keep_width]


def crop_to_tensor(image: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    """Turn a face crop into a network's input.

    Args:
        image: RGB uint8 (H, W, 3), any size.
        preprocessing: Size and normalization of the network.

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
    normalized = (resized - mean) / std  # (H, W, 3)
    return torch.from_numpy(np.ascontiguousarray(normalized.transpose(2, 0, 1)))


def crops_to_tensor(crops: Sequence[np.ndarray], preprocessing: Preprocessing) -> torch.Tensor:
    """Turn face crops into a batch: the values of :func:`crop_to_tensor`, made at once.

    Args:
        crops: RGB uint8 (H, W, 3), one or more of any sizes.
        preprocessing: Size and normalization of the network.

    Returns:
        float32 tensor (N, 3, image_size, image_size) whose channels lie together in memory.

    Example:
        >>> prep = Preprocessing(image_size=4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> tuple(crops_to_tensor([np.zeros((9, 9, 3), np.uint8)] * 2, prep).shape)
        (2, 3, 4, 4)
    """
    import torch

    resized = np.stack([resize_square(crop, preprocessing.image_size) for crop in crops])
    mean, std = (torch.tensor(values) * 255 for values in (preprocessing.mean, preprocessing.std))
    images = torch.from_numpy(resized).float().sub_(mean).div_(std)  # (N, S, S, 3)
    return images.permute(0, 3, 1, 2)


class TrainingAugmentation:
    """From RGB uint8 (H, W, 3) to an augmented (image_size, image_size, 3).

    ``none`` resizes only; ``light`` mirrors, shifts, zooms and re-compresses a little; ``strong``
    adds what clips go through before they reach a detector: rescaling, blur, noise, color change
    and JPEG down to quality 30, and zooms enough to bear another crop margin. ``dfdc`` is in the
    manner of the DFDC winner's: it goes further and puts out parts of the face, so that no single
    trace decides. ``compression`` leaves the face in place and is hard on what a forger's traces
    must survive: each crop goes through JPEG or H.264, most through rescaling, blur or noise too.
    ``robust`` is for detectors that are to meet anything: the zooms and colors of ``strong``, gray
    pictures and covered parts among them, then the degradations of ``compression``, a fifth spared.

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

        steps = _PRESETS[name]()
        self._image_size = image_size
        self._pipeline = A.Compose(steps)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        # The very resizing of scoring, so that training sees no other sharpness.
        augmented: np.ndarray = self._pipeline(image=resize_square(image, self._image_size))["image"]
        return augmented

    def reseed(self, seed: int) -> None:
        """Start the random choices anew from ``seed``."""
        _seed_each(self._pipeline, np.random.default_rng(seed))


def _seed_each(step: Any, rng: np.random.Generator) -> None:
    """Give a step, and each step in it, a seed of its own: albumentations gives all of them the same,
    and then what is mirrored is always what is compressed."""
    step.set_random_seed(int(rng.integers(2**32)))
    for inner in getattr(step, "transforms", ()):
        _seed_each(inner, rng)


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
        _other_crop(),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.4),
        A.HueSaturationValue(hue_shift_limit=8, sat_shift_limit=25, val_shift_limit=15, p=0.3),
        A.OneOf(degradations, p=0.4),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.15),
        A.ImageCompression(quality_range=(30, 95), p=0.6),
    ]


def _other_crop() -> Any:
    """Return a step that moves and zooms: out down to 0.7, for crops cut wider than the training data's."""
    return _albumentations().Affine(
        scale=(0.7, 1.25),
        translate_percent=(-0.08, 0.08),
        keep_ratio=True,
        rotate=(-8, 8),
        border_mode=cv2.BORDER_REFLECT_101,
        p=0.8,
    )


def _dfdc() -> list[Any]:
    """In the manner of the DFDC winner's training (selimsef/dfdc_deepfake_challenge)."""
    A = _albumentations()

    return [
        A.ImageCompression(quality_range=(60, 100), p=0.5),
        A.GaussNoise(std_range=(0.01, 0.06), p=0.1),
        A.GaussianBlur(sigma_limit=(0.3, 2.0), blur_limit=0, p=0.05),
        A.HorizontalFlip(p=0.5),
        A.OneOf([A.Downscale(scale_range=(0.25, 0.9)), A.Downscale(scale_range=(0.5, 0.9))], p=0.4),
        A.OneOf(
            [A.RandomBrightnessContrast(), A.FancyPCA(), A.HueSaturationValue()],
            p=0.7,
        ),
        A.ToGray(p=0.2),
        A.Affine(
            scale=(0.8, 1.2),
            translate_percent=(-0.1, 0.1),
            keep_ratio=True,
            rotate=(-10, 10),
            border_mode=cv2.BORDER_CONSTANT,
            p=0.5,
        ),
        A.CoarseDropout(num_holes_range=(1, 3), hole_height_range=(0.1, 0.35), hole_width_range=(0.1, 0.35)),
    ]


def _compression() -> list[Any]:
    A = _albumentations()

    degradations = [
        A.Downscale(scale_range=(0.25, 0.8)),
        A.GaussianBlur(sigma_limit=(0.3, 2.5), blur_limit=0),
        A.GaussNoise(std_range=(0.01, 0.06)),
    ]
    return [
        A.HorizontalFlip(p=0.5),
        A.OneOf(degradations, p=0.6),
        A.OneOf([A.ImageCompression(quality_range=(20, 90)), _h264_compression()], p=1.0),
    ]


def _robust() -> list[Any]:
    A = _albumentations()

    degradations = [
        A.Downscale(scale_range=(0.25, 0.8)),
        A.GaussianBlur(sigma_limit=(0.3, 3.0), blur_limit=0),
        A.MotionBlur(blur_limit=(3, 7)),
        A.GaussNoise(std_range=(0.01, 0.08)),
    ]
    return [
        A.HorizontalFlip(p=0.5),
        _other_crop(),
        A.RandomBrightnessContrast(brightness_limit=0.3, contrast_limit=0.3, p=0.5),
        A.HueSaturationValue(hue_shift_limit=8, sat_shift_limit=30, val_shift_limit=15, p=0.3),
        A.ToGray(p=0.1),
        A.CoarseDropout(
            num_holes_range=(1, 4), hole_height_range=(0.08, 0.25), hole_width_range=(0.08, 0.25), p=0.15
        ),
        A.OneOf(degradations, p=0.5),
        A.OneOf([A.ImageCompression(quality_range=(20, 95)), _h264_compression()], p=0.8),
    ]


def _h264_compression() -> Any:
    """Return a step that sends an image through H.264 with a constant rate factor from 18 to 42."""
    A = _albumentations()

    class H264Compression(A.ImageOnlyTransform):  # type: ignore[misc,name-defined]
        """One picture in, encoded as a clip's key frame, decoded picture out."""

        def get_params(self) -> dict[str, Any]:
            return {"crf": self.py_random.randint(*_CRF_RANGE)}

        def apply(self, img: np.ndarray, crf: int, **_: Any) -> np.ndarray:
            from deepfake_detect.video.still import through_h264

            return through_h264(img, crf=crf)

    return H264Compression(p=1.0)


_PRESETS: dict[Augmentation, Callable[[], list[Any]]] = {
    "none": list,
    "light": _light,
    "strong": _strong,
    "dfdc": _dfdc,
    "compression": _compression,
    "robust": _robust,
}
