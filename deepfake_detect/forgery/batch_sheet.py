"""Crops as training sees them, as one image."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deepfake_detect.data.augmented import augmented_sheet
from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.options import BatchSheetOptions
from deepfake_detect.data.sheets import contact_sheet, save_image
from deepfake_detect.data.transforms import TrainingAugmentation, resize_square
from deepfake_detect.errors import ManifestError
from deepfake_detect.forgery.blended_crops import Blender, relative_landmarks
from deepfake_detect.forgery.blends import parse_blends
from deepfake_detect.records import REAL

_OVERSAMPLING = 8  # more reals than are shown: some have no face, and cross needs other people


def save_batch_sheet(
    manifest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    augmentation: str = BatchSheetOptions.augmentation,
    forgery: str | None = BatchSheetOptions.forgery,
    split: str = BatchSheetOptions.split,
    where: str | None = BatchSheetOptions.where,
    num_crops: int = BatchSheetOptions.num_crops,
    num_times: int = BatchSheetOptions.num_times,
    image_size: int = BatchSheetOptions.image_size,
    seed: int = BatchSheetOptions.seed,
) -> np.ndarray:
    """Write a PNG that shows crops of a manifest as training sees them.

    Each row of the sheet is one crop: unchanged, then augmented several times. With ``forgery`` the rows
    are reals, and the unchanged crop is followed by pairs of it and of a fake made from it.

    Args:
        manifest: ``manifest.parquet`` of an extraction, or its folder.
        out: PNG to write.
        augmentation: Name of the augmentation.
        forgery: Fakes to make from reals: ``"sbi"``, ``"cross"`` or ``"sbi+cross"``; ``None`` makes none.
        split: Split of the crops.
        where: SQL condition on the rows; ``None`` takes all.
        num_crops: Number of crops, half of them real.
        num_times: Number of times each is augmented.
        image_size: Side of a crop in pixels.
        seed: Seed of the choice of crops and of the augmentation.

    Returns:
        The sheet, RGB uint8 (H, W, 3).

    Raises:
        OptionError: An option is not allowed.
        ManifestError: The manifest or a crop cannot be read, or no crop is selected.
        OutputError: ``out`` cannot be written.

    Example:
        >>> save_batch_sheet("crops", "sheet.png", augmentation="dfdc").shape  # doctest: +SKIP
        (1988, 1828, 3)
    """
    options = BatchSheetOptions(augmentation, forgery, split, where, num_crops, num_times, image_size, seed)
    rows = read_manifest(manifest)
    rows = (rows if options.where is None else rows.where(options.where)).split(options.split)
    if options.forgery:
        sheet = _blended_sheet(rows, options.forgery, options)
    else:
        sheet = augmented_sheet(
            rows,
            augmentation=options.augmentation,
            image_size=options.image_size,
            num_crops=options.num_crops,
            num_times=options.num_times,
            seed=options.seed,
        )
    save_image(Path(out), sheet)
    return sheet


def _blended_sheet(rows: Manifest, forgery: str, options: BatchSheetOptions) -> np.ndarray:
    """Return a sheet with a row per real: as stored, then pairs of it and a fake made from it."""
    words, rng = parse_blends(forgery), np.random.default_rng(options.seed)
    reals = rows.where(f"label = {REAL}")
    some = reals.sample_videos(options.num_crops * _OVERSAMPLING, seed=options.seed)
    blender = Blender(some, relative_landmarks(some), words)
    if not len(blender.rows):
        raise ManifestError(rows.path, "has no real crop with a face in it", "choose another split")
    augment = TrainingAugmentation(options.augmentation, options.image_size)
    paths = some.columns(["path"])["path"]
    images: list[np.ndarray] = []
    captions: list[str] = []
    for row in rng.permutation(blender.rows)[: options.num_crops].tolist():
        path = some.root / paths[row].as_py()
        crop = read_crop(path)
        images.append(resize_square(crop, options.image_size))
        captions.append("stored")
        for _ in range(options.num_times):
            forged, augment_seed = blender.make(row, crop, rng), int(rng.integers(2**32))
            if forged is None:
                raise ManifestError(path, "cannot be blended", "choose another `seed`")
            for side, word in ((forged.pair.real, "real"), (forged.pair.blended, forged.method)):
                augment.reseed(augment_seed)
                images.append(augment(side))
                captions.append(word)
    return contact_sheet(images, captions, num_columns=1 + 2 * options.num_times, side=options.image_size)
