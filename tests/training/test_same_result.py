"""The command and the function leave the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.records import CropGeometry
from tests.data.trees import crop_manifest, textured_crops

_OPTIONS = {
    "backbone": "test_resnet",
    "epochs": 1,
    "batch_size": 8,
    "image_size": 32,
    "augmentation": "light",
    "num_workers": 0,
    "device": "cpu",
    "recalibrate_batches": 2,
}


# So easy a set may be separated without an error, and then there is nothing to calibrate by.
@pytest.mark.filterwarnings("ignore:the probabilities stay uncalibrated:UserWarning")
@pytest.mark.filterwarnings("ignore:every verdict will be 'uncertain':UserWarning")
def test_train_and_the_command_leave_the_same_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = textured_crops(12, "train", seed=1) + textured_crops(12, "val", seed=2)
    manifest = crop_manifest(tmp_path / "data", crops, geometry=CropGeometry(1.1))
    python, command = tmp_path / "python", tmp_path / "command"
    config = dfd.TrainingConfig(manifest=manifest, out=python, **_OPTIONS)  # type: ignore[arg-type]
    lines: list[str] = []
    result = dfd.train(config, show_progress=False, log=lines.append)
    words = [word for name, value in _OPTIONS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["train", "--manifest", str(manifest), "--out", str(command), *words]) == 0
    assert capsys.readouterr().out.count("selected epoch") == 1

    assert result.detector is not None
    assert {path.name for path in python.iterdir()} == {path.name for path in command.iterdir()}
    for name in ("detector.safetensors", "predictions.csv", "confusion.png", "history.png", "batch.png"):
        assert (python / name).read_bytes() == (command / name).read_bytes(), name
    assert result.detector.training.aggregation_auc
    assert f"wrote {python / 'detector.safetensors'}" in lines
    assert (python / "log.txt").read_text().count("\n") == len(lines)
