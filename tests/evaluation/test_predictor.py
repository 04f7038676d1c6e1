"""Any Python function measured like a detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.predictor import find_function
from tests.data.trees import crop_manifest, textured_crops

QUICK: dict[str, Any] = {"num_resamples": 20, "num_workers": 0, "show_progress": False}


def sharpness(crops: list[np.ndarray]) -> np.ndarray:
    """Return the probability of fake: low where the center of a crop is noisy."""
    centers = [crop[len(crop) // 4 : -len(crop) // 4, len(crop) // 4 : -len(crop) // 4] for crop in crops]
    return np.array([1 / (1 + np.exp(center.std() / 10 - 5)) for center in centers])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    crops = textured_crops(3, "test", size=64) + textured_crops(2, "val", size=48, seed=1)
    return crop_manifest(tmp_path / "m", crops)


def test_a_function_gets_stored_crops_and_the_whole_evaluation(manifest: Path, tmp_path: Path) -> None:
    seen: list[np.ndarray] = []

    def predict(crops: list[np.ndarray]) -> np.ndarray:
        seen.extend(crops)
        return sharpness(crops)

    found = dfd.evaluate(manifest, predict=predict, out=tmp_path / "out", robustness=["blur"], **QUICK)
    assert {(crop.shape, crop.dtype) for crop in seen} == {((64, 64, 3), np.dtype(np.uint8))}
    assert found.video.metrics["auc"].value == 1.0
    assert found.robustness is not None
    written = dfd.evaluate(scores=tmp_path / "out", num_resamples=20, show_progress=False)
    assert written.video.metrics["auc"].value == 1.0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["predict"].endswith("the_whole_evaluation.<locals>.predict")
    assert config["predict_returns"] == "probabilities"
    assert (tmp_path / "out" / "report.html").is_file()


def test_logits_and_tensors_give_the_same_metrics(manifest: Path) -> None:
    def logits(crops: list[np.ndarray]) -> torch.Tensor:
        p = torch.tensor(sharpness(crops))
        return torch.logit(p)[:, None].requires_grad_()

    by_probability = dfd.evaluate(manifest, predict=sharpness, **QUICK)
    by_logit = dfd.evaluate(manifest, predict=logits, **QUICK)
    np.testing.assert_allclose(by_logit.video.scores, by_probability.video.scores, atol=1e-6)
    ints = dfd.evaluate(manifest, predict=lambda crops: [int(p > 0.5) for p in sharpness(crops)], **QUICK)
    assert set(ints.video.scores.round(3)) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda crops: 1 / 0, "<lambda> raised ZeroDivisionError: division by zero; it gets a list of RGB"),
        (
            lambda crops: np.zeros((len(crops), 2)),
            r"<lambda> returned the shape \(6, 2\) for 6 crops",
        ),
        (lambda crops: None, r"<lambda> returned the shape \(\) for 6 crops; return one number per crop"),
        (lambda crops: ["a"] * len(crops), "<lambda> returned <U1; return one number per crop"),
        (lambda crops: np.full(len(crops), np.nan), "<lambda> returned numbers that are not finite"),
    ],
)
def test_errors_name_the_function(manifest: Path, predict: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"predict: .*{message}"):
        dfd.evaluate(manifest, predict=predict, **QUICK)


def test_what_a_function_returns_may_not_change(manifest: Path) -> None:
    calls = []

    def predict(crops: list[np.ndarray]) -> np.ndarray:
        calls.append(len(crops))
        return sharpness(crops) if len(calls) < 3 else sharpness(crops) + 7

    with pytest.raises(OptionError, match="returned probabilities first, and now numbers outside 0 to 1"):
        dfd.evaluate(manifest, predict=predict, robustness=["blur"], **QUICK)


def test_other_sources_exclude_it(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="predict: needs a manifest of crops; pass a `manifest` instead"):
        dfd.evaluate(scores=tmp_path / "s.csv", predict=sharpness)
    with pytest.raises(OptionError, match="predict: takes the place of `detector`; pass one of them"):
        dfd.evaluate(manifest, "default", predict=sharpness)
    with pytest.raises(OptionError, match="device: is for a `detector`; a function chooses its own"):
        dfd.evaluate(manifest, predict=sharpness, device="cpu")


def test_the_command_finds_a_function_of_the_working_folder(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_scores.py").write_text(
        "class Model:\n    def __call__(self, crops):\n        return [crop.mean() / 255 for crop in crops]\n"
        "model = Model()\nnumber = 3\n"
    )
    (tmp_path / "broken_scores.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "--manifest", str(manifest), "--out", "out", "--num-workers", "0"]
    assert main([*command, "--predict", "my_scores:model", "--bootstrap-draws", "20"]) == 0
    assert "video" in capsys.readouterr().out
    for named, message in {
        "my_scores": "is 'my_scores'; must be module:function",
        "my_scores:absent": "my_scores:absent: my_scores has no absent",
        "my_scores:number": "my_scores:number is not a function",
        "broken_scores:x": "broken_scores:x: broken_scores cannot be imported (ModuleNotFoundError",
    }.items():
        assert main([*command, "--predict", named]) == 2
        assert f"--predict: {message}" in capsys.readouterr().err


def test_a_function_has_the_name_of_its_module() -> None:
    assert find_function(sharpness)[1].endswith("test_predictor:sharpness")
    assert find_function("os.path:basename")[0]("a/b") == "b"
