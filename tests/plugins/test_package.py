"""A package outside this library adds one part of each kind, for the commands and for Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_detect.errors import CheckpointError
from deepfake_detect.models.checkpoint import read_detector
from tests.conftest import ROOT
from tests.data.trees import crop_manifest, textured_crops
from tests.plugins.package import install

# One process runs several commands, and Python: each start takes seconds.
COMMANDS = """
import json, sys
from deepfake_detect.cli import main
for command in json.loads(sys.argv[1]):
    print("$", *command, flush=True)
    code = main(command)
    print("=", code, flush=True)
    if code:
        sys.exit(code)
exec(sys.argv[2])
print("python done")
"""
# Uses the parts in Python; {detector} is what the command trained.
CODE = """
import numpy as np
import deepfake_detect as dfd
from deepfake_detect.data.layouts import LAYOUTS
from deepfake_detect.metrics.registry import METRICS
model = dfd.create_model("tiny_net", head="tiny_head", backbone_options={{"width": 4}})
assert model.spec.preprocessing.image_size == 32 and model.head[0].normalized_shape == (4,)
detector = dfd.load_detector({detector!r}, device="cpu")
assert detector.score_crops([np.zeros((40, 40, 3), np.uint8)]).shape == (1,)
assert LAYOUTS.find("tiny").dataset == "Tiny"
recall = METRICS.find("tiny_recall")(np.array([0, 1, 1]), np.array([0.9, 0.8, 0.1]), threshold=0.5)
assert recall == 0.5
assert "tiny_net" in [facts.name for facts in dfd.list_backbones()]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crops = [
        crop for n, split in enumerate(("train", "val", "test")) for crop in textured_crops(6, split, seed=n)
    ]
    return crop_manifest(tmp_path_factory.mktemp("crops") / "m", crops)


@pytest.fixture(scope="module")
def run(installed: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Train and evaluate with every part, list them, use them in Python; return the folder and what was
    printed.
    """
    out = tmp_path_factory.mktemp("run")
    detector = str(out / "run" / "detector.safetensors")
    parts = ["--backbone", "tiny_net", "--head", "tiny_head", "--loss", "tiny_loss"]
    parts += ["--augmentation", "tiny_flip", "--epochs", "1", "--head-epochs", "0", "--batch-size", "4"]
    parts += ["--num-workers", "0", "--device", "cpu", "--no-sanity"]
    measures = ["--metrics", "tiny_recall", "--aggregation", "tiny_highest", "--num-workers", "0"]
    measures += ["--manifest", str(manifest), "--out", str(out / "eval")]
    printed = commands(
        installed,
        ["train", "--manifest", str(manifest), "--out", str(out / "run"), *parts],
        ["evaluate", "--detector", detector, *measures],
        ["models"],
        ["datasets"],
        ["card", "--detector", detector],
        code=CODE.format(detector=detector),
    )
    return out, printed


def commands(installed: Path, *wanted: list[str], code: str) -> str:
    path = os.pathsep.join(map(str, (ROOT, installed)))
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(wanted), code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_commands_take_the_parts_by_name(run: tuple[Path, str]) -> None:
    out, printed = run
    assert "tiny_net" in printed.partition("$ models")[2].partition("$ datasets")[0]
    assert "Tiny" in printed.partition("$ datasets")[2].partition("$ card")[0]
    metrics = (out / "eval" / "metrics.json").read_text()
    assert "tiny_recall" in metrics
    assert "tiny_highest" in metrics


def test_the_detector_records_the_plugin(run: tuple[Path, str]) -> None:
    out, printed = run
    card = printed.partition("$ card")[2]
    for part in ("backbone 'tiny_net'", "head 'tiny_head'", "loss 'tiny_loss'", "augmentation 'tiny_flip'"):
        assert f"{part} of the plug-in dfd-tiny 1.5" in card
    assert "not installed" not in card


def test_without_the_plugin_the_detector_says_what_is_missing(run: tuple[Path, str]) -> None:
    path = run[0] / "run" / "detector.safetensors"
    message = r"needs the backbone 'tiny_net' of the plug-in dfd-tiny 1.5, which is not installed"
    with pytest.raises(CheckpointError, match=message):
        read_detector(path)


def test_python_takes_the_parts_by_name(run: tuple[Path, str]) -> None:
    assert run[1].endswith("python done\n")
