from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.lora import merge_updates
from deepfake_detect.models.svd import SVDUpdate, add_svd

IMAGES = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet"])
def test_only_the_weakest_directions_change(backbone: str) -> None:
    torch.manual_seed(0)
    model = create_model(backbone, image_size=96).eval()
    plain, before = copy.deepcopy(model.state_dict()), model(IMAGES).detach()
    add_svd(model, rank=2)
    torch.testing.assert_close(model(IMAGES), before, atol=1e-5, rtol=1e-4)
    updates = [one for one in model.encoder.modules() if isinstance(one, SVDUpdate)]
    trained = {id(p) for p in model.encoder.parameters() if p.requires_grad}
    assert trained == {id(p) for one in updates for p in one.parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(IMAGES).sum().backward()
    optimizer.step()
    learned = model(IMAGES).detach()
    assert not torch.allclose(learned, before)
    merge_updates(model)
    torch.testing.assert_close(model(IMAGES), learned, atol=1e-5, rtol=1e-4)
    changed = {n: one for n, one in model.encoder.state_dict().items() if "weight" in n and one.ndim > 1}
    assert set(model.state_dict()) == set(plain)
    differing = [n for n, one in changed.items() if not torch.allclose(one, plain[f"encoder.{n}"], atol=1e-5)]
    assert differing
    assert backbone != "test_vit" or all(".attn." in name for name in differing)
    for name in differing:
        # What was added and taken away lies in a space of twice the rank.
        step = (changed[name] - plain[f"encoder.{name}"]).flatten(1).double()
        values = torch.linalg.svdvals(step)
        assert float(values[4:].max() if len(values) > 4 else 0.0) < 1e-4 * float(values[0])


def test_the_strong_directions_are_the_layers_own() -> None:
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    update = SVDUpdate(weight, rank=1)
    principal = weight - update.residual(weight.shape)
    values = torch.linalg.svdvals(weight)
    torch.testing.assert_close(torch.linalg.svdvals(principal.detach())[:3], values[:3])
    torch.testing.assert_close(update.strength.detach(), values[3:])
    torch.testing.assert_close(update(principal), weight)


def test_what_cannot_be_split_is_named() -> None:
    model = create_model("test_vit")
    with pytest.raises(OptionError, match="rank: is 0; must be 1 or more"):
        add_svd(model, rank=0)
    with pytest.raises(OptionError, match="model: has no layer of more than 9999 directions"):
        add_svd(model, rank=9999)
    add_svd(model)
    with pytest.raises(OptionError, match="model: has updates already; call merge_updates first"):
        add_svd(model)
    merge_updates(model)
    model.encoder = nn.Flatten()
    with pytest.raises(OptionError, match="model: has no layer of more than 1 directions"):
        add_svd(model)
