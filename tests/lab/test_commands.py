"""Commands of the lab."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect import lab
from deepfake_detect.cli import main as any_main
from deepfake_detect.data.sheets import save_image
from tests.explanation.test_cli import size_of
from tests.lab.test_classifier import write_mnist


def main(arguments: Sequence[str]) -> int:
    return any_main(["lab", *arguments])


def test_epochs_of_a_run_are_shown_side_by_side(
    tmp_path: Path, portrait: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mnist(tmp_path / "data", zipped=False)
    run = tmp_path / "run"
    train = ["train-classifier", "--data", str(tmp_path / "data"), "--out", str(run), "--epochs", "1"]
    assert main([*train, "--save-epochs", "0,2"]) == 2
    assert "--save-epochs: names epoch 2 of a run of 1; must be 0 to 1" in capsys.readouterr().err
    (run / "epochs").mkdir(parents=True)
    (run / "epochs" / "epoch-0007.safetensors").write_bytes(b"of an earlier run")
    assert main([*train, "--save-epochs", "0,1"]) == 0
    first, last = (run / "epochs" / f"epoch-000{epoch}.safetensors" for epoch in (0, 1))
    assert first.read_bytes() != last.read_bytes()
    assert last.read_bytes() == (run / "classifier.safetensors").read_bytes()
    command = ["filters", "--classifier", str(run), "--out", str(tmp_path / "filters.png")]
    assert main([*command, "--epochs", "0,1"]) == 0
    assert "run epoch-0000, run epoch-0001" in capsys.readouterr().out
    one_wide = size_of(tmp_path / "filters.png")[1]
    assert main(command) == 0
    assert one_wide > 1.5 * size_of(tmp_path / "filters.png")[1]
    save_image(tmp_path / "face.png", portrait)
    assert main([*command, "--layer", "layers.2", "--image", str(tmp_path / "face.png")]) == 0
    assert main([*command, "--layer", "layers.2"]) == 2
    assert main([*command, "--epochs", "7"]) == 2
    assert main(["filters", "--out", "x.png"]) == 2
    errors = capsys.readouterr().err
    assert "--layer: needs --image, and --image needs it" in errors
    assert "epoch 7 was not kept (kept: 0, 1)" in errors
    assert "--detector: is missing; pass --detector or --classifier" in errors


def test_every_exported_name_is_there() -> None:
    for name in lab.__all__:
        assert getattr(lab, name) is not None


def test_python_writes_the_files_of_train_classifier(tmp_path: Path) -> None:
    data = write_mnist(tmp_path / "data", zipped=False)
    command, python = tmp_path / "command", tmp_path / "python"
    options = ["--epochs", "1", "--batch-size", "64", "--device", "cpu", "--save-epochs", "1"]
    assert main(["train-classifier", "--data", str(data), "--out", str(command), *options]) == 0
    config = lab.ClassifierRunConfig(epochs=1, batch_size=64, device="cpu", save_epochs=(1,))
    lab.train_classifier_run(data, python, config, show_progress=False)
    for name in ("classifier.safetensors", "run.json", "epochs/epoch-0001.safetensors"):
        assert (command / name).read_bytes() == (python / name).read_bytes(), name


def test_a_dream_is_written(
    tmp_path: Path, portrait: np.ndarray, small_detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_image(tmp_path / "face.png", portrait[:100, :80])
    arguments = ["dream", "--detector", str(small_detector), "--layers", "layer2=1,layer3=0.5"]
    arguments += ["--out", str(tmp_path / "dream"), "--steps", "2", "--octaves", "2", "--frame-every", "2"]
    assert main([*arguments, "--image", str(tmp_path / "face.png"), "--longest-side", "64"]) == 0
    assert size_of(tmp_path / "dream" / "dream.png") == (64, 51, 3)
    report = json.loads((tmp_path / "dream" / "dream.json").read_text())
    assert report["options"]["layers"] == {"layer2": 1.0, "layer3": 0.5}
    assert report["options"]["detector"] == str(small_detector)
    assert set(report["mean_square_of_outputs"]["layer3"]) == {"start", "end"}
    assert (tmp_path / "dream" / "dream.mp4").is_file()
    plain = ["dream", "--backbone", "test_resnet", "--out", str(tmp_path / "noise"), "--layers", "layer1"]
    plain += ["--longest-side", "48", "--frame-every", "0", "--steps", "1", "--octaves", "1"]
    assert main([*plain, "--weights", "random"]) == 0
    assert not (tmp_path / "noise" / "dream.mp4").exists()
    for more, message in (
        (["--weights", "random", "--layers", "layer1=x"], "--layers: 'layer1=x' has no number"),
        (["--weights", "random", "--layers", "layer1,layer1=2"], "--layers: names layer1 twice"),
        (["--weights", "random", "--layers", "up"], "has none named 'up'"),
        ([], "--weights: is missing; pass a path, a published name, or random"),
        (["--weights", "random", "--longest-side", "0"], "--longest-side: is 0; must be 1 or more"),
        (["--weights", "random", "--steps", "0"], "--steps: is 0; must be 1 or more"),
    ):
        assert main([*plain, *more]) == 2
        assert message in capsys.readouterr().err
    assert main([*arguments, "--weights", "random"]) == 2
    assert "--weights: cannot be chosen for a detector" in capsys.readouterr().err
