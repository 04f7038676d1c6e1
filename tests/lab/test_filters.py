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
from deepfake_detect.lab.networks import classifier_network, detector_network, epoch_files
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.records import Preprocessing
from deepfake_detect.training.kept_epochs import epoch_file, parse_epochs, save_weights


def digit_network(seed: int = 0) -> ForgeryClassifier:
    torch.manual_seed(seed)
    return create_model("small_cnn", num_classes=10, in_chans=1, image_size=28)


def write_run(folder: Path) -> dict[int, ForgeryClassifier]:
    """Leave what a train-classifier run with --save-epochs 0,2 leaves."""
    networks = {epoch: digit_network(epoch) for epoch in (0, 2)}
    for epoch, network in networks.items():
        save_weights(epoch_file(folder, epoch), network)
    save_weights(folder / "classifier.safetensors", networks[2])
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


def test_networks_without_such_filters_are_refused() -> None:
    spec = ModelSpec("flat", Preprocessing(2, (0.5,) * 3, (0.5,) * 3))  # type: ignore[arg-type]
    flat = ForgeryClassifier(spec, nn.Sequential(nn.Flatten(), nn.Linear(12, 4)))
    with pytest.raises(OptionError, match="its first layer is no convolution"):
        first_layer_filters(flat)
    with pytest.raises(OptionError, match="one of 2 channels; pass one that reads gray or RGB"):
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
    # What comes after it changes its output in place.
    inner = activations(create_model("vgg16"), torch.randn(3, 32, 32), "features.0")
    assert inner.min() < 0
    assert activations(create_model("test_vit"), torch.randn(3, 160, 160), "blocks.0").shape == (64, 10, 10)


def test_activations_of_what_is_not_there_are_refused() -> None:
    model = digit_network()
    with pytest.raises(OptionError, match="small_cnn has none named 'conv1'; choose layers.0, layers.1"):
        activations(model, torch.zeros(1, 28, 28), "conv1")
    with pytest.raises(OptionError, match=r"has the shape \(3, 28, 28\); pass one image \(1, H, W\)"):
        activations(model, torch.zeros(3, 28, 28), "layers.0")
    with pytest.raises(OptionError, match="gives 128 values for an image, no map"):
        activations(model, torch.zeros(1, 28, 28), "project")


def test_a_grid_shows_each_map_in_its_own_range() -> None:
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 0, 0], maps[1, 0, 0] = 1.0, 100.0
    grid = activation_grid(maps)
    first, second = grid[6, 6], grid[6, 66]
    np.testing.assert_array_equal(first, second)
    assert grid[6, 6].sum() > grid[30, 30].sum()
    np.testing.assert_array_equal(grid[66, 6], grid[30, 30])  # without contrast: dark
    assert activation_grid(np.zeros((100, 4, 4), np.float32), most=4).shape == (124, 124, 3)


def test_networks_of_runs_are_read_again(tmp_path: Path, portrait: np.ndarray) -> None:
    networks = write_run(tmp_path / "run")
    last = classifier_network(tmp_path / "run")
    files = epoch_files(tmp_path / "run", "2,0")
    assert [classifier_network(file).name for file in files] == ["run epoch-0000", "run epoch-0002"]
    for file, epoch in zip(files, (0, 2), strict=True):
        found = classifier_network(file).model.state_dict()
        assert all(torch.equal(tensor, found[name]) for name, tensor in networks[epoch].state_dict().items())
    gray = last.input_of(portrait)
    assert gray.shape == (1, 28, 28)
    assert 0 <= gray.min() < 0.2
    assert 0.8 < gray.max() <= 1
    with pytest.raises(CheckpointError, match=r"epoch 1 was not kept \(kept: 0, 2\); choose one of those"):
        epoch_files(tmp_path / "run", "0,1")
    with pytest.raises(
        OptionError, match="epochs: is '0,x'; must be numbers separated by commas, such as 0,1,12"
    ):
        parse_epochs("0,x")


def test_damaged_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no classifier.safetensors with a run.json"):
        classifier_network(tmp_path)
    write_run(tmp_path)
    facts = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**facts, "class_names": ["0"]}))
    with pytest.raises(CheckpointError, match="is not the run's network"):
        classifier_network(tmp_path)
    (tmp_path / "classifier.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="is not the run's network"):
        classifier_network(tmp_path)


def test_a_detector_is_read_from_its_run_too(
    small_detector: Path, portrait: np.ndarray, tmp_path: Path
) -> None:
    found = detector_network(small_detector)
    assert found.name == "small"
    assert found.input_of(portrait).shape == (3, 64, 64)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "detector.safetensors").write_bytes(small_detector.read_bytes())
    for path in (tmp_path / "run", tmp_path / "run" / "detector.safetensors"):
        assert detector_network(path).name == "run"
    with pytest.raises(CheckpointError, match="there is no such detector file"):
        detector_network(small_detector.parent)
