"""Every choice of a training run, in one place, written beside its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.data.audit import LeakKind
from deepfake_detect.data.leaks import check_leak_kinds
from deepfake_detect.data.transforms import AUGMENTATIONS, Augmentation
from deepfake_detect.errors import OptionError

PRECISIONS = ("auto", "no", "bf16", "fp16")


@dataclass(frozen=True)
class TrainingConfig:
    """Options of a run.

    Attributes:
        manifest: Parquet manifest with the splits ``train`` and ``val``.
        out: Folder of the run.
        backbone: As for ``create_model``.
        weights: As for ``create_model``; ``None`` starts from random weights.
        head_epochs: Epochs with the backbone frozen, so that a random head's gradients do not
            destroy pretrained features.
        epochs: Epochs of fine-tuning after that.
        batch_size: Crops a step and process; even, half real and half fake.
        learning_rate: Peak rate of the backbone; the head's is ``head_learning_rate``.
        weight_decay: Of AdamW.
        dropout: Before the head; the backbone's default when ``None``.
        label_smoothing: Share moved from each label towards 0.5, 0 to 0.5.
        augmentation: ``none``, ``light`` or ``strong``.
        recalibrate_batches: Batches of training crops on which batch-norm statistics are measured
            before the first step; 0 keeps those of the weights.
        precision: ``auto`` (bf16 or fp16 where the hardware computes in it), ``no``, ``bf16``, ``fp16``.
        num_workers: Processes that read crops.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: Of initialisation, order and augmentation.
        name: Of the detector.
        version: Of the detector.
        where: SQL condition that the rows of the manifest fulfil, see :mod:`data.rows`; ``None``
            takes all.
        allow_leak: Kinds of leak between the splits that are let pass, of ``data.audit.LEAK_KINDS``;
            any other is refused.
    """

    manifest: Path
    out: Path
    backbone: str
    weights: str | None = None
    head_epochs: int = 1
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 4e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float | None = None
    label_smoothing: float = 0.04
    augmentation: Augmentation = "strong"
    recalibrate_batches: int = 60
    precision: str = "auto"
    num_workers: int = 2
    device: str = "auto"
    seed: int = 0
    name: str = "detector"
    version: str = "1.0"
    where: str | None = None
    allow_leak: tuple[LeakKind, ...] = ()

    def __post_init__(self) -> None:
        for option in ("head_epochs", "epochs", "recalibrate_batches", "num_workers", "seed"):
            if getattr(self, option) < 0:
                raise OptionError(option, f"is {getattr(self, option)}", "pass 0 or more")
        for option in ("learning_rate", "head_learning_rate"):
            if not 0 < getattr(self, option) < 1:
                raise OptionError(option, f"is {getattr(self, option)}", "pass a number between 0 and 1")
        if not 0 <= self.weight_decay < 1:
            raise OptionError("weight_decay", f"is {self.weight_decay}", "pass 0 up to below 1")
        if self.head_epochs + self.epochs == 0:
            raise OptionError("epochs", "is 0 and so is head_epochs", "train for at least one epoch")
        if not 0 <= self.label_smoothing < 0.5:
            raise OptionError("label_smoothing", f"is {self.label_smoothing}", "pass 0 up to below 0.5")
        if self.precision not in PRECISIONS:
            raise OptionError(
                "precision", f"{self.precision!r} is unknown", f"choose {', '.join(PRECISIONS)}"
            )
        if self.device not in ("auto", "cpu", "cuda"):
            raise OptionError(
                "device",
                f"{self.device!r} is not for training",
                "choose auto, cpu or cuda (all visible cards)",
            )
        if self.augmentation not in AUGMENTATIONS:
            raise OptionError(
                "augmentation", f"{self.augmentation!r} is unknown", f"choose {', '.join(AUGMENTATIONS)}"
            )
        check_leak_kinds(self.allow_leak)
