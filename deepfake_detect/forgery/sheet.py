"""A contact sheet of what training on blends sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.sheets import contact_sheet
from deepfake_detect.data.transforms import TrainingAugmentation, resize_square
from deepfake_detect.errors import ManifestError
from deepfake_detect.forgery.blended_crops import Blender, relative_landmarks
from deepfake_detect.forgery.blends import BlendWord
from deepfake_detect.records import REAL

_OVERSAMPLING = 8  # more reals than are shown: some have no face, and cross needs other people


def blended_sheet(
    rows: Manifest,
    words: Sequence[BlendWord],
    *,
    augmentation: str,
    image_size: int,
    num_crops: int,
    num_times: int,
    seed: int,
) -> np.ndarray:
    """Return a sheet with a row per real: as stored, then pairs of it and a fake made from it.

    Args:
        rows: Crops to choose reals from.
        words: Kinds of blend.
        augmentation: Name of the augmentation, the same for both of a pair.
        image_size: Side of a crop as the model sees it, in pixels.
        num_crops: Number of reals, at most.
        num_times: Pairs of each.
        seed: Of the choice of crops, the blends and the augmentation.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        OptionError: ``cross`` has fewer than two people.
        ManifestError: There is no real with a face in it, or a crop cannot be read.
    """
    reals = rows.where(f"label = {REAL}")
    rng = np.random.default_rng(seed)
    some = reals.sample_videos(num_crops * _OVERSAMPLING, seed=seed)
    blender = Blender(some, relative_landmarks(some), words)
    if not len(blender.rows):
        raise ManifestError(rows.path, "has no real crop with a face in it", "choose another split")
    augment = TrainingAugmentation(augmentation, image_size)
    paths = some.columns(["path"])["path"]
    images: list[np.ndarray] = []
    captions: list[str] = []
    for row in rng.permutation(blender.rows)[:num_crops].tolist():
        crop = read_crop(some.root / paths[row].as_py())
        images.append(resize_square(crop, image_size))
        captions.append("stored")
        for _ in range(num_times):
            forgery, augment_seed = blender.make(row, crop, rng), int(rng.integers(2**32))
            if forgery is None:
                raise ManifestError(
                    some.root / paths[row].as_py(), "cannot be blended", "choose another `seed`"
                )
            for side, word in ((forgery.pair.real, "real"), (forgery.pair.blended, forgery.method)):
                augment.reseed(augment_seed)
                images.append(augment(side))
                captions.append(word)
    return contact_sheet(images, captions, num_columns=1 + 2 * num_times, side=image_size)
