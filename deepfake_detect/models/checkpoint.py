"""The detector file: one safetensors with the network and everything scoring must agree on."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.models.backbones import BACKBONES, build_encoder
from deepfake_detect.models.classical import build_classical
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.config import DetectorConfig as DetectorConfig
from deepfake_detect.models.config import TrainingFacts as TrainingFacts
from deepfake_detect.models.config import parse_config as parse_config
from deepfake_detect.models.heads import HEADS
from deepfake_detect.models.sequence import build_untrained
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.plugins import PluginPart

_log = logging.getLogger(__name__)

_NETWORK_PARTS = {registry.option: registry for registry in (BACKBONES, HEADS)}
_AGGREGATION = "aggregation_rule"


def save_detector(path: str | os.PathLike[str], model: ForgeryClassifier, config: DetectorConfig) -> None:
    """Write a detector file atomically; the tensors read back bit for bit.

    The same network and config are written as the same bytes. Plug-ins that backbone and head are of
    are recorded with the config.

    Args:
        path: File to write, by custom ``detector.safetensors``.
        model: The trained network, with any head.
        config: What belongs to it.
    """
    described = replace(config, plugins=_with_plugins(config))
    save_tensors(path, dict(model.state_dict()), described.to_metadata())


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file atomically; the same content is written as the same bytes."""
    # The memory layout of training (channels last) does not belong into the file.
    laid_out = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # In memory: safetensors hides why a write to a full disk failed.
    written = memoryview(save(laid_out, metadata=dict(metadata)))
    # safetensors writes the metadata in an order that differs from process to process.
    size = int.from_bytes(written[:8], "little")
    header = json.dumps(json.loads(bytes(written[8 : 8 + size])), sort_keys=True, separators=(",", ":"))
    packed = header.encode()
    packed += b" " * (-len(packed) % 8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for part in (len(packed).to_bytes(8, "little"), packed, written[8 + size :]):
            file.write(part)


def read_detector(path: str | os.PathLike[str]) -> tuple[ForgeryClassifier, DetectorConfig]:
    """Read a detector file of any kind: a network of crops or sequences, or a classical classifier.

    Returns:
        The network in evaluation mode on the CPU, and its config.

    Raises:
        CheckpointError: The file is missing, damaged, written by another library or by a later
            version of this one; or it needs a plug-in that is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(file, "there is no such detector file", "pass a detector.safetensors")
    try:
        with safe_open(file, framework="pt") as reader:
            config = parse_config(file, reader.metadata() or {})
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            file, f"is not a complete safetensors file ({error})", "pass a detector.safetensors"
        ) from error
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
        raise CheckpointError(file, "holds weights that are not finite", "train it again")
    _log.debug("read the detector %s", file)
    _check_plugins(file, config)
    try:
        model = _build(config.model, tensors)
    except OptionError as error:
        raise CheckpointError(file, f"its network cannot be built ({error})", "train it again") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            file, f"does not match its own description ({reason})", "train it again"
        ) from error
    return model.eval(), config


def update_detector(path: str | os.PathLike[str], **changes: Any) -> DetectorConfig:
    """Rewrite a detector file with some fields of its config changed; return the new config.

    Args:
        path: The file.
        **changes: Fields of :class:`DetectorConfig` by name, as for ``dataclasses.replace``.
    """
    model, config = read_detector(path)
    changed = replace(config, **changes)
    save_detector(path, model, changed)
    return changed


def _build(spec: ModelSpec, tensors: Mapping[str, torch.Tensor]) -> ForgeryClassifier:
    """Return the network of a spec, with the heads that hold their numbers made of tensors."""
    encoder = build_encoder(spec)
    if spec.classical is not None:
        return build_classical(spec, encoder, tensors)
    return build_untrained(spec, encoder, num_features=_known_features(encoder, tensors))


def _known_features(encoder: nn.Module, tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Return how many features encoder and stored head agree on; ``None`` where unknown.

    Counting them takes as long as the rest of reading a small detector.
    """
    weights = [tensor for name, tensor in tensors.items() if name.startswith("head.") and tensor.ndim == 2]
    declared = getattr(encoder, "head_hidden_size", None)
    return declared if weights and weights[0].shape[1] == declared else None


def _with_plugins(config: DetectorConfig) -> tuple[PluginPart, ...]:
    """Return the parts of plug-ins that a config records, with those of its network."""
    spec = config.model
    parts = {(part.kind, part.name): part for part in config.plugins}
    for part in (BACKBONES.plugin_part(spec.backbone), HEADS.plugin_part(spec.head)):
        if part is not None:
            parts[part.kind, part.name] = part
    return tuple(parts[key] for key in sorted(parts))


def _check_plugins(file: Path, config: DetectorConfig) -> None:
    """Check that the plug-ins that scoring needs are there; those of training alone may be missing."""
    for part in config.plugins:
        is_there = True
        if part.kind in _NETWORK_PARTS:
            is_there = part.name in _NETWORK_PARTS[part.kind]
        elif part.kind == _AGGREGATION and part.version:  # else a script registers it
            is_there = part.is_installed
        if not is_there:
            cause = f"needs the {part}, which is not installed or failed to load"
            raise CheckpointError(file, cause, "install it")
