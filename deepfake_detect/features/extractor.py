"""Crops -> features: any backbone or detector, any layer, pooled or as maps."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepfake_detect.errors import CheckpointError
from deepfake_detect.features.options import FeatureSource as FeatureSource
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.models.layers import (
    as_map,
    find_layer,
    last_map_layer,
    layer_features,
    layout_of,
    outputs_of,
)
from deepfake_detect.models.weights import read_weights_file
from deepfake_detect.records import CropGeometry

_SEED = 0  # of a network without weights, so that two runs give the same features


class FeatureExtractor(nn.Module):
    """Normalized images (N, 3, S, S) in, features out: (N, F), or (N, C, h, w) of maps.

    Args:
        model: Network whose encoder is used.
        layer: Name of a layer, see ``models.layers.named_layers``; ``None`` for the encoder's output.
        is_spatial: Whether maps are kept; without a layer, those of the last layer with maps.

    Attributes:
        layer: Name of the layer, also where maps are kept and none was given.
        feature_shape: (F,) or (C, h, w).

    Raises:
        OptionError: There is no such layer (similar names are listed), or its output is no map.

    Example:
        >>> extractor = FeatureExtractor(create_model("resnet18", image_size=64), layer="layer2")
        >>> tuple(extractor(torch.zeros(2, 3, 64, 64)).shape)
        (2, 128)
    """

    def __init__(
        self, model: ForgeryClassifier, *, layer: str | None = None, is_spatial: bool = False
    ) -> None:
        super().__init__()
        self.model = model.eval()
        size = model.spec.preprocessing.image_size
        sample = torch.zeros(1, model.spec.in_chans, size, size)
        self.layer = last_map_layer(model, sample) if is_spatial and layer is None else layer
        self.is_spatial = is_spatial
        if self.layer is not None:
            find_layer(model, self.layer)
            self._layout = layout_of(model, sample.shape)
        with torch.inference_mode():
            self.feature_shape = tuple(self(sample).shape[1:])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of normalized images (N, 3, S, S)."""
        if self.layer is None:
            features: torch.Tensor = self.model.encoder(self.model.stem(images))
            return features
        if not self.is_spatial:
            return layer_features(self.model, self.layer, self._layout, images)
        return as_map(outputs_of(self.model, [self.layer], images)[self.layer], self._layout)


@dataclass(frozen=True, eq=False)
class NamedExtractor:
    """An extractor with its description.

    Attributes:
        network: On the CPU.
        source: Options that it was built from.
        weights_sha256: Hash of the encoder's tensors by name.
        card: Description of the network.
        geometry: How its crops must be cut; ``None`` where any cut will do.
    """

    network: FeatureExtractor
    source: FeatureSource
    weights_sha256: str
    card: dict[str, Any]
    geometry: CropGeometry | None

    @property
    def source_facts(self) -> dict[str, Any]:
        """The source as plain values, with ``weights_sha256``."""
        return {**asdict(self.source), "weights_sha256": self.weights_sha256}


def build_extractor(source: FeatureSource) -> NamedExtractor:
    """Build the network of a source.

    A backbone without weights gets the same random ones each time, with a warning.

    Raises:
        OptionError: An unknown backbone or layer.
        WeightsError, CheckpointError: Weights or detector cannot be read.
    """
    config: DetectorConfig | None = None
    if source.detector is not None:
        model, config = read_detector(source.detector)
        # Without the digests of thousands of videos.
        readable = replace(config, training=config.training.readable())
        card: dict[str, Any] = {"detector_config": readable.to_dict()}
    else:
        model = _from_backbone(source)
        is_file = source.weights is not None and Path(source.weights).is_file()
        metadata = read_weights_file(source.weights).metadata if is_file and source.weights else {}
        card = {"weights": source.weights, "weights_metadata": dict(metadata)}
    network = FeatureExtractor(model, layer=source.layer, is_spatial=source.is_spatial)
    num_parameters = sum(parameter.numel() for parameter in model.encoder.parameters())
    card = {"backbone": model.spec.backbone, "num_parameters": num_parameters, **card}
    return NamedExtractor(
        network=network,
        source=replace(source, layer=network.layer),
        weights_sha256=state_sha256(model.encoder.state_dict()),
        card=card,
        geometry=None if config is None else config.geometry,
    )


def rebuild_extractor(facts: Mapping[str, Any], *, path: str | None = None) -> NamedExtractor:
    """Build the network that computed features, of ``FeatureInfo.source``; ``path`` is for moved weights.

    Raises:
        CheckpointError: The file holds other weights now.
        OptionError, WeightsError: As for :func:`build_extractor`.
    """
    values = dict(facts)
    expected = values.pop("weights_sha256")
    if path is not None:
        values["weights" if values["detector"] is None else "detector"] = path
    extractor = build_extractor(FeatureSource(**values))
    if extractor.weights_sha256 != expected:
        where = extractor.source.detector or extractor.source.weights or extractor.source.backbone
        raise CheckpointError(
            where, "contains other weights than those of the features", "extract them again"
        )
    return extractor


def state_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Return a hash of tensors by name, types and values.

    Example:
        >>> state_sha256({"a": torch.zeros(2)}) == state_sha256({"b": torch.zeros(2)})
        False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _from_backbone(source: FeatureSource) -> ForgeryClassifier:
    assert source.backbone is not None
    if source.weights is not None:
        return create_model(source.backbone, weights=source.weights)
    warnings.warn(f"{source.backbone} has random weights, so its features mean little", stacklevel=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return create_model(source.backbone)
