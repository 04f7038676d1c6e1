from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.lab.filters import (
    activation_grid,
    activations,
    filter_grid,
    first_layer_filters,
)
from deepfake_detect.lab.networks import epoch_files, read_classifier_network, read_detector_network
from deepfake_detect.lab.options import FilterOptions
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.models.tensor_file import save_tensors
from deepfake_detect.options import options_from_mapping
from deepfake_detect.records import Preprocessing
from deepfake_detect.training.kept_epochs import epoch_file


def digit_network(seed: int = 0) -> ForgeryClassifier:
    torch.manual_seed(seed)
    return create_model("small_cnn", num_classes=10, in_chans=1, image_size=28)


def write_run(folder: Path) -> dict[int, ForgeryClassifier]:
    """Write the files of a train-classifier run with --save-epochs 0,2."""
    networks = {epoch: digit_network(epoch) for epoch in (0, 2)}
    for epoch, network in networks.items():
        save_tensors(epoch_file(folder, epoch), network.state_dict(), {})
    save_tensors(folder / "classifier.safetensors", networks[2].state_dict(), {})
    facts = {"backbone": "small_cnn", "class_names": [str(one) for one in range(10)], "image_size": 28}
    (folder / "run.json").write_text(json.dumps(facts))
    return networks


def test_filters_are_the_weights_around_mid_gray() -> None:
    model = digit_network()
    first = model.encoder.layers[0][0]  # type: ignore[union-attr, index]
    with torch.no_grad():
        first.weight[0] = torch.tensor([[[2.0, 0, 0], [0, -2, 0], [0, 1, 0]]])
        first.weight[1] = 0
    filters = first_layer_filters(model)
    assert filters.shape == (32, 3, 3, 1)
    assert filters[0, ..., 0].tolist() == [[1, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.75, 0.5]]
    assert (filters[1] == 0.5).all()
    grid = filter_grid(filters)
    assert grid.shape[2] == 3
    assert grid[5, 5].tolist() == [255, 255, 255]
    assert filter_grid(first_layer_filters(create_model("test_vit"))).ndim == 3


def test_networks_without_such_filters_are_rejected() -> None:
    spec = ModelSpec("flat", Preprocessing(2, (0.5,) * 3, (0.5,) * 3))  # type: ignore[arg-type]
    flat = ForgeryClassifier(spec, nn.Sequential(nn.Flatten(), nn.Linear(12, 4)))
    with pytest.raises(OptionError, match="its first layer is no convolution"):
        first_layer_filters(flat)
    with pytest.raises(OptionError, match="one of 2 channels; pass one that takes gray or RGB"):
        first_layer_filters(create_model("small_cnn", in_chans=2))


def test_activations_are_the_layers_output() -> None:
    model = digit_network().train()
    image = torch.rand(1, 28, 28)
    found = activations(model, image, "layers.0")
    with torch.no_grad():
        wanted = model.encoder.layers[0](image[None])[0]  # type: ignore[union-attr, index]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.shape == (32, 26, 26)
    assert model.training
    # The next layer changes its output in place.
    inner = activations(create_model("vgg16"), torch.randn(3, 32, 32), "features.0")
    assert inner.min() < 0
    assert activations(create_model("test_vit"), torch.randn(3, 160, 160), "blocks.0").shape == (64, 10, 10)


def test_activations_of_unknown_layers_are_rejected() -> None:
    model = digit_network()
    with pytest.raises(
        OptionError, match="small_cnn has none named 'conv1'; must be one of layers.0, layers.1"
    ):
        activations(model, torch.zeros(1, 28, 28), "conv1")
    with pytest.raises(OptionError, match=r"has the shape \(3, 28, 28\); must be \(1, H, W\)"):
        activations(model, torch.zeros(3, 28, 28), "layers.0")
    with pytest.raises(OptionError, match="returns 128 values per image, not a map; choose one with a map"):
        activations(model, torch.zeros(1, 28, 28), "project")


def test_a_grid_shows_each_map_in_its_own_range() -> None:
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 0, 0], maps[1, 0, 0] = 1.0, 100.0
    grid = activation_grid(maps)
    first, second = grid[6, 6], grid[6, 66]
    np.testing.assert_array_equal(first, second)
    assert grid[6, 6].sum() > grid[30, 30].sum()
    np.testing.assert_array_equal(grid[66, 6], grid[30, 30])  # without contrast: dark
    assert activation_grid(np.zeros((100, 4, 4), np.float32), max_maps=4).shape == (124, 124, 3)


def test_networks_of_runs_are_read(tmp_path: Path, portrait: np.ndarray) -> None:
    networks = write_run(tmp_path / "run")
    last = read_classifier_network(tmp_path / "run")
    files = epoch_files(tmp_path / "run", (2, 0))
    assert [read_classifier_network(file).name for file in files] == ["run epoch-0000", "run epoch-0002"]
    for file, epoch in zip(files, (0, 2), strict=True):
        found = read_classifier_network(file).model.state_dict()
        assert all(torch.equal(tensor, found[name]) for name, tensor in networks[epoch].state_dict().items())
    gray = last.input_of(portrait)
    assert gray.shape == (1, 28, 28)
    assert 0 <= gray.min() < 0.2
    assert 0.8 < gray.max() <= 1
    with pytest.raises(CheckpointError, match=r"epoch 1 was not kept \(kept: 0, 2\); choose one of those"):
        epoch_files(tmp_path / "run", (0, 1))
    with pytest.raises(OptionError, match="epochs: is '0,x'; must be 0 or more"):
        options_from_mapping(FilterOptions, {"classifier": ["run"], "epochs": "0,x"}, source="test")


def test_damaged_runs_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no classifier.safetensors with a run.json"):
        read_classifier_network(tmp_path)
    write_run(tmp_path)
    facts = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**facts, "class_names": ["0"]}))
    with pytest.raises(CheckpointError, match="is not the run's network"):
        read_classifier_network(tmp_path)
    (tmp_path / "classifier.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="is not the run's network"):
        read_classifier_network(tmp_path)


def test_a_detector_is_read_from_its_run_too(
    small_detector: Path, portrait: np.ndarray, tmp_path: Path
) -> None:
    found = read_detector_network(small_detector)
    assert found.name == "small"
    assert found.input_of(portrait).shape == (3, 64, 64)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "detector.safetensors").write_bytes(small_detector.read_bytes())
    for path in (tmp_path / "run", tmp_path / "run" / "detector.safetensors"):
        assert read_detector_network(path).name == "run"
    with pytest.raises(CheckpointError, match="there is no such detector file"):
        read_detector_network(small_detector.parent)
