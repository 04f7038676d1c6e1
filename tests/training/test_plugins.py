"""Losses and augmentations from outside, and callbacks."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deepfake_detect.errors import OptionError
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.training.callbacks import Callback
from deepfake_detect.training.history import EpochRecord, StepRecord, TrainingResult
from deepfake_detect.training.losses import LOSSES, TrainingLoss, bce_loss, forgery_loss, register_loss
from tests.data.trees import crop_manifest, textured_crops
from tests.training.runs import small_run, train


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crops = textured_crops(8, "train", seed=1) + textured_crops(4, "val", seed=2)
    return crop_manifest(tmp_path_factory.mktemp("data"), crops)


def brier(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (logits.sigmoid() - targets) ** 2


def darker(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (crop * rng.uniform(0.9, 1.0)).astype(np.uint8)


def test_a_loss_by_name_and_as_a_function_are_the_same(manifest: Path, tmp_path: Path) -> None:
    changes = {"epochs": 0, "recalibrate_batches": 0}
    plain = train(small_run(manifest, tmp_path / "plain", **changes))
    passed = train(small_run(manifest, tmp_path / "passed", **changes), loss=brier)
    register_loss("brier", brier)
    named = train(small_run(manifest, tmp_path / "named", loss="brier", **changes))
    losses = [result.history[-1].train_loss for result in (plain, passed, named)]
    assert losses[1] == losses[2] != losses[0]
    parts = [read_detector(result.detector_path)[1].plugins for result in (plain, passed, named)]
    assert parts[0] == ()
    assert [str(part) for (part,) in parts[1:]] == ["loss 'brier' of the plug-in tests"] * 2
    with pytest.raises(OptionError, match="contains a run with other values of .*plugins"):
        train(small_run(manifest, tmp_path / "named", loss="brier", **changes), loss=bce_loss)


def test_a_loss_may_return_a_mean_unless_it_is_weighted(tmp_path: Path) -> None:
    logits, targets = torch.tensor([0.5, -2.0]), torch.tensor([1.0, 0.0])
    options: dict[str, Any] = {"label_smoothing": 0.1}
    mean = forgery_loss(logits, targets, loss=lambda *both: bce_loss(*both).mean(), **options)
    torch.testing.assert_close(mean, forgery_loss(logits, targets, **options))
    with pytest.raises(OptionError, match=r"loss: returns the shape \(\) for 2 crops"):
        forgery_loss(logits, targets, loss=lambda *both: bce_loss(*both).mean(), fake_weight=0.5, **options)
    config = small_run(tmp_path, tmp_path, loss="focal", focal_gamma=0.0, label_smoothing=0.0)
    torch.testing.assert_close(TrainingLoss(config)(logits, targets), bce_loss(logits, targets).mean())
    with pytest.raises(OptionError, match="'bce' is registered already"):
        register_loss("bce", brier)
    assert LOSSES.find("bce") is bce_loss


def test_an_augmentation_as_a_function_resumes_exactly(manifest: Path, tmp_path: Path) -> None:
    from tests.training.runs import Kill

    changes = {"epochs": 1, "batch_size": 4, "save_every": 1}
    whole = train(small_run(manifest, tmp_path / "whole", **changes), augment=darker)
    with pytest.raises(KeyboardInterrupt):
        train(small_run(manifest, tmp_path / "broken", **changes), augment=darker, callbacks=[Kill(step=6)])
    resumed = train(small_run(manifest, tmp_path / "broken", **changes), augment=darker)
    one, other = (read_detector(run.detector_path)[0].state_dict() for run in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    (part,) = read_detector(whole.detector_path)[1].plugins
    assert (part.kind, part.name) == ("augmentation", "darker")


class Recorder(Callback):
    def __init__(self) -> None:
        self.steps: list[StepRecord] = []
        self.epochs: list[int] = []
        self.results: list[TrainingResult] = []

    def on_step(self, step: StepRecord) -> None:
        self.steps.append(step)

    def on_epoch(self, history: Sequence[EpochRecord]) -> None:
        self.epochs.append(len(history))

    def on_end(self, result: TrainingResult) -> None:
        self.results.append(result)


def test_callbacks_follow_a_run(manifest: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    result = train(small_run(manifest, tmp_path / "run", epochs=1, batch_size=4), callbacks=[recorder])
    assert [(step.epoch, step.batch) for step in recorder.steps] == [(e, b) for e in (1, 2) for b in range(4)]
    assert recorder.epochs == [1, 2]
    assert recorder.results == [result]
    for record in result.history:
        losses = [step.loss for step in recorder.steps if step.epoch == record.epoch]
        assert np.mean(losses) == pytest.approx(record.train_loss)
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == [record.train_loss for record in result.history]


def test_logs_of_services(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []

    def noted(name: str) -> Any:
        return lambda *args, **more: calls.append((name, more.get("step")))

    run = SimpleNamespace(log=noted("wandb.log"), finish=noted("wandb.finish"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **_: run))
    names = ("set_experiment", "start_run", "log_params", "log_metrics", "end_run")
    mlflow = SimpleNamespace(**{name: noted(f"mlflow.{name}") for name in names})
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    train(small_run(manifest, tmp_path / "run", epochs=1, wandb=True, mlflow=True))
    assert [call for call in calls if call[1]] == [
        *(("wandb.log", 1), ("mlflow.log_metrics", 1), ("wandb.log", 2), ("mlflow.log_metrics", 2))
    ]
    assert [name for name, _ in calls[-2:]] == ["wandb.finish", "mlflow.end_run"]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(OptionError, match="wandb: is not installed; install it .pip install wandb."):
        train(small_run(manifest, tmp_path / "none", wandb=True))
    assert not (tmp_path / "none" / "config.json").exists()
