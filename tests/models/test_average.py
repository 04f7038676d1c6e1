from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepfake_detect.cli import main
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.models.average import average_detectors
from deepfake_detect.models.checkpoint import DetectorConfig, TrainingFacts, read_detector, save_detector
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.config import AverageFacts
from deepfake_detect.records import CropGeometry


def write(path: Path, *, seed: int, image_size: int = 64, **seen: tuple[str, ...]) -> Path:
    torch.manual_seed(seed)
    model = create_model("test_resnet", image_size=image_size)
    training = TrainingFacts(where=path.stem, train_videos_sha256="x", video_sha256_prefixes=seen)
    config = DetectorConfig(
        path.stem, "1", model.spec, CropGeometry(1.7), threshold=0.3, temperature=2.0, training=training
    )
    save_detector(path, model, config)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / "a.safetensors", seed=0, train=("1", "2"), val=("3",)),
        write(tmp_path / "b.safetensors", seed=1, image_size=96, train=("2", "3"), val=("4",)),
    ]


def test_weights_are_the_mean(pair: list[Path]) -> None:
    (first, _), (second, _) = (read_detector(path) for path in pair)
    model, _ = average_detectors(pair, mixing_weights=[0.25, 0.75])
    for name, tensor in model.state_dict().items():
        one, other = first.state_dict()[name], second.state_dict()[name]
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.25 * one + 0.75 * other)
    alone, _ = average_detectors([pair[0], pair[0]])
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, first.state_dict()[name])


def test_the_config_is_the_firsts_without_what_no_longer_fits(pair: list[Path]) -> None:
    _, config = average_detectors(pair, version="2")
    assert (config.name, config.version, config.geometry) == ("a", "2", CropGeometry(1.7))
    assert config.model.preprocessing.image_size == 64
    assert (config.threshold, config.temperature) == (0.5, 1.0)
    assert config.training == TrainingFacts(
        where="a",
        average_of=AverageFacts(("a 1", "b 1"), (0.5, 0.5)),
        # The second was trained on the first one's val.
        video_sha256_prefixes={"train": ("1", "2", "3"), "val": ("4",)},
    )


def test_the_tool_writes_a_detector(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "mean.safetensors"
    assert (
        main(
            [
                "average",
                *map(str, pair),
                "--mixing-weights",
                "0.5",
                "0.5",
                "--name",
                "mean",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert "the mean of 2 detectors, not calibrated yet" in capsys.readouterr().out
    model, config = read_detector(out)
    assert config.name == "mean"
    expected, _ = average_detectors(pair)
    assert all(torch.equal(tensor, expected.state_dict()[key]) for key, tensor in model.state_dict().items())
    assert main(["average", str(pair[0]), "--out", str(out)]) == 2
    assert "error: detectors: has 1; pass two or more" in capsys.readouterr().err


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.6], [1.0, 0.0], [1.5, -0.5]])
def test_wrong_weights_are_rejected(pair: list[Path], weights: list[float]) -> None:
    with pytest.raises(OptionError, match="mixing_weights: is .*; must be 2 numbers above 0 with a sum of 1"):
        average_detectors(pair, mixing_weights=weights)


def test_other_networks_have_no_mean(pair: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "c.safetensors"
    model, config = read_detector(pair[0])
    mean = replace(config.model.preprocessing, mean=(0.1, 0.2, 0.3))
    save_detector(other, model, replace(config, model=replace(config.model, preprocessing=mean)))
    with pytest.raises(CheckpointError, match="has a different network from the first"):
        average_detectors([pair[0], other])
