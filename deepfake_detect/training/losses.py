"""What a step minimizes: losses and their registry, class weights, distillation, mixtures of crops."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.records import FAKE
from deepfake_detect.registry import Registry
from deepfake_detect.training.config import TrainingConfig

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits and targets (0 to 1, 1 = fake), float32 (N,) each, to losses (N,), or to their mean ()."""


def bce_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy float32 (N,) of each crop, in nats."""
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def focal_loss(
    logits: torch.Tensor, targets: torch.Tensor, *, gamma: float = TrainingConfig.focal_gamma
) -> torch.Tensor:
    """Return the focal loss float32 (N,) of each crop (Lin et al. 2017, arXiv:1708.02002).

    It is the cross-entropy times ``(1 - p) ** gamma``, with p the probability of the true class.
    """
    probabilities = logits.sigmoid()
    of_truth = probabilities * targets + (1 - probabilities) * (1 - targets)
    return bce_loss(logits, targets) * (1 - of_truth) ** gamma


LOSSES: Registry[LossFunction] = Registry("loss", {"bce": bce_loss, "focal": focal_loss})
"""Losses by name, the values of ``TrainingConfig.loss``."""


def register_loss(name: str, loss: LossFunction) -> None:
    """Register a loss, so that options can name it.

    Args:
        name: Of the loss.
        loss: Takes logits and targets, float32 (N,) each, targets between 0 and 1 with 1 = fake, and
            returns the loss of each crop (N,), or their mean.

    Raises:
        OptionError: The name is taken by another loss.

    Example:
        >>> register_loss("squared", lambda logits, targets: (logits.sigmoid() - targets) ** 2)
        >>> LOSSES.find("squared")(torch.zeros(1), torch.ones(1))
        tensor([0.2500])
    """
    LOSSES.register(name, loss)


def forgery_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    label_smoothing: float,
    loss: LossFunction = bce_loss,
    fake_weight: float = 1.0,
) -> torch.Tensor:
    """Return the mean loss of a batch, float32 (), in nats.

    Args:
        logits: float32 (N,), positive = fake.
        targets: float32 (N,), 1 = fake; between 0 and 1 for mixtures.
        label_smoothing: Fraction by which targets move toward 0.5.
        loss: The loss of each crop.
        fake_weight: Weight of a fake where a real has 1; the mean is weighted.

    Raises:
        OptionError: The loss returns another shape, or a mean that cannot be weighted.

    Example:
        >>> float(forgery_loss(torch.zeros(2), torch.tensor([0.0, 1.0]), label_smoothing=0)).__round__(4)
        0.6931
    """
    smoothed = targets * (1 - label_smoothing) + 0.5 * label_smoothing
    losses = loss(logits, smoothed)
    if losses.ndim == 0 and fake_weight == 1:
        return losses
    if losses.shape != logits.shape:
        cause = f"returns the shape {tuple(losses.shape)} for {len(logits)} crops"
        raise OptionError("loss", cause, "return the loss of each crop, (N,); or, unweighted, their mean")
    weights = 1 + (fake_weight - 1) * targets
    return (losses * weights).sum() / weights.sum()


class TrainingLoss:
    """The loss of a run with these options; ``function`` replaces ``config.loss``."""

    def __init__(
        self, config: TrainingConfig, *, fake_weight: float = 1.0, function: LossFunction | None = None
    ) -> None:
        self._config, self._fake_weight = config, fake_weight
        self._function = function or LOSSES.find(config.loss)
        if self._function is focal_loss:
            self._function = functools.partial(focal_loss, gamma=config.focal_gamma)

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, of its labels: see :func:`forgery_loss`."""
        return forgery_loss(
            logits,
            targets,
            loss=self._function,
            label_smoothing=self._config.label_smoothing,
            fake_weight=self._fake_weight,
        )

    def distilled(
        self, loss: torch.Tensor, logits: torch.Tensor, teacher_logits: torch.Tensor
    ) -> torch.Tensor:
        """Return the weighted mean of the loss of the labels and that of the teachers."""
        weight, temperature = self._config.distillation, self._config.distillation_temperature
        of_teachers = distillation_loss(logits, teacher_logits, temperature=temperature)
        return (1 - weight) * loss + weight * of_teachers


def distillation_loss(
    logits: torch.Tensor, teacher_logits: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Return the mean cross-entropy float32 () of a student against its teachers (N,), in nats.

    Both logits are divided by the temperature, whose square multiplies the loss, so that gradients keep
    their size (Hinton et al. 2015, arXiv:1503.02531). The minimum is the teachers' entropy, not 0.

    Example:
        >>> float(distillation_loss(torch.zeros(2), torch.zeros(2), temperature=2.0)).__round__(4)
        2.7726
    """
    softened = (teacher_logits / temperature).sigmoid()
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits / temperature, softened)
    return cross_entropy * temperature**2


def class_weight(labels: np.ndarray) -> float:
    """Return the weight of a fake that balances both classes: reals over fakes.

    Example:
        >>> class_weight(np.array([0, 1, 1, 1]))
        0.3333333333333333
    """
    num_fakes = int((labels == FAKE).sum())
    return (len(labels) - num_fakes) / num_fakes


def mix_batch(
    images: torch.Tensor, targets: torch.Tensor, config: TrainingConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each crop of a batch with another one of it; images and targets keep their shapes.

    mixup (arXiv:1710.09412) blends whole crops, CutMix (arXiv:1905.04899) pastes a rectangle of one
    into another; with both, each batch uses one of them.

    Args:
        images: float32 (N, C, H, W).
        targets: float32 (N,).
        config: Its ``mixup`` and ``cutmix``; with neither the batch is returned unchanged.
        rng: Chooses partners, weights and rectangles.
    """
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(config, kind)]
    if not kinds or len(images) < 2:
        return images, targets
    kind = kinds[int(rng.integers(len(kinds)))]
    weight = float(rng.beta(getattr(config, kind), getattr(config, kind)))
    partners = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    if kind == "mixup":
        mixed = images * weight + images[partners] * (1 - weight)
    else:
        mixed, weight = _with_rectangle(images, images[partners], weight, rng)
    return mixed, targets * weight + targets[partners] * (1 - weight)


def _with_rectangle(
    images: torch.Tensor, others: torch.Tensor, weight: float, rng: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Paste a rectangle of ``1 - weight`` of the area, cut off at the border, from others into images;
    return them and the fraction of the area that is left.
    """
    height, width = images.shape[-2:]
    half_height, half_width = (round(length * (1 - weight) ** 0.5 / 2) for length in (height, width))
    row, column = int(rng.integers(height)), int(rng.integers(width))
    rows = slice(max(0, row - half_height), min(height, row + half_height))
    columns = slice(max(0, column - half_width), min(width, column + half_width))
    mixed = images.clone()
    mixed[..., rows, columns] = others[..., rows, columns]
    covered = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - covered / (height * width)
