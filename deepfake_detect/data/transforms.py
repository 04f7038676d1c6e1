"""Crops to tensors: the preprocessing of training, evaluation and scoring, and the augmentations of training.

:func:`register_augmentation` adds an augmentation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from deepfake_detect.records import Interpolation, Preprocessing
from deepfake_detect.registry import Registry

if TYPE_CHECKING:
    import torch

# A crop, RGB uint8 (S, S, 3), and a random generator -> a crop of the same shape and type.
AugmentCrop = Callable[[np.ndarray, np.random.Generator], np.ndarray]
_CRF_RANGE = (18, 42)


_INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST_EXACT,
}


def resize_square(image: np.ndarray, size: int, interpolation: Interpolation = "area") -> np.ndarray:
    """Resize an RGB uint8 image (H, W, 3) to (size, size, 3), by area averaging if it shrinks.

    Another interpolation of :class:`records.Preprocessing` is used whether it shrinks or not.
    """
    if image.shape[:2] == (size, size):
        return image
    area = cv2.INTER_AREA if max(image.shape[:2]) > size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=_INTERPOLATIONS.get(interpolation, area))


def resize_crop(crop: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return a crop, RGB uint8 (H, W, 3), in the size of a network's input."""
    return resize_square(crop, preprocessing.image_size, preprocessing.interpolation)


def center_crop(image: np.ndarray, fraction: float) -> np.ndarray:
    """Return the centered part of an image (H, W, 3) with ``fraction`` (0 to 1] of its sides."""
    height, width = image.shape[:2]
    keep_height, keep_width = max(1, round(height * fraction)), max(1, round(width * fraction))
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return image[top : top + keep_height, left : left + keep_width]


def crop_to_tensor(image: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    """Convert a face crop, RGB uint8 (H, W, 3), to a model's input, float32 (3, image_size, image_size).

    Example:
        >>> prep = Preprocessing(image_size=4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> tuple(crop_to_tensor(np.zeros((9, 9, 3), np.uint8), prep).shape)
        (3, 4, 4)
    """
    import torch

    resized = resize_crop(image, preprocessing).astype(np.float32)
    mean = np.asarray(preprocessing.mean, np.float32) * 255
    std = np.asarray(preprocessing.std, np.float32) * 255
    normalized = (resized - mean) / std  # (H, W, 3)
    return torch.from_numpy(np.ascontiguousarray(normalized.transpose(2, 0, 1)))


def crops_to_tensor(crops: Sequence[np.ndarray], preprocessing: Preprocessing) -> torch.Tensor:
    """Convert face crops of any sizes to a batch, with the values of :func:`crop_to_tensor`.

    It is float32 (N, 3, image_size, image_size), channels last in memory.
    """
    import torch

    resized = np.stack([resize_crop(crop, preprocessing) for crop in crops])
    mean, std = (torch.tensor(values) * 255 for values in (preprocessing.mean, preprocessing.std))
    images = torch.from_numpy(resized).float().sub_(mean).div_(std)  # (N, S, S, 3)
    return images.permute(0, 3, 1, 2)


class TrainingAugmentation:
    """Augment crops: RGB uint8 (H, W, 3) to (image_size, image_size, 3).

    ``none`` only resizes. ``light`` flips, shifts, zooms and recompresses a little. ``strong`` adds
    degradations that clips undergo before they reach a detector: rescaling, blur, noise, color changes
    and JPEG down to quality 30, and zooms enough for other crop margins. ``dfdc`` resembles the
    augmentation of the DFDC winner: it goes further and erases parts of the face, so that no single
    artifact decides. ``compression`` does not move the face and applies what forgery artifacts must
    survive: JPEG or H.264 to each crop, and rescaling, blur or noise to most. ``robust`` is for
    detectors of arbitrary clips: zooms and colors of ``strong``, with grayscale images and erased
    parts, then the degradations of ``compression`` for four in five crops.

    Args:
        augmentation: A name of ``AUGMENTATIONS``, or a function of a crop and a random generator that
            returns a crop of the same shape.
        image_size: Side of the result in pixels.

    Raises:
        OptionError: The name is unknown.

    Example:
        >>> TrainingAugmentation("none", 8)(np.zeros((20, 20, 3), np.uint8)).shape
        (8, 8, 3)
        >>> TrainingAugmentation(lambda crop, rng: crop[:, ::-1], 8)(np.zeros((8, 8, 3), np.uint8)).shape
        (8, 8, 3)
    """

    def __init__(self, augmentation: str | AugmentCrop, image_size: int) -> None:
        self._image_size = image_size
        self._rng = np.random.default_rng()
        self._pipeline: Any = None  # of albumentations, which has no types
        if not callable(augmentation):
            steps = AUGMENTATIONS.find(augmentation)()
            if callable(steps):
                augmentation = steps
            else:
                self._pipeline = _albumentations().Compose(list(steps))
        self._function = augmentation if callable(augmentation) else None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Augment a crop, RGB uint8 (H, W, 3)."""
        # Resized as for scoring, so that training sees the same sharpness.
        resized = resize_square(image, self._image_size)
        if self._function is not None:
            return np.ascontiguousarray(self._function(resized, self._rng))
        augmented: np.ndarray = self._pipeline(image=resized)["image"]
        return augmented

    def reseed(self, seed: int) -> None:
        """Restart the random choices from ``seed``."""
        self._rng = np.random.default_rng(seed)
        if self._pipeline is not None:
            _seed_each(self._pipeline, self._rng)


def _seed_each(step: Any, rng: np.random.Generator) -> None:  # noqa: ANN401 - albumentations has no types
    """Give a step, and each step in it, a different seed.

    Albumentations gives all of them the same seed, so that the flipped crops would always be the
    compressed ones.
    """
    step.set_random_seed(int(rng.integers(2**32)))
    for inner in getattr(step, "transforms", ()):
        _seed_each(inner, rng)


def _albumentations() -> Any:  # noqa: ANN401 - albumentations has no types
    """Import albumentations, without its request to the network for a newer version."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _light() -> list[Any]:
    albu = _albumentations()

    return [
        albu.HorizontalFlip(p=0.5),
        albu.Affine(
            scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), border_mode=cv2.BORDER_REFLECT_101, p=0.7
        ),
        albu.ImageCompression(quality_range=(60, 95), p=0.5),
    ]


def _strong() -> list[Any]:
    albu = _albumentations()

    degradations = [
        albu.Downscale(scale_range=(0.3, 0.8)),
        albu.GaussianBlur(sigma_limit=(0.3, 2.0), blur_limit=0),
        albu.MotionBlur(blur_limit=(3, 5)),
    ]
    return [
        albu.HorizontalFlip(p=0.5),
        _other_crop(),
        albu.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.4),
        albu.HueSaturationValue(hue_shift_limit=8, sat_shift_limit=25, val_shift_limit=15, p=0.3),
        albu.OneOf(degradations, p=0.4),
        albu.GaussNoise(std_range=(0.01, 0.05), p=0.15),
        albu.ImageCompression(quality_range=(30, 95), p=0.6),
    ]


def _other_crop() -> Any:  # noqa: ANN401 - albumentations has no types
    """Return a step that moves and zooms, out to 0.7 for crops wider than those of the training data."""
    return _albumentations().Affine(
        scale=(0.7, 1.25),
        translate_percent=(-0.08, 0.08),
        keep_ratio=True,
        rotate=(-8, 8),
        border_mode=cv2.BORDER_REFLECT_101,
        p=0.8,
    )


def _dfdc() -> list[Any]:
    """Return steps like those of the DFDC winner's training (selimsef/dfdc_deepfake_challenge)."""
    albu = _albumentations()

    return [
        albu.ImageCompression(quality_range=(60, 100), p=0.5),
        albu.GaussNoise(std_range=(0.01, 0.06), p=0.1),
        albu.GaussianBlur(sigma_limit=(0.3, 2.0), blur_limit=0, p=0.05),
        albu.HorizontalFlip(p=0.5),
        albu.OneOf([albu.Downscale(scale_range=(0.25, 0.9)), albu.Downscale(scale_range=(0.5, 0.9))], p=0.4),
        albu.OneOf(
            [albu.RandomBrightnessContrast(), albu.FancyPCA(), albu.HueSaturationValue()],
            p=0.7,
        ),
        albu.ToGray(p=0.2),
        albu.Affine(
            scale=(0.8, 1.2),
            translate_percent=(-0.1, 0.1),
            keep_ratio=True,
            rotate=(-10, 10),
            border_mode=cv2.BORDER_CONSTANT,
            p=0.5,
        ),
        albu.CoarseDropout(
            num_holes_range=(1, 3), hole_height_range=(0.1, 0.35), hole_width_range=(0.1, 0.35)
        ),
    ]


def _compression() -> list[Any]:
    albu = _albumentations()

    degradations = [
        albu.Downscale(scale_range=(0.25, 0.8)),
        albu.GaussianBlur(sigma_limit=(0.3, 2.5), blur_limit=0),
        albu.GaussNoise(std_range=(0.01, 0.06)),
    ]
    return [
        albu.HorizontalFlip(p=0.5),
        albu.OneOf(degradations, p=0.6),
        albu.OneOf([albu.ImageCompression(quality_range=(20, 90)), _h264_compression()], p=1.0),
    ]


def _robust() -> list[Any]:
    albu = _albumentations()

    degradations = [
        albu.Downscale(scale_range=(0.25, 0.8)),
        albu.GaussianBlur(sigma_limit=(0.3, 3.0), blur_limit=0),
        albu.MotionBlur(blur_limit=(3, 7)),
        albu.GaussNoise(std_range=(0.01, 0.08)),
    ]
    return [
        albu.HorizontalFlip(p=0.5),
        _other_crop(),
        albu.RandomBrightnessContrast(brightness_limit=0.3, contrast_limit=0.3, p=0.5),
        albu.HueSaturationValue(hue_shift_limit=8, sat_shift_limit=30, val_shift_limit=15, p=0.3),
        albu.ToGray(p=0.1),
        albu.CoarseDropout(
            num_holes_range=(1, 4), hole_height_range=(0.08, 0.25), hole_width_range=(0.08, 0.25), p=0.15
        ),
        albu.OneOf(degradations, p=0.5),
        albu.OneOf([albu.ImageCompression(quality_range=(20, 95)), _h264_compression()], p=0.8),
    ]


def _h264_compression() -> Any:  # noqa: ANN401 - albumentations has no types
    """Return a step that compresses an image by H.264 with a constant rate factor from 18 to 42."""
    albu = _albumentations()

    class H264Compression(albu.ImageOnlyTransform):  # type: ignore[misc,name-defined]
        """Encodes an image as the key frame of a clip and decodes it."""

        def get_params(self) -> dict[str, Any]:
            """Return a random constant rate factor."""
            return {"crf": self.py_random.randint(*_CRF_RANGE)}

        def apply(self, img: np.ndarray, crf: int, **_: object) -> np.ndarray:
            """Compress an image, RGB uint8 (H, W, 3)."""
            from deepfake_detect.video.still import through_h264

            return through_h264(img, crf=crf)

    return H264Compression(p=1.0)


# Name -> function that returns steps of albumentations, or one function that augments a crop.
AUGMENTATIONS: Registry[Callable[[], Sequence[Any] | AugmentCrop]] = Registry(
    "augmentation",
    {
        "none": list,
        "light": _light,
        "strong": _strong,
        "dfdc": _dfdc,
        "compression": _compression,
        "robust": _robust,
    },
)


def register_augmentation(name: str, make: Callable[[], Sequence[Any] | AugmentCrop]) -> None:
    """Register an augmentation for the option ``augmentation`` of training.

    Args:
        name: Its name, which must not be taken.
        make: Function without arguments that returns a list of albumentations transforms, or a function
            of a crop, RGB uint8 (S, S, 3), and a ``numpy.random.Generator`` that returns a crop of the
            same shape. All random choices must come from the generator: this is what makes a training
            reproducible.

    Raises:
        OptionError: The name is taken.

    Example:
        >>> def make_flip():
        ...     return lambda crop, rng: crop[:, ::-1] if rng.random() < 0.5 else crop
        >>> register_augmentation("flip", make_flip)  # doctest: +SKIP
        >>> TrainingAugmentation("flip", 16)(np.zeros((20, 20, 3), np.uint8)).shape  # doctest: +SKIP
        (16, 16, 3)
    """
    AUGMENTATIONS.register(name, make)
