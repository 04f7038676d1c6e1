"""What an augmentation does to crops, side by side."""

from __future__ import annotations

import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.sheets import contact_sheet
from deepfake_detect.data.transforms import Augmentation, TrainingAugmentation, resize_square
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import FAKE


def augmented_sheet(
    rows: Manifest, *, augmentation: Augmentation, image_size: int, num_crops: int, num_times: int, seed: int
) -> np.ndarray:
    """Return a sheet with a row per crop: as it is stored, then augmented anew each time.

    Args:
        rows: Crops to choose from.
        augmentation: Name of the augmentation.
        image_size: Side of a crop as the network sees it, in pixels.
        num_crops: Crops, half of each class as far as there are.
        num_times: How often each is augmented.
        seed: Of the choice of crops and of the augmentation.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        OptionError: A number is below 1, or the seed out of range.
        ManifestError: There are no rows, or a crop cannot be read.
    """
    check_sheet_options(num_crops=num_crops, num_times=num_times, image_size=image_size, seed=seed)
    if not rows.num_rows:
        raise ManifestError(rows.path, "has no such crop", "choose another split or condition")
    augment = TrainingAugmentation(augmentation, image_size)
    augment.reseed(seed)
    columns = rows.columns(["path", "label"])
    images: list[np.ndarray] = []
    captions: list[str] = []
    for row in _chosen(columns["label"].to_numpy(), num_crops, seed):
        crop = read_crop(rows.root / columns["path"][row].as_py())
        images += [resize_square(crop, image_size), *(augment(crop) for _ in range(num_times))]
        word = "fake" if columns["label"][row].as_py() == FAKE else "real"
        captions += [f"{word}, stored", *[augmentation] * num_times]
    return contact_sheet(images, captions, num_columns=1 + num_times, side=image_size)


def check_sheet_options(*, num_crops: int, num_times: int, image_size: int, seed: int) -> None:
    """Refuse sizes of a sheet that are below 1, and a seed out of range.

    Raises:
        OptionError: The message names the option.
    """
    for name, value in (("crops", num_crops), ("times", num_times), ("image-size", image_size)):
        if value < 1:
            raise OptionError(name, f"is {value}", "pass 1 or more")
    if not 0 <= seed < 2**32:
        raise OptionError("seed", f"is {seed}", "pass 0 up to below 2**32")


def _chosen(labels: np.ndarray, count: int, seed: int) -> list[int]:
    """Return rows drawn at random, in turn of one class and the other while both last."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    reals, fakes = (shuffled[labels[shuffled] == label] for label in (1 - FAKE, FAKE))
    num_pairs = min(len(reals), len(fakes))
    in_turn = np.stack([reals[:num_pairs], fakes[:num_pairs]], 1).reshape(-1)
    return [int(row) for row in (*in_turn, *reals[num_pairs:], *fakes[num_pairs:])][:count]
