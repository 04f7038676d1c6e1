from __future__ import annotations

import pytest
import torch

from deepfake_detect.errors import OptionError
from deepfake_detect.models.backbones import BACKBONES, OWN_BACKBONES
from deepfake_detect.models.classifier import ForgeryClassifier, create_model


def num_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_small_cnn_has_its_parameters_layer_by_layer() -> None:
    model = create_model("small_cnn", num_classes=10, in_chans=1, image_size=28)
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    assert [num_parameters(layer) for layer in layers] == [320, 9_248, 4_624, 247_936, 1_290]
    assert num_parameters(model) == 263_418
    assert num_parameters(create_model("small_cnn", in_chans=1)) == 263_418 - 1_290 + 129


def test_the_small_cnn_takes_its_studies_options() -> None:
    options = {"hidden": 512, "batch_norm": True, "map_dropout": 0.0}
    model = create_model("small_cnn", num_classes=10, image_size=32, backbone_options=options, dropout=0.0)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert model.head[1].in_features == 512
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules()) == 3
    assert {layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)} == {0.0}
    pooled = create_model("small_cnn", pooling="avg", in_chans=1).eval()
    assert pooled(torch.zeros(1, 1, 40, 30)).shape == (1,)


def test_mesoinception_has_the_papers_parameters() -> None:
    assert num_parameters(create_model("mesoinception4")) == 28_615


def test_mesoinceptions_dilated_branches_see_further() -> None:
    """A 3x3 kernel of dilation d reaches d pixels to each side."""
    first = create_model("mesoinception4").encoder.layers[0]
    for branch, reach in zip(first.branches, (0, 1, 2, 3), strict=True):
        image = torch.zeros(1, 3, 15, 15, requires_grad=True)
        with torch.no_grad():
            for parameter in branch.parameters():
                parameter.fill_(0.1)
        branch(image)[0, :, 7, 7].sum().backward()
        seen = image.grad[0, 0].nonzero()
        assert (seen.min().item(), seen.max().item()) == (7 - reach, 7 + reach)


@pytest.mark.parametrize("backbone", OWN_BACKBONES)
def test_the_smallest_input_is_really_the_smallest(backbone: str) -> None:
    smallest = BACKBONES[backbone].smallest
    pooled = create_model(backbone, pooling="avg").eval()
    assert works(pooled, smallest)
    assert not works(pooled, smallest - 1)
    with pytest.raises(OptionError, match=f"cannot process {smallest - 1} x 99 .*size is {smallest}"):
        pooled.feature_shape(smallest - 1, 99)


def works(model: ForgeryClassifier, size: int) -> bool:
    try:
        model.encoder(torch.zeros(2, 3, size, size))
    except RuntimeError:
        return False
    return True
