"""What training on blends sees, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.sheets import contact_sheet
from deepfake_detect.data.transforms import TrainingAugmentation, resize_square
from deepfake_detect.errors import ManifestError
from deepfake_detect.forgery.blended_crops import Blender, landmark_shares
from deepfake_detect.forgery.blends import BlendWord
from deepfake_detect.records import REAL

_LOOKED_AT = 8  # times as many reals as are shown: in some no face is found, for cross others are needed


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
    """Return a sheet with a row per real: as it is stored, then pairs of it and of a fake made of it.

    Args:
        rows: Crops to choose reals from.
        words: Kinds of blend.
        augmentation: Name of the augmentation, which both of a pair go through alike.
        image_size: Side of a crop as the network sees it, in pixels.
        num_crops: Reals at most.
        num_times: Pairs of each.
        seed: Of the choice of crops, the blends and the augmentation.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        OptionError: ``cross`` has not two people.
        ManifestError: There is no real with a face in it, or a crop cannot be read.
    """
    reals = rows.where(f"label = {REAL}")
    rng = np.random.default_rng(seed)
    some = reals.sample_videos(num_crops * _LOOKED_AT, seed=seed)
    blender = Blender(some, landmark_shares(some), words)
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
            forgery, chance = blender.make(row, crop, rng), int(rng.integers(2**32))
            if forgery is None:
                raise ManifestError(
                    some.root / paths[row].as_py(), "cannot be blended", "choose another --seed"
                )
            for side, word in ((forgery.pair.real, "real"), (forgery.pair.blended, forgery.method)):
                augment.reseed(chance)
                images.append(augment(side))
                captions.append(word)
    return contact_sheet(images, captions, num_columns=1 + 2 * num_times, side=image_size)
