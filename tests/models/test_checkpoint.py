from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from deepfake_detect.errors import CheckpointError
from deepfake_detect.models.checkpoint import (
    FORMAT,
    DetectorConfig,
    read_detector,
    save_detector,
    update_detector,
)
from deepfake_detect.models.classifier import create_model
from deepfake_detect.records import CropGeometry


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    model = create_model("test_resnet", image_size=64)
    config = DetectorConfig(
        "small", "2.1", model.spec, CropGeometry(1.7), "mean", 1.4, 0.55, 0.4, 0.7, {"data": "none"}
    )
    save_detector(tmp_path / "detector.safetensors", model, config)
    return tmp_path / "detector.safetensors"


def test_everything_scoring_needs_comes_back(detector: Path) -> None:
    model, config = read_detector(detector)
    assert (config.name, config.version, config.geometry) == ("small", "2.1", CropGeometry(1.7))
    assert (config.aggregation_rule, config.temperature, config.threshold) == ("mean", 1.4, 0.55)
    assert (config.uncertain_low, config.uncertain_high) == (0.4, 0.7)
    assert config.model == model.spec
    assert config.model.preprocessing.image_size == 64
    assert config.training == {"data": "none"}
    assert not model.training


def test_an_update_changes_what_it_names_and_no_weight(detector: Path) -> None:
    before, _ = read_detector(detector)
    config = update_detector(detector, threshold=0.61)
    after, stored = read_detector(detector)
    assert stored == config
    assert (stored.threshold, stored.temperature) == (0.61, 1.4)
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])


def rewrite(path: Path, *, drop: str = "", poison: bool = False, **metadata: str) -> None:
    with safe_open(path, framework="pt") as reader:
        tensors = {name: reader.get_tensor(name) for name in reader.keys() if name != drop}  # noqa: SIM118
        stored = {**reader.metadata(), **metadata}
    if poison:
        tensors["head.1.weight"][0, 0] = torch.nan
    save_file(tensors, path, metadata=stored)


def test_what_is_no_detector_is_refused(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such detector file"):
        read_detector(tmp_path / "absent.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(3)}, foreign, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="written by another library or is bare weights"):
        read_detector(foreign)
    torch.save({"a": 1}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="model.pth: is not a whole safetensors file"):
        read_detector(tmp_path / "model.pth")
    whole = detector.read_bytes()
    for length in (0, 7, 300, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
            read_detector(tmp_path / "cut.safetensors")


def test_a_detector_that_contradicts_itself_is_refused(detector: Path) -> None:
    whole = detector.read_bytes()
    rewrite(detector, drop="head.1.bias")
    with pytest.raises(CheckpointError, match="does not fit its own description.*head.1.bias"):
        read_detector(detector)
    detector.write_bytes(whole)
    rewrite(detector, poison=True)
    with pytest.raises(CheckpointError, match="holds weights that are not finite"):
        read_detector(detector)
    detector.write_bytes(whole)
    rewrite(detector, format_version="99")
    with pytest.raises(CheckpointError, match="has format version 99; update deepfake_detect"):
        read_detector(detector)
    rewrite(detector, format_version="one")
    with pytest.raises(CheckpointError, match="has format version one"):
        read_detector(detector)
    rewrite(detector, format_version="1", config=json.dumps({"name": "x"}))
    with pytest.raises(CheckpointError, match="its description cannot be read"):
        read_detector(detector)
    assert FORMAT == "deepfake_detect.detector"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", 0, "temperature: is 0; it must be above 0"),
        ("threshold", 1.5, "threshold: is 1.5; it must be from 0 to 1"),
        ("threshold", "high", "its description cannot be read"),
    ],
)
def test_numbers_out_of_range_are_refused(detector: Path, field: str, value: object, message: str) -> None:
    with safe_open(detector, framework="pt") as reader:
        config = json.loads(reader.metadata()["config"])
    rewrite(detector, config=json.dumps({**config, field: value}))
    with pytest.raises(CheckpointError, match=message):
        read_detector(detector)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("head", "deep", "description cannot be read .*'deep' is unknown"),
        ("sequence", {"temporal": "gru", "hidden": 8, "num_layers": 1}, "'gru' is unknown"),
        ("color", True, "its description cannot be read"),
    ],
)
def test_a_network_of_unknown_parts_is_refused(
    detector: Path, field: str, value: object, message: str
) -> None:
    with safe_open(detector, framework="pt") as reader:
        config = json.loads(reader.metadata()["config"])
    config["model"][field] = value
    rewrite(detector, config=json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        read_detector(detector)


def test_files_from_before_heads_had_names_are_read(detector: Path) -> None:
    with safe_open(detector, framework="pt") as reader:
        config = json.loads(reader.metadata()["config"])
    known = {"backbone", "preprocessing", "dropout", "backbone_options"}
    config["model"] = {name: value for name, value in config["model"].items() if name in known}
    rewrite(detector, config=json.dumps(config))
    _, stored = read_detector(detector)
    assert (stored.model.head, stored.model.pooling, stored.model.sequence) == ("dropout", None, None)


def test_a_network_nobody_knows_is_refused_with_the_file(detector: Path) -> None:
    with safe_open(detector, framework="pt") as reader:
        config = json.loads(reader.metadata()["config"])
    config["model"]["backbone"] = "resnet_of_tomorrow"
    rewrite(detector, config=json.dumps(config))
    with pytest.raises(CheckpointError, match="detector.safetensors: its network cannot be built"):
        read_detector(detector)
