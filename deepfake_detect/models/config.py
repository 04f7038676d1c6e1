"""What a detector's file says besides its weights, whatever runtime they are for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepfake_detect.errors import CheckpointError, OptionError
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


def parse_config(file: Path, metadata: Mapping[str, str]) -> DetectorConfig:
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
