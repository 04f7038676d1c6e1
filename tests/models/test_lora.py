from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.models.lora import LoRAUpdate, add_lora, merge_updates
from deepfake_detect.records import CropGeometry

IMAGES = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


def logits(model: ForgeryClassifier) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(IMAGES)


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet", "facenet"])
def test_it_changes_nothing_at_first_learns_and_merges(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model(backbone, image_size=96)
    names, before = set(model.state_dict()), logits(model)
    add_lora(model, rank=2)
    assert torch.equal(logits(model), before)
    frozen = copy.deepcopy({n: p for n, p in model.encoder.named_parameters() if not p.requires_grad})
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model.eval()(IMAGES).sum().backward()
        optimizer.step()
    for name, parameter in frozen.items():
        assert torch.equal(model.encoder.get_parameter(name), parameter), name
    learned = logits(model)
    assert not torch.allclose(learned, before)
    merged = copy.deepcopy(model)
    merge_updates(merged)
    assert set(merged.state_dict()) == names
    torch.testing.assert_close(logits(merged), learned, atol=1e-5, rtol=1e-5)
    save_detector(tmp_path / "d", merged, DetectorConfig("x", "1", merged.spec, CropGeometry()))
    assert torch.equal(logits(read_detector(tmp_path / "d")[0]), logits(merged))
    assert torch.equal(logits(model), learned)  # merging a copy leaves the network in training as it is


def test_only_its_matrices_and_the_head_are_trained() -> None:
    model = create_model("mobilenetv2_050")
    add_lora(model, rank=4)
    updates = [layer for layer in model.encoder.modules() if isinstance(layer, LoRAUpdate)]
    trained = {id(p) for p in model.encoder.parameters() if p.requires_grad}
    assert trained == {id(p) for update in updates for p in update.parameters()}
    assert all(p.requires_grad for p in model.head.parameters())
    convolutions = [layer for layer in model.encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert len(updates) == sum(layer.groups == 1 for layer in convolutions) < len(convolutions)
    held = [id(p) for _, block in model.blocks() for p in block.parameters()]
    assert sorted(held) == sorted(id(p) for p in model.encoder.parameters())


def test_its_update_is_the_product_of_its_matrices() -> None:
    weight = torch.zeros(4, 3, 2, 2)
    update = LoRAUpdate(weight, rank=2, alpha=6)
    with torch.no_grad():
        update.up.normal_()
    expected = torch.einsum("or,ri->oi", update.up, update.down).reshape(4, 3, 2, 2) * 3
    torch.testing.assert_close(update(weight), expected)


def test_what_cannot_be_is_refused() -> None:
    model = create_model("test_vit")
    with pytest.raises(OptionError, match="rank: is 0; must be 1 or more"):
        add_lora(model, rank=0)
    with pytest.raises(OptionError, match="alpha: is 0; must be above 0"):
        add_lora(model, alpha=0)
    add_lora(model)
    with pytest.raises(OptionError, match="model: has LoRA already; call merge_updates first"):
        add_lora(model)
    merge_updates(model)
    merge_updates(model)  # nothing is left to merge
    model.encoder = nn.Flatten()
    with pytest.raises(OptionError, match="model: has no layer that could have LoRA"):
        add_lora(model)
