from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from deepfake_detect.errors import CheckpointError
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.models.checkpoint import (
    DetectorConfig,
    TrainingFacts,
    read_detector,
    save_detector,
    update_detector,
)
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.spec import DETECTOR_FORMAT
from deepfake_detect.records import CropGeometry

PREPROCESSING = {"image_size": 64, "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    model = create_model("test_resnet", image_size=64)
    config = DetectorConfig(
        "small", "2.1", model.spec, CropGeometry(1.7), "mean", 1.4, 0.55, 0.4, 0.7, TrainingFacts(where="x")
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
    assert config.training == TrainingFacts(where="x")
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
    with pytest.raises(CheckpointError, match="is a checkpoint of another library: network is missing"):
        read_detector(foreign)
    torch.save({"a": 1}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="model.pth: contains no state dict"):
        read_detector(tmp_path / "model.pth")
    whole = detector.read_bytes()
    for length in (0, 7, 300, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
            read_detector(tmp_path / "cut.safetensors")


def test_a_detector_that_contradicts_itself_is_refused(detector: Path) -> None:
    whole = detector.read_bytes()
    rewrite(detector, drop="head.1.bias")
    with pytest.raises(CheckpointError, match="does not match its own description.*head.1.bias"):
        read_detector(detector)
    detector.write_bytes(whole)
    rewrite(detector, poison=True)
    with pytest.raises(CheckpointError, match="contains weights that are not finite"):
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
    assert DETECTOR_FORMAT == "deepfake_detect.detector"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", 0, "temperature: is 0.0; must be above 0"),
        ("threshold", 1.5, "threshold: is 1.5; must be 0 to 1"),
        (
            "threshold",
            "high",
            "its description cannot be read .*config.threshold is 'high', must be a number",
        ),
        ("threshold", True, "config.threshold is True, must be a number"),
        ("threshold", float("nan"), "config.threshold is nan, must be a number"),
        ("uncertain_low", 0.9, "uncertain_low: is 0.9; must not exceed `uncertain_high`"),
        ("name", 7, "config.name is 7, must be text"),
        ("aggregation_weights", ["a"], r"config.aggregation_weights\[0\] is 'a', must be a number"),
        ("aggregation_weights", "ab", "config.aggregation_weights is 'ab', must be a list"),
        ("calibration", [1], r"config.calibration is \[1\], must be a mapping"),
        ("calibration", {"method": "platt", "slope": "a", "intercept": 0}, "calibration.slope is 'a'"),
        ("calibration", {"method": "isotonic", "logits": [0, 1], "probabilities": [7, 9]}, "cannot be read"),
        ("training", {"data": "none"}, "config.training has unknown keys: data"),
        ("training", {"num_train_crops": 1.5}, "num_train_crops is 1.5, must be an integer"),
        ("geometry", {"margin": None}, "config.geometry.margin is None, must be a number"),
        ("tomorrow", 1, "config has unknown keys: tomorrow.*update deepfake_detect"),
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
        ("head", "deep", "its network cannot be built .*'deep' is unknown"),
        ("sequence", {"temporal": "gru", "hidden": 8, "num_layers": 1}, "temporal is 'gru', must be one of"),
        ("classical", {"head": "oracle"}, "its network cannot be built .*classifier: 'oracle' is unknown"),
        ("color", True, "config.model has unknown keys: color"),
        ("backbone", 7, "config.model.backbone is 7, must be text"),
        ("backbone", "hf-hub:somebody/net", "its network cannot be built"),
        ("backbone_options", {"checkpoint_path": "x.pt"}, "cannot hold checkpoint_path, which open files"),
        ("backbone_options", {"act_layer": {"a": 1}}, "config.model.backbone_options.act_layer is"),
        (
            "preprocessing",
            {"image_size": 100_000, "mean": [0, 0, 0], "std": [1, 1, 1]},
            "image_size: is 100000",
        ),
        ("preprocessing", {"image_size": 64, "mean": [0, 0, 0], "std": [0, 1, 1]}, "std: is "),
        ("preprocessing", {"image_size": 64, "mean": [0, 0], "std": [1, 1, 1]}, "must be a list of 3"),
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


def test_a_config_of_any_shape_is_an_error_of_one_line(detector: Path) -> None:
    for config in ("[" * 100_000, "7", "null", "{}", "not json"):
        rewrite(detector, config=config)
        with pytest.raises(CheckpointError, match="its description cannot be read"):
            read_detector(detector)


def test_the_same_detector_is_written_as_the_same_bytes(detector: Path, tmp_path: Path) -> None:
    model, config = read_detector(detector)
    written = detector.read_bytes()
    for number in range(8):
        save_detector(tmp_path / f"{number}.safetensors", model, config)
        assert (tmp_path / f"{number}.safetensors").read_bytes() == written
    header = written[8 : 8 + int.from_bytes(written[:8], "little")]
    assert list(json.loads(header)["__metadata__"]) == [
        "config",
        "format",
        "format_version",
        "weights_sha256",
    ]


def test_facts_under_older_names_are_read(detector: Path) -> None:
    with safe_open(detector, framework="pt") as reader:
        config = json.loads(reader.metadata()["config"])
    config["training"] = {"regime": "full", "average_of": {"detectors": ["a 1", "b 2"], "shares": [0.5, 0.5]}}
    rewrite(detector, config=json.dumps(config))
    training = read_detector(detector)[1].training
    assert training.finetune == "full"
    assert training.average_of is not None
    assert training.average_of.mixing_weights == (0.5, 0.5)


def test_the_bundled_detector_is_read_in_full() -> None:
    with bundled_detector() as path:
        _, config = read_detector(path)
    assert config.training.datasets == ("DFDC", "LFW", "FaceForensics++")
    assert config.training.average_of is not None
    assert len(config.training.digests("train")) > 1000
    assert config.training.readable().digests("train") == frozenset()
