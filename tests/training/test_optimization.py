from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.finetune import Part
from deepfake_detect.training.optimization import (
    SharpnessAware,
    averaged,
    lr_factor,
    make_optimizer,
    num_unfrozen,
    plateau_factor,
)


def test_one_cycle_is_torchs_own() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=101)
    for step in range(101):
        ours = lr_factor("one-cycle", step / 100)
        # torch's warm-up ends a step earlier: its peak is at 0.3 * 101 - 1.
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=0.06)
        optimizer.step()
        if step < 100:
            torchs.step()
    assert lr_factor("one-cycle", 0.0) == pytest.approx(1 / 25)
    assert lr_factor("one-cycle", 0.3) == pytest.approx(1.0)
    assert lr_factor("one-cycle", 1.0) == pytest.approx(1e-4)


def test_the_cosine_rises_for_a_tenth_and_falls_to_nothing() -> None:
    shares = [lr_factor("cosine", position) for position in np.linspace(0, 1, 101)]
    assert shares.index(max(shares)) == 10
    assert shares[-1] == pytest.approx(0.0)
    assert all(one > other for one, other in zip(shares[10:], shares[11:], strict=False))


def test_other_schedules_stay_where_they_are() -> None:
    assert {lr_factor("constant", position) for position in (0, 0.5, 1)} == {1.0}


def test_a_plateau_is_counted_from_the_best() -> None:
    assert plateau_factor([]) == 1.0
    assert plateau_factor([0.5, 0.6, 0.7]) == 1.0
    assert plateau_factor([0.7, 0.6, 0.8, 0.7]) == 1.0
    assert plateau_factor([0.7, 0.7, 0.7]) == pytest.approx(1 / 3)


def test_blocks_join_in_from_the_top() -> None:
    counts = [num_unfrozen(6, epochs, 2.0) for epochs in np.linspace(0, 3, 31)]
    assert counts[0] == 2
    assert counts[20:] == [6] * 11
    assert counts == sorted(counts)
    assert num_unfrozen(6, 0.0, 0.0) == 6
    assert num_unfrozen(1, 0.0, 2.0) == 1


def parts(model: nn.Sequential) -> list[Part]:
    head, top, bottom = model[2], model[1], model[0]
    return [
        Part("head", head, tuple(head.parameters()), is_head=True),
        Part("top", top, tuple(top.parameters()), 0),
        Part("bottom", bottom, tuple(bottom.parameters()), 1),
    ]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adadelta"])
def test_each_optimizer_lowers_a_loss(name: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 1))
    config = TrainingConfig(
        manifest="m",
        out=Path("o"),
        backbone="b",
        optimizer=name,
        weight_decay=0.0,
    )
    optimizer = make_optimizer(parts(model), config)
    inputs, wanted = torch.randn(32, 4), torch.randn(32, 1)
    losses = []
    for _ in range(60):
        for group in optimizer.param_groups:
            group["lr"] = 1.0 if name == "adadelta" else 1e-2
        loss = nn.functional.mse_loss(model(inputs), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("name", "torchs"),
    [
        ("adamw", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", partial(torch.optim.SGD, momentum=0.9)),
        ("adadelta", torch.optim.Adadelta),
    ],
)
def test_each_optimizer_steps_like_torchs_own(name: Any, torchs: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 1))
    twin, inputs = copy.deepcopy(model), torch.randn(32, 4)
    config = TrainingConfig(manifest="m", out=Path("o"), backbone="b", optimizer=name, weight_decay=0.05)
    ours, slow = make_optimizer(parts(model), config), torchs(twin.parameters(), lr=0.01, weight_decay=0.05)
    for _ in range(5):
        for group in ours.param_groups:
            group["lr"] = 0.01
        for network, optimizer in ((model, ours), (twin, slow)):
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_lower_blocks_learn_more_slowly_where_asked() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 1))
    config = TrainingConfig(
        manifest="m",
        out=Path("o"),
        backbone="b",
        learning_rate=0.1,
        head_learning_rate=0.3,
        layer_decay=0.5,
    )
    rates = [group["peak_lr"] for group in make_optimizer(parts(model), config).param_groups]
    assert rates == pytest.approx([0.3, 0.1, 0.05])


def test_the_average_follows_slowly_and_copies_statistics() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = averaged(model, 0.9)
    start = model[0].weight.detach().clone()
    slow = start.clone()
    for step in range(30):
        with torch.no_grad():
            model[0].weight.add_(1.0)
            model[1].running_mean.fill_(float(step))
        average.update_parameters(model)
        decay = 0.0 if step == 0 else min(0.9, (1 + step) / (10 + step))
        slow = slow * decay + model[0].weight.detach() * (1 - decay)
    torch.testing.assert_close(average.module[0].weight.detach(), slow)
    assert average.module[1].running_mean.tolist() == [29.0, 29.0]


def test_sharpness_is_felt_at_the_worst_point_nearby() -> None:
    model = nn.Linear(3, 1)
    before = copy.deepcopy(model.state_dict())
    inputs, wanted = torch.randn(16, 3), torch.randn(16, 1)

    def loss() -> torch.Tensor:
        return nn.functional.mse_loss(model(inputs), wanted)

    first = loss()
    first.backward()  # type: ignore[no-untyped-call]
    plain = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    climber = SharpnessAware(model.parameters(), 0.5)
    climber.first_step()
    moved = torch.cat([(p.detach() - before[n]).flatten() for n, p in model.named_parameters()])
    assert float(moved.norm()) == pytest.approx(0.5, rel=1e-4)
    second = loss()
    assert float(second.detach()) > float(first.detach())
    second.backward()  # type: ignore[no-untyped-call]
    climber.second_step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name])
    assert any(
        not torch.allclose(parameter.grad, old)
        for parameter, old in zip(model.parameters(), plain, strict=True)
        if parameter.grad is not None
    )
