from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import create_model
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.sphere import SphereLoss, alignment_loss, uniformity_loss

FEATURES = nn.functional.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), dim=1)
LABELS = torch.tensor([0, 1, 0, 1, 1, 0, 1])


def test_losses_are_those_of_plain_arithmetic() -> None:
    same, potentials = [], []
    for first in range(7):
        for second in range(first + 1, 7):
            distance = float((FEATURES[first] - FEATURES[second]).square().sum())
            potentials.append(math.exp(-2 * distance))
            if LABELS[first] == LABELS[second]:
                same.append(distance)
    assert float(alignment_loss(FEATURES, LABELS)) == pytest.approx(sum(same) / len(same), rel=1e-5)
    expected = math.log(sum(potentials) / len(potentials))
    assert float(uniformity_loss(FEATURES)) == pytest.approx(expected, rel=1e-5)


def test_batches_without_a_pair_have_no_loss() -> None:
    assert float(alignment_loss(FEATURES[:2], torch.tensor([0, 1]))) == 0
    assert float(uniformity_loss(FEATURES[:1])) == 0


def test_it_sees_what_the_head_sees_and_reaches_the_encoder() -> None:
    model = create_model("test_resnet", head="l2", image_size=32)
    loss = SphereLoss(model.head, alignment=0.1, uniformity=0.5)
    images, targets = torch.randn(4, 3, 32, 32), torch.tensor([0.0, 1.0, 0.02, 0.98])
    model.eval()(images)
    found = loss.of_batch(targets)
    features = nn.functional.normalize(model.features(images), dim=1)
    expected = 0.1 * alignment_loss(features, targets > 0.5) + 0.5 * uniformity_loss(features)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert all(one.grad is not None for one in model.encoder.parameters())
    assert all(one.grad is None for one in model.head.parameters())


def test_options_that_contradict_it() -> None:
    def config(**changes: object) -> TrainingConfig:
        return TrainingConfig(manifest="m", out="o", backbone="b", **changes)  # type: ignore[arg-type]

    with pytest.raises(OptionError, match="alignment: compares crops of one class; omit `mixup` and"):
        config(alignment=0.1, mixup=0.2)
    with pytest.raises(OptionError, match="stem: is for single crops; omit `stem` or `temporal`"):
        config(stem="srm", temporal="lstm", balance="none")
    with pytest.raises(OptionError, match="finetune: 'lora.svd' cannot be joined; .* one of lora and svd"):
        config(finetune="lora+svd")
