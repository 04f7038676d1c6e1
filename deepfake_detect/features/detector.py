"""An encoder with a classical classifier behind it, as a detector file.

The file is a detector's like any other, save that its metadata name the classifier and the layer it
listens to. It holds arrays alone: nothing in it is ever run.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.features.extractor import FeatureExtractor
from deepfake_detect.features.heads import HEADS, ClassicalHead
from deepfake_detect.models.backbones import build_encoder
from deepfake_detect.models.checkpoint import (
    CLASSIFIER_KEY,
    DetectorConfig,
    parse_config,
    read_detector,
    save_detector,
)
from deepfake_detect.models.classifier import ForgeryClassifier

_ENCODER, _HEAD = "encoder.", "head."


class FeatureClassifier(ForgeryClassifier):
    """Face crops in, one logit each out, by way of features and a classical classifier.

    Args:
        extractor: Pooled.
        head: Of as many features.

    Raises:
        OptionError: The features are maps, or their number is another.
    """

    def __init__(self, extractor: FeatureExtractor, head: ClassicalHead) -> None:
        model = extractor.model
        spec = replace(model.spec, head="linear", dropout=0.0, num_classes=1, sequence=None)
        super().__init__(spec, model.encoder)
        if extractor.feature_shape != (head.num_features,):
            raise OptionError(
                "classifier",
                f"takes {head.num_features} features, the network gives {extractor.feature_shape}",
                "fit it on pooled features of this network and layer",
            )
        self.head = head
        self._layer = extractor.layer
        # Not a module of its own: its encoder is this one's.
        self._extractor = [extractor]

    @property
    def layer(self) -> str | None:
        """Name of the layer that the features are of; ``None`` for the encoder's output."""
        return self._layer

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features (N, F) of normalized images (N, C, S, S)."""
        features: torch.Tensor = self._extractor[0](images)
        return features


def save_feature_detector(
    path: str | os.PathLike[str], model: FeatureClassifier, head_name: str, config: DetectorConfig
) -> None:
    """Write a detector file atomically.

    Args:
        path: File to write, by custom ``detector.safetensors``.
        model: Encoder and classifier.
        head_name: Of ``heads.HEADS``.
        config: What belongs to it; its ``model`` is the network's spec.
    """
    told = {CLASSIFIER_KEY: json.dumps({"head": head_name, "layer": model.layer})}
    save_detector(path, model, config, extra_metadata=told)


def read_any_detector(path: str | os.PathLike[str]) -> tuple[ForgeryClassifier, DetectorConfig]:
    """Read a detector file with a network's own head or with a classical classifier.

    Returns:
        The network in evaluation mode on the CPU, and its config.

    Raises:
        CheckpointError: As for ``models.checkpoint.read_detector``.
    """
    file = Path(path)
    try:
        with safe_open(file, framework="pt") as reader:
            metadata = reader.metadata() or {}
            if CLASSIFIER_KEY not in metadata:
                return read_detector(file)
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return read_detector(file)  # which says what is wrong with it
    config = parse_config(file, metadata)
    try:
        facts = json.loads(metadata[CLASSIFIER_KEY])
        return _build(config, tensors, facts), config
    except (OptionError, RuntimeError, LookupError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise CheckpointError(
            file, f"does not fit its own description ({reason})", "train it again"
        ) from error


def _build(
    config: DetectorConfig, tensors: dict[str, torch.Tensor], facts: dict[str, Any]
) -> FeatureClassifier:
    head = HEADS[facts["head"]](_below(_HEAD, tensors))
    network = ForgeryClassifier(config.model, build_encoder(config.model))
    state = _below(_ENCODER, tensors)
    network.encoder.load_state_dict(state)
    if not all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point()):
        raise ValueError("its weights are not finite")
    return FeatureClassifier(FeatureExtractor(network, layer=facts["layer"]), head).eval()


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
