from __future__ import annotations

import pytest
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.models.shapes import feature_map, feature_shape, smallest_size


@pytest.fixture(scope="module")
def vgg16() -> ForgeryClassifier:
    return create_model("vgg16")


def test_published_shapes_of_vgg16(vgg16: ForgeryClassifier) -> None:
    assert vgg16.feature_shape(224, 224) == (7, 7, 512)
    assert vgg16.feature_shape(100, 200) == (3, 6, 512)
    assert vgg16.feature_shape(32, 32) == (1, 1, 512)


def test_too_few_pixels_name_the_smallest_size(vgg16: ForgeryClassifier) -> None:
    for height, width in ((31, 100), (100, 31), (0, 50)):
        message = f"cannot process {height} x {width} pixels .*; the smallest workable size is 32"
        with pytest.raises(OptionError, match=message):
            vgg16.feature_shape(height, width)


@pytest.mark.parametrize(
    ("backbone", "height", "width"),
    [
        ("mobilenetv2_050", 64, 96),
        ("test_convnext", 64, 96),
        ("test_vit", 64, 96),
        ("legacy_xception", 96, 64),
        ("swin_tiny_patch4_window7_224", 224, 224),
    ],
)
def test_shapes_without_numbers_are_those_of_a_real_run(backbone: str, height: int, width: int) -> None:
    model = create_model(backbone).eval()
    with torch.inference_mode():
        maps = feature_map(model.encoder, torch.zeros(1, 3, height, width))
    assert model.feature_shape(height, width) == (maps.shape[2], maps.shape[3], maps.shape[1])


def test_the_tokens_of_a_transformer_are_its_patches() -> None:
    assert create_model("test_vit").feature_shape(160, 160) == (10, 10, 64)  # 160 = 10 x 16


def test_no_size_may_work() -> None:
    def refuse(_: int) -> None:
        raise ValueError

    assert smallest_size(refuse) is None
    network = nn.Flatten()
    with pytest.raises(OptionError, match="backbone: Flatten has no method forward_features"):
        feature_shape(network, height=30, width=30, in_chans=3)
    network.forward_features = refuse  # type: ignore[assignment]
    with pytest.raises(OptionError, match="cannot process 30 x 30 pixels .*; pass another size"):
        feature_shape(network, height=30, width=30, in_chans=3)


def test_several_last_maps_are_refused() -> None:
    with pytest.raises(OptionError, match="backbone: has several last feature maps"):
        create_model("crossvit_9_240").feature_shape(240, 240)
