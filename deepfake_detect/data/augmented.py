"""Contact sheet of augmented crops."""

from __future__ import annotations

import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.sheets import contact_sheet
from deepfake_detect.data.transforms import TrainingAugmentation, resize_square
from deepfake_detect.errors import ManifestError
from deepfake_detect.records import FAKE


def augmented_sheet(
    rows: Manifest, *, augmentation: str, image_size: int, num_crops: int, num_times: int, seed: int
) -> np.ndarray:
    """Return a sheet, RGB uint8 (H, W, 3), with a row per crop: unchanged, then augmented several times.

    The options are those of :class:`BatchSheetOptions`.

    Raises:
        ManifestError: There are no rows, or a crop cannot be read.
    """
    if not rows.num_rows:
        raise ManifestError(rows.path, "has no matching crops", "choose another split or condition")
    augment = TrainingAugmentation(augmentation, image_size)
    augment.reseed(seed)
    columns = rows.columns(["path", "label"])
    images: list[np.ndarray] = []
    captions: list[str] = []
    for row in _choose_rows(columns["label"].to_numpy(), num_crops, seed):
        crop = read_crop(rows.root / columns["path"][row].as_py())
        images += [resize_square(crop, image_size), *(augment(crop) for _ in range(num_times))]
        word = "fake" if columns["label"][row].as_py() == FAKE else "real"
        captions += [f"{word}, stored", *[augmentation] * num_times]
    return contact_sheet(images, captions, num_columns=1 + num_times, side=image_size)


def _choose_rows(labels: np.ndarray, count: int, seed: int) -> list[int]:
    """Return random rows, alternating between the classes while both last."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    reals, fakes = (shuffled[labels[shuffled] == label] for label in (1 - FAKE, FAKE))
    num_pairs = min(len(reals), len(fakes))
    alternating = np.stack([reals[:num_pairs], fakes[:num_pairs]], 1).reshape(-1)
    return [int(row) for row in (*alternating, *reals[num_pairs:], *fakes[num_pairs:])][:count]
