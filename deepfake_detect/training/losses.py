"""What a step minimizes: the loss, class weights, and mixtures of crops."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from deepfake_detect.records import FAKE
from deepfake_detect.training.config import Loss, TrainingConfig


def forgery_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    loss: Loss = "bce",
    focal_gamma: float = 2.0,
    label_smoothing: float = 0.0,
    fake_weight: float = 1.0,
) -> torch.Tensor:
    """Return the mean loss of a batch.

    Args:
        logits: float32 (N,), a positive one says fake.
        targets: float32 (N,), 1 = fake; between 0 and 1 for mixtures.
        loss: ``bce``, or ``focal`` (Lin et al. 2017, arXiv:1708.02002): cross-entropy times
            ``(1 - p) ** focal_gamma``, p being the probability given to the truth.
        focal_gamma: 0 makes it cross-entropy.
        label_smoothing: Share of each target that is moved towards 0.5.
        fake_weight: Weight of a fake where a real has 1; the mean is that of the weighted losses.

    Returns:
        float32 (), in nats.

    Example:
        >>> float(forgery_loss(torch.zeros(2), torch.tensor([0.0, 1.0]))).__round__(4)
        0.6931
    """
    smooth = targets * (1 - label_smoothing) + 0.5 * label_smoothing
    losses = nn.functional.binary_cross_entropy_with_logits(logits, smooth, reduction="none")  # (N,)
    if loss == "focal":
        probabilities = logits.sigmoid()
        given_to_truth = probabilities * smooth + (1 - probabilities) * (1 - smooth)
        losses = losses * (1 - given_to_truth) ** focal_gamma
    weights = 1 + (fake_weight - 1) * targets
    return (losses * weights).sum() / weights.sum()


def loss_from_config(
    config: TrainingConfig, logits: torch.Tensor, targets: torch.Tensor, *, fake_weight: float
) -> torch.Tensor:
    """Return :func:`forgery_loss` as a configuration asks for it."""
    return forgery_loss(
        logits,
        targets,
        loss=config.loss,
        focal_gamma=config.focal_gamma,
        label_smoothing=config.label_smoothing,
        fake_weight=fake_weight,
    )


def distillation_loss(logits: torch.Tensor, taught: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Return the mean cross-entropy of a student against its teachers, both softened.

    Args:
        logits: float32 (N,), the student's.
        taught: float32 (N,), the teachers'.
        temperature: Divides both, above 0; its square multiplies the loss, so that gradients keep their
            size (Hinton et al. 2015, arXiv:1503.02531).

    Returns:
        float32 (), in nats. Its least value, reached where both agree, is not 0 but the teachers' doubt.

    Example:
        >>> float(distillation_loss(torch.zeros(2), torch.zeros(2), temperature=2.0)).__round__(4)
        2.7726
    """
    softened = (taught / temperature).sigmoid()
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits / temperature, softened)
    return cross_entropy * temperature**2


def class_weight(labels: np.ndarray) -> float:
    """Return the weight of a fake that makes both classes count alike: reals over fakes.

    Example:
        >>> class_weight(np.array([0, 1, 1, 1]))
        0.3333333333333333
    """
    num_fakes = int((labels == FAKE).sum())
    return (len(labels) - num_fakes) / num_fakes


def mix_batch(
    images: torch.Tensor, targets: torch.Tensor, config: TrainingConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each crop of a batch with another of it, as the configuration says.

    mixup (arXiv:1710.09412) blends whole crops, CutMix (arXiv:1905.04899) puts a rectangle of one
    into another; with both, each batch has one of them.

    Args:
        images: float32 (N, C, H, W).
        targets: float32 (N,).
        config: Its ``mixup`` and ``cutmix``; with neither the batch comes back as it is.
        rng: Chooses partners, shares and places.

    Returns:
        Images and targets of the same shapes.
    """
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(config, kind)]
    if not kinds or len(images) < 2:
        return images, targets
    kind = kinds[int(rng.integers(len(kinds)))]
    share = float(rng.beta(getattr(config, kind), getattr(config, kind)))
    partners = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    if kind == "mixup":
        mixed = images * share + images[partners] * (1 - share)
    else:
        mixed, share = _with_rectangle(images, images[partners], share, rng)
    return mixed, targets * share + targets[partners] * (1 - share)


def _with_rectangle(
    images: torch.Tensor, others: torch.Tensor, share: float, rng: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Put a rectangle of ``1 - share`` of the area, where it fits, from others into images; return
    them and the share that is left."""
    height, width = images.shape[-2:]
    half_height, half_width = (round(length * (1 - share) ** 0.5 / 2) for length in (height, width))
    row, column = int(rng.integers(height)), int(rng.integers(width))
    rows = slice(max(0, row - half_height), min(height, row + half_height))
    columns = slice(max(0, column - half_width), min(width, column + half_width))
    mixed = images.clone()
    mixed[..., rows, columns] = others[..., rows, columns]
    covered = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - covered / (height * width)
