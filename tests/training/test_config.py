from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.options import options_from_mapping
from deepfake_detect.training.config import TrainingConfig
from tests.training.runs import read_config


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_a_file_and_what_stands_above_it(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "manifest: a/manifest.parquet\nout: run\nbackbone: facenet\nlearning_rate: 3e-4\nepochs: 7\n"
        "allow_leak: [near-duplicate-crops]\nsanity: false\nimage_size: 96\n",
    )
    config = read_config(path, epochs=2, out=Path("other"))
    assert (config.epochs, config.out, config.learning_rate) == (2, Path("other"), 3e-4)
    assert config.manifest == Path("a/manifest.parquet")
    assert config.allow_leak == ("near-duplicate-crops",)
    assert config.sanity is False
    assert config.image_size == 96


@pytest.mark.parametrize(
    ("written_as", "epochs"),
    [("4", (4,)), ("4,0,4", (0, 4)), ("[0, 6]", (0, 6)), ("[]", ()), ("", ())],
)
def test_epochs_to_keep_may_be_written_in_any_way(
    written_as: str, epochs: tuple[int, ...], tmp_path: Path
) -> None:
    assert read_config(written(tmp_path, f"{BASE}save_epochs: {written_as}\n")).save_epochs == epochs


BASE = "manifest: m\nout: o\nbackbone: b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "epoch: 3\n", "unknown options: epoch; known: manifest, out, backbone, "),
        ("manifest: m\n", "missing required options: `out`, `backbone`"),
        (BASE + "epochs: many\n", "epochs: is 'many'; must be 0 or more"),
        (BASE + "sanity: 2\n", "sanity: is 2; must be true or false"),
        ("- a\n- b\n", "contains no options"),
        ("a: [1\n", "cannot be read"),
        (BASE + "finetune: scratch\nweights: w\n", "scratch starts from random weights"),
        (BASE + "temporal: lstm\n", "balance: sequences cannot be paired"),
        (BASE + "temporal: lstm\nbalance: none\nmixup: 0.2\n", "mixup: mixes crops"),
        (BASE + "sam: 0.05\nprecision: fp16\n", "sam: needs two exact gradients"),
        (BASE + "ema: 1.0\n", "ema: is 1.0; must be at least 0 and below 1"),
        (BASE + "accumulate: 0\n", "accumulate: is 0; must be 1 or more"),
        (BASE + "loss: hinge\n", "loss: is 'hinge'; must be one of bce, focal"),
        (BASE + "save_epochs: [0, x]\n", r"save_epochs: is \[0, \'x\'\]; must be 0 or more"),
        (BASE + "save_epochs: 7\n", "save_epochs: names epoch 7 of a run of 6; must be 0 to 6"),
    ],
)
def test_files_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        read_config(written(tmp_path, text))


def test_python_may_write_text_and_lists() -> None:
    config = TrainingConfig("m", "o", "b", teachers=["t"], save_epochs=[2, 0])  # type: ignore[arg-type]
    assert (config.out, config.teachers, config.save_epochs) == (Path("o"), ("t",), (0, 2))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="absent.yaml: cannot be read"):
        read_config(tmp_path / "absent.yaml")
    with pytest.raises(OptionError, match="the run: missing required options: `backbone`"):
        options_from_mapping(TrainingConfig, {"manifest": "m", "out": "o"}, source="the run")
