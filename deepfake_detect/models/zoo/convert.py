"""Published files -> a detector of this library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from deepfake_detect.data.transforms import crops_to_tensor
from deepfake_detect.errors import WeightsError
from deepfake_detect.models.backbones import build_encoder
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.config import DetectorConfig, PublishedFacts, TrainingFacts
from deepfake_detect.models.encoder_weights import misfits
from deepfake_detect.models.published import LAYOUTS
from deepfake_detect.models.published.layout import Converted, Layout, State
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.models.zoo.entry import Polarity, ZooEntry
from deepfake_detect.models.zoo.state import read_state
from deepfake_detect.records import Preprocessing

_VERSION = "published"
_CHECK_CELLS = (4, 16, 64)


def convert_entry(
    entry: ZooEntry, files: Sequence[Path], *, network: str, sha256: Sequence[str]
) -> tuple[ForgeryClassifier, DetectorConfig]:
    """Build a published detector from its files.

    Args:
        entry: Of the zoo.
        files: Its files, in the order of the entry.
        network: Layout of the files.
        sha256: Of each file.

    Raises:
        WeightsError: A file cannot be read, or does not fit the network.
    """
    state = _state_of(entry, files)
    model, _ = build_published(
        state, LAYOUTS[network], preprocessing=entry.preprocessing, polarity=entry.polarity, source=entry.name
    )
    facts = PublishedFacts(entry.name, entry.repository, entry.license, tuple(sha256))
    config = DetectorConfig(
        name=entry.name,
        version=_VERSION,
        model=model.spec,
        geometry=entry.geometry,
        aggregation_rule=entry.aggregation_rule,
        training=TrainingFacts(published=facts),
        is_calibrated=False,
    )
    return model, config


def build_published(
    state: State, layout: Layout, *, preprocessing: Preprocessing, polarity: Polarity, source: object
) -> tuple[ForgeryClassifier, tuple[str, ...]]:
    """Build a network of a published layout from the tensors of a file.

    Args:
        state: The file's tensors.
        layout: How they are named.
        preprocessing: Of the network's input.
        polarity: What its output, or its class 1, means.
        source: Names the file in errors.

    Returns:
        The network in evaluation mode, and the names in the file that it does not need.

    Raises:
        WeightsError: Tensors are missing, left over, of another shape or not finite.
    """
    try:
        converted = layout.convert(state)
    except (KeyError, RuntimeError) as error:  # a missing name, or a view of another shape
        cause = f"are not those of {layout.title} ({type(error).__name__}: {error})"
        raise WeightsError(source, f"its tensors {cause}", "pass the file of this network") from error
    tensors = _with_polarity(converted, polarity)
    if infinite := [name for name, one in tensors.items() if not bool(torch.isfinite(one).all())]:
        raise WeightsError(
            source, f"contains weights that are not finite ({infinite[0]})", "download it again"
        )
    spec = ModelSpec(
        layout.backbone,
        preprocessing,
        backbone_options=layout.backbone_options,
        head="linear",
        pooling=layout.pooling,
    )
    num_features = tensors["head.weight"].shape[1]
    model = ForgeryClassifier(spec, build_encoder(spec), num_features=num_features)
    if problems := misfits(model, tensors):
        cause = f"does not fit {layout.title} ({', '.join(problems)})"
        raise WeightsError(source, cause, "pass the file of this network")
    model.load_state_dict(tensors, strict=False)
    return model.eval(), converted.dropped


def check_logits(model: ForgeryClassifier) -> list[float]:
    """Return the logits of three fixed patterns, by which a converted network is known again."""
    size, randomness = model.spec.preprocessing.image_size, np.random.default_rng(0)
    patterns = [
        np.kron(
            randomness.integers(256, size=(cells, cells, 3)), np.ones((math.ceil(size / cells),) * 2 + (1,))
        )
        for cells in _CHECK_CELLS
    ]
    images = [pattern[:size, :size].astype(np.uint8) for pattern in patterns]
    with torch.inference_mode():
        logits: list[float] = (
            model.eval()(crops_to_tensor(images, model.spec.preprocessing)).double().tolist()
        )
    return logits


def _state_of(entry: ZooEntry, files: Sequence[Path]) -> State:
    states = [read_state(path, member=file.member) for file, path in zip(entry.files, files, strict=True)]
    if len(states) == 1:
        return states[0]
    return {f"{n}.{name}": tensor for n, state in enumerate(states) for name, tensor in state.items()}


def _with_polarity(converted: Converted, polarity: Polarity) -> dict[str, torch.Tensor]:
    """Return the tensors of a network whose positive logit means fake."""
    tensors = {
        name: one.float() if one.is_floating_point() else one for name, one in converted.tensors.items()
    }
    if polarity == "real":
        for name in ("head.weight", "head.bias"):
            tensors[name] = -tensors[name]
    return tensors
