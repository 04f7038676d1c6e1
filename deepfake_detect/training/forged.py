"""Fakes that a run makes from its reals: to train on, and to select by where there are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from deepfake_detect.data.fetched import local_manifest
from deepfake_detect.data.manifest import MANIFEST_NAME, Manifest, read_manifest
from deepfake_detect.errors import ManifestError
from deepfake_detect.forgery.blend_set import write_blends
from deepfake_detect.forgery.blended_crops import Blender, relative_landmarks
from deepfake_detect.forgery.blends import parse_blends
from deepfake_detect.io.files import atomic_path, read_json, write_json
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import chosen_rows, has_fakes

VAL_BLENDS = "val_blends"
_LANDMARKS_NAME, _LANDMARKS_KEY = "landmarks.safetensors", "shares"
_ORIGIN_NAME = "made_of.json"


def prepare_fakes(
    config: TrainingConfig, train_rows: Manifest, val_rows: Manifest, *, show_progress: bool
) -> None:
    """Write what making fakes needs into the folder of a run; what is there already is kept.

    That is the landmarks of the training reals and, for a validation split without fakes, fakes of it.

    Raises:
        ManifestError: No real has a face in it.
        OptionError: ``cross`` is asked for and there are not two people.
    """
    if not config.forgery:
        return
    if selects_on_blends(config, val_rows):
        _write_val_blends(config, val_rows, show_progress=show_progress)
    store_landmarks(config, train_rows, show_progress=show_progress)


def store_landmarks(config: TrainingConfig, train_rows: Manifest, *, show_progress: bool) -> None:
    """Write the landmarks of training reals into the folder of a run, unless they are there already."""
    path, digest = config.out / _LANDMARKS_NAME, _rows_sha256(train_rows)
    if _stored_landmarks(path, digest) is None:
        landmarks = relative_landmarks(train_rows, device=config.device, show_progress=show_progress)
        with atomic_path(path) as temporary:
            temporary.write_bytes(save({_LANDMARKS_KEY: landmarks}, metadata={"rows_sha256": digest}))


def make_blender(
    config: TrainingConfig, train_rows: Manifest, *, show_progress: bool = False
) -> Blender | None:
    """Return what makes fakes of training reals; ``None`` where the options ask for none.

    Landmarks are those of :func:`prepare_fakes`, or found again where there are none of the same rows.

    Raises:
        ManifestError: No real has a face in it.
        OptionError: ``cross`` is asked for and there are not two people.
    """
    if not config.forgery:
        return None
    landmarks = _stored_landmarks(config.out / _LANDMARKS_NAME, _rows_sha256(train_rows))
    if landmarks is None:
        landmarks = relative_landmarks(train_rows, device=config.device, show_progress=show_progress)
    blender = Blender(train_rows, landmarks, parse_blends(config.forgery))
    if not len(blender.rows):
        raise ManifestError(config.manifest, "has no real crop with a face in it", "extract faces of reals")
    return blender


def selects_on_blends(config: TrainingConfig, val_rows: Manifest) -> bool:
    """Return whether a run makes its own validation fakes, because the manifest has none."""
    return bool(config.forgery) and not has_fakes(val_rows)


def val_blends(config: TrainingConfig) -> Manifest:
    """Return the validation reals and fakes that :func:`prepare_fakes` wrote."""
    return read_manifest(config.out / VAL_BLENDS)


def validation_source(config: TrainingConfig) -> tuple[Path, str | None]:
    """Return the manifest that holds a finished run's validation crops, and the condition on its rows."""
    if selects_on_blends(config, chosen_rows(config).split("val")):
        return config.out / VAL_BLENDS / MANIFEST_NAME, None
    return local_manifest(config.manifest), config.where


def validation_rows(config: TrainingConfig) -> Manifest:
    """Return the manifest of :func:`validation_source`, with the rows that its condition selects."""
    manifest, where = validation_source(config)
    rows = read_manifest(manifest)
    return rows if where is None else rows.where(where)


def _write_val_blends(config: TrainingConfig, val_rows: Manifest, *, show_progress: bool) -> None:
    folder = config.out / VAL_BLENDS
    wanted = {"rows_sha256": _rows_sha256(val_rows), "forgery": config.forgery, "seed": config.seed}
    origin = folder / _ORIGIN_NAME
    if origin.is_file() and read_json(origin) == wanted:
        return
    origin.unlink(missing_ok=True)
    words = parse_blends(config.forgery)
    write_blends(val_rows, folder, words, seed=config.seed, device=config.device, show_progress=show_progress)
    write_json(origin, wanted)


def _rows_sha256(rows: Manifest) -> str:
    """Return a hash of what landmarks depend on."""
    digest = hashlib.sha256(repr((str(rows.root.resolve()), rows.geometry)).encode())
    for batch in rows.columns(["path", "label", "box_xyxy", "landmarks_xy"]).to_batches(10_000):
        digest.update(repr(batch.to_pylist()).encode())
    return digest.hexdigest()


def _stored_landmarks(path: Path, digest: str) -> np.ndarray | None:
    """Return stored landmarks; ``None`` where there are none, or they are damaged or of other rows."""
    try:
        with safe_open(path, framework="numpy") as file:
            is_same = (file.metadata() or {}).get("rows_sha256") == digest
            return file.get_tensor(_LANDMARKS_KEY) if is_same else None
    except (OSError, SafetensorError):
        return None  # they are found again
