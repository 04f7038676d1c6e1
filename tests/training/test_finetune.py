from __future__ import annotations

import pytest
import torch
from timm import layers
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.lora import add_lora
from deepfake_detect.training.finetune import (
    FINETUNE_MODES,
    freeze,
    is_norm,
    parse_finetune,
    recommend_finetune,
    set_modes,
    trained_parts,
)


@pytest.mark.parametrize("word", FINETUNE_MODES)
def test_each_word_stands_alone(word: str) -> None:
    assert parse_finetune(word) == (word,)


@pytest.mark.parametrize(
    ("finetune", "message"),
    [
        (
            "bottom",
            "finetune: 'bottom' is unknown; must be of features, top, full, scratch, norm, lora, svd, joined",
        ),
        ("top+top", "cannot be joined"),
        ("full+norm", "pass features, full, scratch alone"),
        ("", "finetune: '' is unknown"),
    ],
)
def test_words_that_make_no_sense_are_refused(finetune: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_finetune(finetune)


def test_a_network_without_norms_has_none_to_train() -> None:
    model = create_model("small_cnn", image_size=28)
    with pytest.raises(OptionError, match="norm has nothing to train in this backbone"):
        trained_parts(model, "norm", top_blocks=3)


def test_norms_are_known_by_their_type() -> None:
    norms = [nn.BatchNorm2d(2), nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.RMSNorm(2), nn.InstanceNorm2d(2)]
    norms += [layers.LayerNorm2d(2), layers.RmsNorm(2), layers.BatchNormAct2d(2), layers.EvoNorm2dS0(8)]
    assert all(is_norm(norm) for norm in norms)

    class NormalBlock(nn.Linear):
        """Called like one."""

    assert not any(is_norm(one) for one in (NormalBlock(2, 2), nn.Conv2d(2, 2, 1), nn.ReLU()))


@pytest.mark.parametrize("finetune", ["features", "top", "full", "norm", "lora", "lora+norm", "top+norm"])
def test_gradients_reach_what_is_named_and_nothing_else(finetune: str) -> None:
    torch.manual_seed(0)
    model = create_model("test_resnet")
    if "lora" in finetune:
        add_lora(model, rank=2)
    parts = trained_parts(model, finetune, top_blocks=1)
    freeze(model, parts)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    named = {id(parameter) for part in parts for parameter in part.parameters}
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in named), name
    assert len(named) == sum(len(part.parameters) for part in parts)  # each in one part alone
    if finetune == "full":
        assert len(named) == len(list(model.parameters()))


def test_frozen_layers_keep_their_statistics_and_drop_nothing() -> None:
    model = create_model("test_resnet", dropout=0.5)
    parts = trained_parts(model, "top", top_blocks=1)
    set_modes(model, parts, adapts=True)
    norms = {name: one.training for name, one in model.named_modules() if isinstance(one, nn.BatchNorm2d)}
    assert {name for name, is_training in norms.items() if is_training} == {
        name for name in norms if "layer4" in name
    }
    assert model.head.training
    set_modes(model, parts, adapts=False)
    assert not any(one.training for one in model.modules() if isinstance(one, nn.BatchNorm2d))
    assert model.head.training


def test_the_four_quadrants() -> None:
    answers = {
        (count, likeness): recommend_finetune(count, likeness)  # type: ignore[arg-type]
        for count in (100, 100_000)
        for likeness in ("similar", "different")
    }
    assert {key: one.finetune for key, one in answers.items()} == {
        (100, "similar"): "features",
        (100, "different"): "features",
        (100_000, "similar"): "full",
        (100_000, "different"): "full",
    }
    assert len({one.reason for one in answers.values()}) == 4
    with pytest.raises(OptionError, match="similarity: is 'alike'; must be similar or different"):
        recommend_finetune(10, "alike")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="num_samples: is 0"):
        recommend_finetune(0, "similar")
