from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.losses import class_weight, focal_loss, forgery_loss, mix_batch


def config(**changes: object) -> TrainingConfig:
    return TrainingConfig(manifest="m", out="o", backbone="b", **changes)  # type: ignore[arg-type]


LOGITS = torch.tensor([-2.0, 0.5, 3.0, -0.1])
LABELS = torch.tensor([0.0, 1.0, 1.0, 0.0])


def slow_loss(smoothing: float = 0.0, gamma: float = 0.0, fake_weight: float = 1.0) -> float:
    """The mean in plain arithmetic."""
    total, weights = 0.0, 0.0
    for logit, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        target = label * (1 - smoothing) + smoothing / 2
        p = 1 / (1 + math.exp(-logit))
        entropy = -(target * math.log(p) + (1 - target) * math.log(1 - p))
        truth = p * target + (1 - p) * (1 - target)
        weight = fake_weight if label else 1.0
        total += weight * entropy * (1 - truth) ** gamma
        weights += weight
    return total / weights


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, slow_loss()),
        ({"label_smoothing": 0.1}, slow_loss(smoothing=0.1)),
        ({"loss": focal_loss}, slow_loss(gamma=2.0)),
        ({"loss": partial(focal_loss, gamma=0.0)}, slow_loss()),
        ({"fake_weight": 0.25, "label_smoothing": 0.1}, slow_loss(smoothing=0.1, fake_weight=0.25)),
    ],
)
def test_losses_are_those_of_plain_arithmetic(options: dict[str, object], expected: float) -> None:
    assert float(forgery_loss(LOGITS, LABELS, **{"label_smoothing": 0, **options})) == pytest.approx(
        expected, rel=1e-5
    )  # type: ignore[arg-type]


def test_the_loss_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import log_loss

    assert float(forgery_loss(LOGITS, LABELS, label_smoothing=0)) == pytest.approx(
        log_loss(LABELS, LOGITS.sigmoid()), rel=1e-5
    )


def test_class_weights_make_classes_count_alike() -> None:
    labels = np.array([0, 1, 1, 1, 0, 1, 1, 1])
    weights = np.where(labels == 1, class_weight(labels), 1.0)
    assert weights[labels == 1].sum() == pytest.approx(weights[labels == 0].sum())


def test_nothing_is_mixed_unless_asked() -> None:
    images, targets = torch.rand(4, 3, 8, 8), LABELS
    mixed, same = mix_batch(images, targets, config(), np.random.default_rng(0))
    assert mixed is images
    assert same is targets


def test_mixup_blends_crops_and_labels_in_the_same_share() -> None:
    images = LABELS[:, None, None, None].expand(4, 3, 8, 8).clone()
    mixed, targets = mix_batch(images, LABELS, config(mixup=0.4), np.random.default_rng(3))
    torch.testing.assert_close(mixed.mean((1, 2, 3)), targets)
    assert bool(((targets > 0) & (targets < 1)).any())


def test_cutmix_labels_are_the_shares_of_the_area() -> None:
    images = LABELS[:, None, None, None].expand(4, 3, 40, 40).clone()
    shares = set()
    for seed in range(20):
        mixed, targets = mix_batch(images, LABELS, config(cutmix=1.0), np.random.default_rng(seed))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets)
        assert set(mixed.unique().tolist()) <= {0.0, 1.0}
        shares.update(targets.tolist())
    assert len(shares) > 10


def test_with_both_each_batch_has_one_of_them() -> None:
    images = LABELS[:, None, None, None].expand(4, 3, 40, 40).clone()
    is_blended = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mixed, _ = mix_batch(images, LABELS, config(mixup=1.0, cutmix=1.0), rng)
        is_blended.append(bool(((mixed > 0) & (mixed < 1)).any()))
    assert {True, False} == set(is_blended)
