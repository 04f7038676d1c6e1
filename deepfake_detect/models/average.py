"""One detector out of several of the same network: the mean of their weights.

Networks that were fine-tuned from the same weights often lie in one valley of the loss: the mean of
their weights is then as good as the best of them on its own data, and keeps some of what the others do
better (Wortsman et al. 2022, arXiv:2203.05482 and arXiv:2109.01903). The mean of networks with different
first weights is useless. Measure it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import torch

from deepfake_detect.data.video_digests import seen_by_all
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.models.checkpoint import read_detector, save_detector
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.config import AverageFacts, DetectorConfig
from deepfake_detect.models.spec import ModelSpec


def average_detectors(
    detectors: Sequence[str | os.PathLike[str]],
    *,
    mixing_weights: Sequence[float] | None = None,
    name: str | None = None,
    version: str | None = None,
    out: str | os.PathLike[str] | None = None,
) -> tuple[ForgeryClassifier, DetectorConfig]:
    """Return the detector whose weights are the mean of those of several, and write it.

    Args:
        detectors: Detector files of one network, two or more. Input size and crops are the first one's.
        mixing_weights: Weight of each in the mean, above 0, with a sum of 1; equal ones when ``None``.
        name, version: Of the new detector; the first one's when ``None``.
        out: File to write; none when ``None``.

    Returns:
        The network in evaluation mode, and its config: threshold 0.5, no band and no temperature,
        since those of its parts do not fit; see ``calibrate``. Videos that one of them was trained on
        count as trained on.

    Raises:
        OptionError: Fewer than two files, or wrong weights.
        CheckpointError: A file cannot be read, is of another network, or has a classical classifier.

    Example:
        >>> from deepfake_detect.models.bundled import bundled_detector
        >>> with bundled_detector() as path:
        ...     _, config = average_detectors([path, path], version="1.1")
        >>> config.version, config.training.average_of.mixing_weights
        ('1.1', (0.5, 0.5))
    """
    weights = _checked_weights(len(detectors), mixing_weights)
    members = [read_detector(path) for path in detectors]
    first = members[0][1]
    for path, (_, config) in zip(detectors, members, strict=True):
        if config.model.classical is not None:
            cause = "has a classical classifier, whose trees or points have no mean"
            raise CheckpointError(path, cause, "average detectors of `train`")
        if _comparable(config.model) != _comparable(first.model):
            raise CheckpointError(
                path, "has a different network from the first", "average detectors of the same network"
            )
    states = [model.state_dict() for model, _ in members]
    model = members[0][0]
    # All means are computed before any is loaded: a state dict is a view of its network.
    model.load_state_dict({key: _mean([state[key] for state in states], weights) for key in states[0]})
    config = _config([config for _, config in members], weights, name=name, version=version)
    if out is not None:
        save_detector(out, model, config)
    return model, config


def _checked_weights(count: int, weights: Sequence[float] | None) -> tuple[float, ...]:
    if count < 2:
        raise OptionError("detectors", f"has {count}", "pass two or more")
    checked = (1 / count,) * count if weights is None else tuple(weights)
    if len(checked) != count or min(checked) <= 0 or abs(sum(checked) - 1) > 1e-6:
        given = " ".join(f"{weight:g}" for weight in checked)
        raise OptionError("mixing_weights", f"is {given}", f"must be {count} numbers above 0 with a sum of 1")
    return checked


def _comparable(spec: ModelSpec) -> ModelSpec:
    """Return what must agree: everything but input size and dropout."""
    return replace(spec, preprocessing=replace(spec.preprocessing, image_size=1), dropout=0.0)


def _mean(tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0].clone()  # the batch counter of a norm, which nothing is computed from
    total = sum(tensor.double() * weight for tensor, weight in zip(tensors, weights, strict=True))
    assert isinstance(total, torch.Tensor)
    return total.to(tensors[0].dtype)


def _config(
    configs: Sequence[DetectorConfig], weights: tuple[float, ...], *, name: str | None, version: str | None
) -> DetectorConfig:
    first = configs[0]
    training = replace(
        first.training,
        train_videos_sha256=None,
        val_videos_sha256=None,
        calibrated_videos_sha256=None,
        average_of=AverageFacts(tuple(f"{config.name} {config.version}" for config in configs), weights),
        video_sha256_prefixes=seen_by_all(config.training.video_sha256_prefixes or {} for config in configs),
    )
    return DetectorConfig(
        name=name or first.name,
        version=version or first.version,
        model=first.model,
        geometry=first.geometry,
        training=training,
        plugins=first.plugins,
        is_calibrated=all(config.is_calibrated for config in configs),
    )
