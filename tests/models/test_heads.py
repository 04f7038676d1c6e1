from __future__ import annotations

import pytest
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.heads import HEADS, head_dropout, make_head


@pytest.mark.parametrize("pooling", ["avg", "flatten"])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_stands_on_every_pooling(head: str, pooling: str) -> None:
    model = create_model("test_resnet", head=head, pooling=pooling, image_size=64)  # type: ignore[arg-type]
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_vgg_head_is_4096_4096_1() -> None:
    head = make_head("vgg", 512, 1, dropout=0.5)
    widths = [(layer.in_features, layer.out_features) for layer in head if isinstance(layer, nn.Linear)]
    assert widths == [(512, 4096), (4096, 4096), (4096, 1)]
    assert sum(isinstance(layer, nn.ReLU) for layer in head) == 2
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_the_default_head_keeps_its_stored_names() -> None:
    assert set(create_model("test_resnet").head.state_dict()) == {"1.weight", "1.bias"}


def test_dropout_is_what_is_asked_then_what_is_published() -> None:
    assert head_dropout("dropout", 0.2, 0.5) == 0.2
    assert head_dropout("dropout", 0.0, 0.5) == 0.0
    assert head_dropout("dropout", None, 0.5) == 0.5
    assert head_dropout("vgg", None, 0.0) == 0.5
    assert head_dropout("linear", None, 0.5) == 0.0
    with pytest.raises(OptionError, match="dropout: the linear head has none; choose the `head` dropout"):
        head_dropout("linear", 0.1, 0.0)
