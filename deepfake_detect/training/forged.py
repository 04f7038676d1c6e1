"""Fakes that a run makes of the reals it is given: to train on, and to select on where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepfake_detect.data.manifest import MANIFEST_NAME, Manifest, read_manifest
from deepfake_detect.errors import ManifestError
from deepfake_detect.files import atomic_path
from deepfake_detect.forgery.blend_set import write_blends
from deepfake_detect.forgery.blended_crops import Blender, landmark_shares
from deepfake_detect.forgery.blends import parse_blends
from deepfake_detect.training.config import TrainingConfig

VAL_BLENDS = "val_blends"
_LANDMARKS_NAME = "landmarks.npy"


def make_blender(
    config: TrainingConfig, train_rows: Manifest, *, keep: bool, reuse: bool, show_progress: bool
) -> Blender | None:
    """Return what makes fakes of training reals; ``None`` where the config makes none.

    Args:
        config: Of the run.
        train_rows: Of its manifest.
        keep: Whether to leave the landmarks in the folder of the run.
        reuse: Whether to take those that were left there.
        show_progress: Whether to draw a progress bar.

    Raises:
        ManifestError: No real has a face in it.
        OptionError: ``cross`` is asked for and there are not two people.
    """
    if not config.forgery:
        return None
    path = config.out / _LANDMARKS_NAME
    if reuse and path.is_file():
        shares = np.load(path)
    else:
        shares = landmark_shares(train_rows, device=config.device, show_progress=show_progress)
        if keep:
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.save(file, shares)
    blender = Blender(train_rows, shares, parse_blends(config.forgery))
    if not len(blender.rows):
        raise ManifestError(config.manifest, "has no real crop with a face in it", "extract faces of reals")
    return blender


def write_val_blends(config: TrainingConfig, val_rows: Manifest, *, reuse: bool, show_progress: bool) -> None:
    """Write fakes of the validation reals, unless they are there and may be used again."""
    if not (reuse and (config.out / VAL_BLENDS / MANIFEST_NAME).is_file()):
        write_blends(
            val_rows,
            config.out / VAL_BLENDS,
            parse_blends(config.forgery),
            seed=config.seed,
            device=config.device,
            show_progress=show_progress,
        )


def val_blends(config: TrainingConfig) -> Manifest:
    """Return the reals and fakes that :func:`write_val_blends` left."""
    return read_manifest(config.out / VAL_BLENDS)


def validation_source(config: TrainingConfig) -> tuple[Path, str | None]:
    """Return the manifest that holds a finished run's validation crops, and the condition on its rows."""
    blends = config.out / VAL_BLENDS / MANIFEST_NAME
    return (blends, None) if blends.is_file() else (config.manifest, config.where)
