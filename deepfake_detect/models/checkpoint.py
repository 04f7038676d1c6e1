"""The detector file: one safetensors with the network and everything scoring must agree on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.models.backbones import build_encoder
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.config import CALIBRATION_KEYS as CALIBRATION_KEYS
from deepfake_detect.models.config import CLASSIFIER_KEY as CLASSIFIER_KEY
from deepfake_detect.models.config import FORMAT, FORMAT_VERSION
from deepfake_detect.models.config import DetectorConfig as DetectorConfig
from deepfake_detect.models.config import parse_config as parse_config
from deepfake_detect.models.sequence import build_untrained


def save_detector(
    path: str | os.PathLike[str],
    model: ForgeryClassifier,
    config: DetectorConfig,
    *,
    extra_metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a detector file atomically; the tensors read back bit for bit.

    Args:
        path: File to write, by custom ``detector.safetensors``.
        model: The trained network.
        config: What belongs to it.
        extra_metadata: More metadata, such as ``CLASSIFIER_KEY``.
    """
    metadata = {
        **(extra_metadata or {}),
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(asdict(config), allow_nan=False),
    }
    # The memory layout of training (channels last) does not belong into the file.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    written = save(tensors, metadata=metadata)  # in memory: it hides from what a write to a full disk failed
    with atomic_path(path) as temporary:
        temporary.write_bytes(written)


def read_detector(path: str | os.PathLike[str]) -> tuple[ForgeryClassifier, DetectorConfig]:
    """Read a detector file.

    Returns:
        The network in evaluation mode on the CPU, and its config.

    Raises:
        CheckpointError: The file is missing, damaged, written by another library or by a later
            version of this one.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(file, "there is no such detector file", "pass a detector.safetensors")
    try:
        with safe_open(file, framework="pt") as reader:
            metadata = reader.metadata() or {}
            config = parse_config(file, metadata)
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            file, f"is not a whole safetensors file ({error})", "pass a detector.safetensors of this library"
        ) from error
    if CLASSIFIER_KEY in metadata:
        raise CheckpointError(
            file, "has a classical classifier, and this needs a network alone", "score or explain with it"
        )
    try:
        encoder = build_encoder(config.model)
        known = _known_features(encoder, tensors)
        model = build_untrained(config.model, encoder, num_features=known)
    except OptionError as error:
        raise CheckpointError(file, f"its network cannot be built ({error})", "train it again") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            file, f"does not fit its own description ({reason})", "train it again"
        ) from error
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
        raise CheckpointError(file, "holds weights that are not finite", "train it again")
    return model.eval(), config


def _known_features(encoder: Any, tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Return how many features encoder and stored head agree on; ``None`` where they do not say.

    Counting them takes as long as the rest of reading a small detector.
    """
    weights = [tensor for name, tensor in tensors.items() if name.startswith("head.") and tensor.ndim == 2]
    told = getattr(encoder, "head_hidden_size", None)
    return told if weights and weights[0].shape[1] == told else None


def update_detector(path: str | os.PathLike[str], **changes: Any) -> DetectorConfig:
    """Rewrite a detector file with some fields of its config changed; return the new config."""
    model, config = read_detector(path)
    changed = replace(config, **changes)
    save_detector(path, model, changed)
    return changed
