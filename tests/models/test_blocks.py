from __future__ import annotations

import pytest
import torch

from deepfake_detect.models.classifier import create_model


def test_vggs_blocks_are_keras_layers() -> None:
    """Keras counts the input as layer 0; the recipe of two stages unfreezes from layer 15 on."""
    with torch.device("meta"):
        names = [name for name, _ in create_model("vgg19").blocks()]
        with_norms = create_model("vgg19_bn").blocks()
    assert len(names) == 21  # 16 convolutions and 5 poolings
    assert names[15 - 1] == "block4_conv4"
    assert names[:3] == ["block1_conv1", "block1_conv2", "block1_pool"]
    assert names[-1] == "block5_pool"
    assert [name for name, _ in with_norms] == names
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in with_norms[0][1].modules()) == 1


def test_the_blocks_of_networks_are_their_own() -> None:
    with torch.device("meta"):
        names = {
            name: [block for block, _ in create_model(name).blocks()]
            for name in ("facenet", "mobilenetv2_100", "test_vit")
        }
    assert names["facenet"][0] == "conv2d_1a"
    assert names["facenet"][-2:] == ["last_linear", "last_bn"]
    assert {"repeat_2.0", "repeat_2.9"} <= set(names["facenet"])
    assert names["mobilenetv2_100"][0] == "conv_stem"
    assert names["test_vit"] == ["patch_embed", *(f"blocks.{number}" for number in range(6))]


@pytest.mark.parametrize("backbone", ["dla46_c", "pit_ti_224", "swin_tiny_patch4_window7_224"])
def test_blocks_that_interleave_lose_nothing(backbone: str) -> None:
    with torch.device("meta"):
        model = create_model(backbone)
    held = [id(parameter) for _, block in model.blocks() for parameter in block.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in model.encoder.parameters()}


def test_a_block_of_several_layers_passes_its_mode_on() -> None:
    model = create_model("test_resnet").eval()
    (name, stem), *_ = model.blocks()
    stem.train()
    assert name == "conv1"
    assert model.encoder.bn1.training
    assert not model.encoder.layer1.training


def test_loose_parameters_belong_to_the_stem() -> None:
    model = create_model("test_vit")
    held = {id(parameter) for parameter in model.blocks()[0][1].parameters()}
    assert {id(model.encoder.cls_token), id(model.encoder.pos_embed)} <= held
