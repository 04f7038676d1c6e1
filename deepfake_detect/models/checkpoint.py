"""The detector file: one safetensors with the network and everything scoring must agree on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.files import atomic_path
from deepfake_detect.models.backbones import build_encoder
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.sequence import build_untrained
from deepfake_detect.models.spec import DETECTOR_FORMAT, ModelSpec, SequenceSpec
from deepfake_detect.records import CropGeometry, Preprocessing

FORMAT = DETECTOR_FORMAT
FORMAT_VERSION = 1
CLASSIFIER_KEY = "feature_classifier"
"""Of a file's metadata, there alone where a classical classifier is in it: see ``features.detector``."""
# What a calibration says beside its method.
CALIBRATION_KEYS = {"platt": {"slope", "intercept"}, "isotonic": {"logits", "probabilities"}}


@dataclass(frozen=True)
class DetectorConfig:
    """What a detector file says besides its weights.

    Attributes:
        name: Short name of the detector.
        version: Of the detector, not of the library.
        model: How to build the network.
        geometry: How its crops are cut.
        aggregation_rule: Name of the rule from face probabilities to the clip's.
        temperature: The logit is divided by it before the sigmoid; fitted on validation.
        calibration: What takes the place of the plain sigmoid, see
            ``inference.calibrated_probabilities``; empty for none.
        aggregation_weights: Of the aggregation rule ``"logistic"``; empty for all others.
        threshold: Probability from which a clip counts as fake; chosen on validation.
        uncertain_low, uncertain_high: Probabilities strictly between are called uncertain.
        training: Facts about the training: data, hash of video ids, selection, library version.
    """

    name: str
    version: str
    model: ModelSpec
    geometry: CropGeometry
    aggregation_rule: str = "most_suspicious_track"
    temperature: float = 1.0
    threshold: float = 0.5
    uncertain_low: float = 0.5
    uncertain_high: float = 0.5
    training: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    aggregation_weights: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise OptionError("temperature", f"is {self.temperature}", "it must be above 0")
        method = self.calibration.get("method", "platt")
        if method not in CALIBRATION_KEYS or set(self.calibration) - {"method"} - CALIBRATION_KEYS[method]:
            known = ", ".join(CALIBRATION_KEYS)
            raise OptionError("calibration", f"{method!r} is unknown or has other values", f"known: {known}")
        for name in ("threshold", "uncertain_low", "uncertain_high"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(name, f"is {getattr(self, name)}", "it must be from 0 to 1")


def save_detector(
    path: str | os.PathLike[str],
    model: ForgeryClassifier,
    config: DetectorConfig,
    *,
    told: Mapping[str, str] | None = None,
) -> None:
    """Write a detector file atomically; the tensors read back bit for bit.

    Args:
        path: File to write, by custom ``detector.safetensors``.
        model: The trained network.
        config: What belongs to it.
        told: More metadata, such as ``CLASSIFIER_KEY``.
    """
    metadata = {
        **(told or {}),
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(asdict(config), allow_nan=False),
    }
    # The memory layout of training (channels last) does not belong into the file.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


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


def parse_config(file: Path, metadata: dict[str, str]) -> DetectorConfig:
    """Return the config that a detector file's metadata hold.

    Raises:
        CheckpointError: They are of another library or a later version, or damaged.
    """
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            file,
            "was written by another library or is bare weights",
            "pass the detector.safetensors of tools/train.py; bare weights go to tools/train.py --weights",
        )
    version = metadata.get("format_version", "")
    if not version.isdecimal() or int(version) > FORMAT_VERSION:
        raise CheckpointError(file, f"has format version {version}", "update deepfake_detect to read it")
    try:
        values = json.loads(metadata["config"])
        return DetectorConfig(
            model=_parse_spec(values.pop("model")),
            geometry=CropGeometry(**values.pop("geometry")),
            **values,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(file, f"its description cannot be read ({error})", "train it again") from error


def _parse_spec(values: dict[str, Any]) -> ModelSpec:
    """Make a spec of its fields by name; those that an older file lacks have their defaults."""
    preprocessing, sequence = values.pop("preprocessing"), values.pop("sequence", None)
    return ModelSpec(
        preprocessing=Preprocessing(
            preprocessing["image_size"], tuple(preprocessing["mean"]), tuple(preprocessing["std"])
        ),
        sequence=SequenceSpec(**sequence) if sequence else None,
        **values,
    )
