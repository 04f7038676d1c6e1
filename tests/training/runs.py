"""Runs small enough for a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deepfake_detect.training.config import TrainingConfig


def small_run(manifest: Path, out: Path, **changes: object) -> TrainingConfig:
    base = TrainingConfig(
        manifest=manifest,
        out=out,
        backbone="test_resnet",
        head_epochs=1,
        epochs=2,
        batch_size=16,
        augmentation="light",
        recalibrate_batches=2,
        num_workers=0,
        device="cpu",
        sanity=False,  # tested by itself
    )
    return replace(base, **changes)  # type: ignore[arg-type]
