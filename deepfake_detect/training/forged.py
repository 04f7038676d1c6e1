"""Fakes that a run makes of the reals it is given: to train on, and to select on where there are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from deepfake_detect.data.manifest import MANIFEST_NAME, Manifest, read_manifest
from deepfake_detect.errors import ManifestError
from deepfake_detect.forgery.blend_set import write_blends
from deepfake_detect.forgery.blended_crops import Blender, landmark_shares
from deepfake_detect.forgery.blends import parse_blends
from deepfake_detect.io.files import atomic_path, read_json, write_json
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import has_fakes

VAL_BLENDS = "val_blends"
_LANDMARKS_NAME = "landmarks.safetensors"
_ORIGIN_NAME = "made_of.json"


def make_blender(
    config: TrainingConfig, train_rows: Manifest, *, keep: bool, show_progress: bool
) -> Blender | None:
    """Return what makes fakes of training reals; ``None`` where the config makes none.

    Landmarks that the folder of the run holds are taken when they are those of the same rows.

    Args:
        config: Of the run.
        train_rows: Of its manifest.
        keep: Whether to leave landmarks in the folder of the run.
        show_progress: Whether to draw a progress bar.

    Raises:
        ManifestError: No real has a face in it.
        OptionError: ``cross`` is asked for and there are not two people.
    """
    if not config.forgery:
        return None
    path, digest = config.out / _LANDMARKS_NAME, _rows_sha256(train_rows)
    shares = _stored_shares(path, digest)
    if shares is None:
        shares = landmark_shares(train_rows, device=config.device, show_progress=show_progress)
        if keep:
            with atomic_path(path) as temporary:
                temporary.write_bytes(save({"shares": shares}, metadata={"rows_sha256": digest}))
    blender = Blender(train_rows, shares, parse_blends(config.forgery))
    if not len(blender.rows):
        raise ManifestError(config.manifest, "has no real crop with a face in it", "extract faces of reals")
    return blender


def _rows_sha256(rows: Manifest) -> str:
    """Return a hash of what landmarks depend on."""
    digest = hashlib.sha256(repr((str(rows.root.resolve()), rows.geometry)).encode())
    for batch in rows.columns(["path", "label", "box_xyxy", "landmarks_xy"]).to_batches(10_000):
        digest.update(repr(batch.to_pylist()).encode())
    return digest.hexdigest()


def _stored_shares(path: Path, digest: str) -> np.ndarray | None:
    """Return stored landmarks; ``None`` where there are none, they are damaged or of other rows."""
    try:
        with safe_open(path, framework="numpy") as file:
            is_same = (file.metadata() or {}).get("rows_sha256") == digest
            return file.get_tensor("shares") if is_same else None
    except (OSError, SafetensorError):
        return None  # found anew and written anew


def selects_on_blends(config: TrainingConfig, val_rows: Manifest) -> bool:
    """Tell whether a run makes its own validation fakes, because the manifest has none."""
    return bool(config.forgery) and not has_fakes(val_rows)


def write_val_blends(config: TrainingConfig, val_rows: Manifest, *, show_progress: bool) -> None:
    """Write fakes of the validation reals, unless the very same are there."""
    folder = config.out / VAL_BLENDS
    wanted = {"rows_sha256": _rows_sha256(val_rows), "forgery": config.forgery, "seed": config.seed}
    origin = folder / _ORIGIN_NAME
    if origin.is_file() and read_json(origin) == wanted:
        return
    origin.unlink(missing_ok=True)
    words = parse_blends(config.forgery)
    write_blends(val_rows, folder, words, seed=config.seed, device=config.device, show_progress=show_progress)
    write_json(origin, wanted)


def val_blends(config: TrainingConfig) -> Manifest:
    """Return the reals and fakes that :func:`write_val_blends` left."""
    return read_manifest(config.out / VAL_BLENDS)


def validation_source(config: TrainingConfig) -> tuple[Path, str | None]:
    """Return the manifest that holds a finished run's validation crops, and the condition on its rows."""
    rows = read_manifest(config.manifest)
    rows = rows if config.where is None else rows.where(config.where)
    if selects_on_blends(config, rows.split("val")):
        return config.out / VAL_BLENDS / MANIFEST_NAME, None
    return config.manifest, config.where
