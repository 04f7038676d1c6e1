"""Crops as training sees them, as one image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

import numpy as np

from deepfake_detect.data.augmented import augmented_sheet
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.options import BatchSheetOptions
from deepfake_detect.data.sheets import save_image
from deepfake_detect.forgery.blends import parse_blends


class _SheetArguments(TypedDict):
    augmentation: str
    image_size: int
    num_crops: int
    num_times: int
    seed: int


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
    """Write crops of a manifest as training sees them, as one PNG.

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
    blends = parse_blends(options.forgery) if options.forgery else None
    rows = read_manifest(manifest)
    rows = (rows if options.where is None else rows.where(options.where)).split(options.split)
    arguments: _SheetArguments = {
        "augmentation": options.augmentation,
        "image_size": options.image_size,
        "num_crops": options.num_crops,
        "num_times": options.num_times,
        "seed": options.seed,
    }
    if blends is not None:
        from deepfake_detect.forgery.sheet import blended_sheet

        sheet = blended_sheet(rows, blends, **arguments)
    else:
        sheet = augmented_sheet(rows, **arguments)
    save_image(Path(out), sheet)
    return sheet
