"""What every backbone does, whatever it is made of."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.records import CropGeometry

# One of each family, small where the family has a small one, with an input size it can take.
BACKBONES = {
    "facenet": 96,
    "small_cnn": 28,
    "mesoinception4": 64,
    "vgg16": 32,
    "vgg19_bn": 32,
    "legacy_xception": 96,
    "mobilenetv2_050": 64,
    "efficientnet_b0": 64,
    "test_resnet": 64,
    "test_convnext": 64,
    "test_vit": 96,
}


@pytest.fixture(scope="module", params=BACKBONES)
def model(request: pytest.FixtureRequest) -> ForgeryClassifier:
    torch.manual_seed(0)
    return create_model(request.param, image_size=BACKBONES[request.param])


def images_for(model: ForgeryClassifier, count: int = 2) -> torch.Tensor:
    size = model.spec.preprocessing.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_one_logit_a_crop(model: ForgeryClassifier) -> None:
    logits = model.eval()(images_for(model, 3))
    assert logits.shape == (3,)
    assert logits.dtype == torch.float32
    size = model.spec.preprocessing.image_size
    height, width, channels = model.feature_shape(size, size)
    assert min(height, width, channels) >= 1


def test_gradients_reach_what_is_unfrozen_and_nothing_else(model: ForgeryClassifier) -> None:
    blocks = model.blocks()
    top = next(block for _, block in reversed(blocks) if any(True for _ in block.parameters()))
    for unfrozen in ([model.head], [model.head, top], [model]):
        model.zero_grad(set_to_none=True)
        model.requires_grad_(False)
        for part in unfrozen:
            part.requires_grad_(True)
        model.train()(images_for(model)).sum().backward()
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
    model.zero_grad(set_to_none=True)


def test_blocks_hold_every_parameter_once_from_input_to_output(model: ForgeryClassifier) -> None:
    blocks = model.blocks()
    names = [name for name, _ in blocks]
    assert len(set(names)) == len(names) >= 4
    held = [id(parameter) for _, block in blocks for parameter in block.parameters()]
    assert len(set(held)) == len(held)
    assert set(held) == {id(parameter) for parameter in model.encoder.parameters()}
    # Called in this order: the blocks' layers first run in the order of the blocks.
    order: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda *_, place=place: order.append(place))
        for place, (_, block) in enumerate(blocks)
        for layer in block.modules()
        if not list(layer.children())
    ]
    model.eval()(images_for(model))
    for hook in hooks:
        hook.remove()
    firsts = list(dict.fromkeys(order))
    assert firsts == sorted(firsts)


def test_a_saved_network_comes_back_bit_for_bit(model: ForgeryClassifier, tmp_path: Path) -> None:
    model.eval()
    save_detector(tmp_path / "d.safetensors", model, DetectorConfig("x", "1", model.spec, CropGeometry()))
    again, config = read_detector(tmp_path / "d.safetensors")
    assert config.model == model.spec
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    images = images_for(model)
    with torch.inference_mode():
        assert torch.equal(model(images), again(images))


def test_onnx_gives_the_same_logits(model: ForgeryClassifier, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model.eval()
    images, file = images_for(model), tmp_path / "d.onnx"
    with warnings.catch_warnings():
        # torch on its own exporter by tracing, which needs no package beside onnx
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (images,),
            file,
            dynamo=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
        )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    other = torch.randn(3, *images.shape[1:], generator=torch.Generator().manual_seed(2))
    (logits,) = session.run(None, {"images": other.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(logits, model(other).numpy(), atol=1e-4)
