"""The detector file: one safetensors with the network and everything scoring must agree on."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.models.backbones import BACKBONES, build_encoder
from deepfake_detect.models.classical import build_classical
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.config import DetectorConfig as DetectorConfig
from deepfake_detect.models.config import TrainingFacts as TrainingFacts
from deepfake_detect.models.config import parse_config as parse_config
from deepfake_detect.models.encoder_weights import misfits
from deepfake_detect.models.heads import HEADS
from deepfake_detect.models.metadata import read_bytes
from deepfake_detect.models.sequence import build_untrained
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.models.tensor_file import read_tensors, save_tensors
from deepfake_detect.models.zoo.store import local_detector
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


def read_detector(path: str | os.PathLike[str]) -> tuple[ForgeryClassifier, DetectorConfig]:
    """Read a detector file of any kind: a network of crops or sequences, or a classical classifier.

    One on the hub (``"hf://owner/name"``) is fetched first.

    Returns:
        The network in evaluation mode on the CPU, and its config.

    Raises:
        CheckpointError: The file is missing, damaged, written by another library or by a later
            version of this one; or it needs a plug-in that is not installed. What it says about itself
            is checked before anything is built of it.
    """
    file = local_detector(path)
    found = read_bytes(file, kind="safetensors")
    config = parse_config(file, found.metadata)
    tensors, _ = read_tensors(file, CheckpointError, remedy="pass a detector.safetensors")
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
        raise CheckpointError(file, "contains weights that are not finite", "train it again")
    _log.debug("read the detector %s", file)
    _check_plugins(file, config)
    try:
        model = _build(file, config.model, tensors)
    except OptionError as error:
        raise CheckpointError(file, f"its network cannot be built ({error})", "train it again") from error
    model.load_state_dict(tensors)
    found.check_weights()
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


def _build(file: Path, spec: ModelSpec, tensors: Mapping[str, torch.Tensor]) -> ForgeryClassifier:
    """Return the network of a spec, with the heads that hold their numbers made of tensors.

    A copy without numbers is compared with the tensors first, so that a damaged description cannot ask
    for more memory than the file fills. Plug-ins need not support torch's meta device.
    """
    is_classical = spec.classical is not None
    has_plugins = any(_NETWORK_PARTS[kind].plugin_part(name) for kind, name in _names(spec))
    if not has_plugins:
        with torch.device("meta"):
            planned: nn.Module = build_encoder(spec)
            if not is_classical:
                planned = build_untrained(spec, planned, num_features=_known_features(planned, tensors))
        _check_fit(file, planned, _below("encoder.", tensors) if is_classical else tensors)
    encoder = build_encoder(spec)
    if is_classical:
        model: ForgeryClassifier = build_classical(spec, encoder, _below("head.", tensors))
    else:
        model = build_untrained(spec, encoder, num_features=_known_features(encoder, tensors))
    _check_fit(file, model, tensors)
    return model


def _names(spec: ModelSpec) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the registered parts of a network, by kind and name."""
    return (BACKBONES.option, spec.backbone), (HEADS.option, spec.head)


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


def _check_fit(file: Path, network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    if problems := misfits(network, tensors, optional=()):
        cause = f"does not match its own description ({', '.join(problems)})"
        raise CheckpointError(file, cause, "train it again")


def _known_features(encoder: nn.Module, tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Return how many features encoder and stored head agree on; ``None`` where unknown.

    Counting them takes as long as the rest of reading a small detector.
    """
    weights = [tensor for name, tensor in tensors.items() if name.startswith("head.") and tensor.ndim == 2]
    declared = getattr(encoder, "head_hidden_size", None)
    return declared if weights and weights[0].shape[1] == declared else None


def _with_plugins(config: DetectorConfig) -> tuple[PluginPart, ...]:
    """Return the parts of plug-ins that a config records, with those of its network."""
    parts = {(part.kind, part.name): part for part in config.plugins}
    for kind, name in _names(config.model):
        part = _NETWORK_PARTS[kind].plugin_part(name)
        if part is not None:
            parts[kind, name] = part
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
            cause = f"needs the {part}, which is not installed or cannot be loaded"
            raise CheckpointError(file, cause, "install it")
