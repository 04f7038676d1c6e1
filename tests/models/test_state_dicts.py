"""What stands next to the weights in a checkpoint is left out, and nothing is unpickled."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepfake_detect.errors import WeightsError
from deepfake_detect.models.state_dicts import read_state_dict

TENSORS = {"layer.weight": torch.ones(2, 3), "layer.bias": torch.zeros(2)}
OTHER = {"layer.weight": torch.full((2, 3), 7.0), "layer.bias": torch.zeros(2)}


def written(path: Path, content: object, **options: bool) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("name", ["state_dict", "model", "net", "model_state_dict", "params", "my_name"])
def test_a_wrapper_of_any_name_is_opened(tmp_path: Path, name: str) -> None:
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters()).state_dict()
    checkpoint = {name: TENSORS, "epoch": 3, "optimizer": optimizer}
    found = read_state_dict(written(tmp_path / "a.pth", checkpoint))
    assert found.tensors.keys() == TENSORS.keys()
    assert found.left_out == ("epoch", "optimizer")


def test_a_wrapper_within_a_wrapper_is_opened(tmp_path: Path) -> None:
    found = read_state_dict(written(tmp_path / "a.tar", {"model": {"state_dict": TENSORS, "step": 1}}))
    assert found.tensors.keys() == TENSORS.keys()
    assert found.left_out == ("step",)


def test_the_moving_average_is_taken_where_there_is_one(tmp_path: Path) -> None:
    found = read_state_dict(written(tmp_path / "a.ckpt", {"state_dict": OTHER, "state_dict_ema": TENSORS}))
    assert torch.equal(found.tensors["layer.weight"], TENSORS["layer.weight"])
    assert found.left_out == ("state_dict",)


def test_the_counter_of_an_averaged_model_is_left_out(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(nn.Linear(3, 2))
    found = read_state_dict(written(tmp_path / "a.pt", averaged.state_dict()))
    assert (set(found.tensors), found.left_out) == ({"module.weight", "module.bias"}, ("n_averaged",))


def test_parts_of_a_network_are_put_together(tmp_path: Path) -> None:
    found = read_state_dict(written(tmp_path / "a.pt", {"body": TENSORS, "head": OTHER, "epoch": 1}))
    assert set(found.tensors) == {f"{part}.{name}" for part in ("body", "head") for name in TENSORS}


def test_numbers_next_to_the_weights_are_left_out(tmp_path: Path) -> None:
    arguments = argparse.Namespace(learning_rate=0.1, folder=Path("runs"))
    best = {"auc": np.float64(0.5), "curve": np.zeros(3)}
    found = read_state_dict(written(tmp_path / "a.pth", {"model": TENSORS, "args": arguments, **best}))
    assert found.left_out == ("args", "auc", "curve")


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_whole_pickled_model_is_rejected_with_the_reason(tmp_path: Path, is_zip: bool) -> None:
    path = written(tmp_path / "a.p", nn.Linear(2, 2), _use_new_zipfile_serialization=is_zip)
    cause = r"is a whole pickled model \(torch.nn.modules.linear.Linear\), not its weights: .* run code"
    with pytest.raises(WeightsError, match=rf"{cause}.*save only the weights: torch.save\(model.state_dict"):
        read_state_dict(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_next_to_the_weights_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zip: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(
        tmp_path / "a.pth", {"model": TENSORS, "extra": Payload()}, _use_new_zipfile_serialization=is_zip
    )
    with pytest.raises(WeightsError, match="contains an object of posix.mkdir next to its weights"):
        read_state_dict(path)
    assert not (tmp_path / "executed").exists()


def test_what_holds_no_tensors_is_rejected(tmp_path: Path) -> None:
    for content in ({"epoch": 1}, [torch.ones(1)], torch.ones(2), {}):
        with pytest.raises(WeightsError, match="contains no state dict"):
            read_state_dict(written(tmp_path / "a.pth", content))
    (tmp_path / "b.pth").write_bytes(b"no pickle")
    with pytest.raises(WeightsError, match="cannot be read as torch weights .*; download it again"):
        read_state_dict(tmp_path / "b.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_torchscript_program_is_rejected(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="is a TorchScript program; opening it would run its code"):
        read_state_dict(tmp_path / "a.pt")
