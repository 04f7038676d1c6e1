"""Runs small enough for a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from deepfake_detect.options import options_from_mapping, read_options_file
from deepfake_detect.training import loop
from deepfake_detect.training.callbacks import Callback
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.history import StepRecord, TrainingResult


def small_run(manifest: Path, out: Path, **changes: object) -> TrainingConfig:
    base = TrainingConfig(
        manifest=manifest,
        out=out,
        backbone="test_resnet",
        head_epochs=1,
        epochs=2,
        batch_size=16,
        image_size=32,
        augmentation="light",
        recalibrate_batches=2,
        num_workers=0,
        device="cpu",
        sanity=False,  # tested by itself
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def train(config: TrainingConfig, **options: Any) -> TrainingResult:
    """Train without what comes after the last epoch, which has tests of its own."""
    return loop.train(config, **{"calibrate": False, "show_progress": False, **options})


def read_config(path: Path, **changes: object) -> TrainingConfig:
    values = {**read_options_file(path), **changes}
    return options_from_mapping(TrainingConfig, values, source=str(path))


class Kill(Callback):
    """Ends a run like a kill does: after some steps in all, or after the first step of an epoch."""

    def __init__(self, *, step: int | None = None, epoch: int | None = None) -> None:
        self._step, self._epoch, self._steps = step, epoch, 0

    def on_step(self, step: StepRecord) -> None:
        self._steps += 1
        if self._steps == self._step or step.epoch == self._epoch:
            raise KeyboardInterrupt
