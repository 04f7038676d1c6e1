"""One detector out of several of the same network: the mean of their weights.

Networks that were fine-tuned from the same weights often lie in one valley: the mean of their weights
is then as good as the best of them where that one is good, and keeps what the others can besides
(Wortsman et al. 2022, arXiv:2203.05482 and arXiv:2109.01903). Networks with other first weights do not,
and their mean is worth nothing: measure it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from deepfake_detect.data.video_digests import PREFIXES_KEY, seen_by_all
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector
from deepfake_detect.models.classifier import ForgeryClassifier


def average_detectors(
    paths: Sequence[str | os.PathLike[str]],
    shares: Sequence[float] | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
) -> tuple[ForgeryClassifier, DetectorConfig]:
    """Return the detector whose weights are the mean of those of several.

    Args:
        paths: Detector files of one network, two at least. Input size and crops are the first one's.
        shares: Of each in the mean, above 0 and summing up to 1; ``None`` gives all the same.
        name, version: Of the new detector; ``None`` is the first one's.

    Returns:
        The network in evaluation mode, and its config: threshold 0.5, no band and no temperature,
        since those of its parts do not fit; see ``evaluation.calibrate``. Videos that one of them has
        trained on count as trained on.

    Raises:
        OptionError: Fewer than two files, or shares that are none.
        CheckpointError: A file cannot be read, or is of another network.

    Example:
        >>> from deepfake_detect.models.bundled import bundled_detector
        >>> with bundled_detector() as path:
        ...     _, config = average_detectors([path, path], version="1.1")
        >>> config.version, config.training["average_of"]["shares"]
        ('1.1', [0.5, 0.5])
    """
    weights = _checked_shares(len(paths), shares)
    detectors = [read_detector(path) for path in paths]
    first = detectors[0][1]
    for path, (_, config) in zip(paths, detectors, strict=True):
        if _network_of(config) != _network_of(first):
            raise CheckpointError(path, "is of another network than the first", "average detectors of one")
    states = [model.state_dict() for model, _ in detectors]
    model = detectors[0][0]
    # The sums are made before anything is loaded: a state dict is a view of its network.
    model.load_state_dict({key: _mean([state[key] for state in states], weights) for key in states[0]})
    configs = [config for _, config in detectors]
    return model, _config(configs, weights, name=name, version=version)


def _checked_shares(count: int, shares: Sequence[float] | None) -> list[float]:
    if count < 2:
        raise OptionError("detectors", f"there is {count}", "pass two or more")
    weights = [1 / count] * count if shares is None else list(shares)
    if len(weights) != count or min(weights) <= 0 or abs(sum(weights) - 1) > 1e-6:
        told = " ".join(f"{share:g}" for share in weights)
        raise OptionError("shares", f"are {told}", f"pass {count} numbers above 0 that sum up to 1")
    return weights


def _network_of(config: DetectorConfig) -> Any:
    """Return what has to agree: all of the network but the size of its input."""
    unsized = replace(config.model.preprocessing, image_size=0)
    return replace(config.model, preprocessing=unsized, dropout=0.0)


def _mean(tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0].clone()  # how many batches a norm has seen: nothing is computed with it
    total = sum(tensor.double() * weight for tensor, weight in zip(tensors, weights, strict=True))
    assert isinstance(total, torch.Tensor)
    return total.to(tensors[0].dtype)


def _config(
    configs: Sequence[DetectorConfig], weights: Sequence[float], *, name: str | None, version: str | None
) -> DetectorConfig:
    first = configs[0]
    parts = [f"{config.name} {config.version}" for config in configs]
    training = {
        **{key: value for key, value in first.training.items() if not key.endswith("_videos_sha256")},
        "average_of": {"detectors": parts, "shares": list(weights)},
        PREFIXES_KEY: seen_by_all(config.training for config in configs),
    }
    return DetectorConfig(
        name=name or first.name,
        version=version or first.version,
        model=first.model,
        geometry=first.geometry,
        training=training,
    )
