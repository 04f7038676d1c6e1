"""The options of a training run, recorded with its results."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from deepfake_detect.errors import OptionError
from deepfake_detect.forgery.blends import parse_blends
from deepfake_detect.models.spec import Stem
from deepfake_detect.options import check_options, option
from deepfake_detect.training.finetune import FINETUNE_MODES, parse_finetune
from deepfake_detect.training.kept_epochs import check_epochs

if TYPE_CHECKING:
    from deepfake_detect.data.audit_report import LeakKind

Balance = Literal["pairs", "sampler", "weight", "none"]
Optimizer = Literal["adamw", "adam", "sgd", "adadelta"]
Schedule = Literal["cosine", "one-cycle", "plateau", "constant"]
BatchNorm = Literal["adapt", "frozen"]
Precision = Literal["auto", "no", "bf16", "fp16"]
_RECALIBRATION_BATCHES = 60


def _names_of(module: str, collection: str) -> Callable[[], tuple[str, ...]]:
    """Return what lists the names of a collection when it is first asked: help does not wait for torch."""
    return lambda: tuple(getattr(importlib.import_module(f"deepfake_detect.{module}"), collection))


@dataclass(frozen=True)
class TrainingConfig:
    """Options of a training run; each field describes itself."""

    manifest: str | Path = option(help="manifest.parquet with train and val splits")
    out: Path = option(help="folder for the run")
    backbone: str = option(help="name of a registered backbone or of a timm model")
    weights: str | None = option(
        None,
        help=("pretrained weights of the backbone: a file or a published name (default: random weights)"),
    )
    head: str = option(
        "dropout", choices=_names_of("models.heads", "HEADS"), help="head on the backbone's features"
    )
    stem: Stem = option(
        "rgb",
        help="input of the network: rgb, srm (noise residuals) or dct (block frequency bands)",
    )
    pooling: Literal["avg", "flatten"] | None = option(
        None, help="pooling of the last feature map (default: the backbone's own)"
    )
    image_size: int | None = option(
        None, low=1, help="side of the input, in pixels (default: that of the weights)"
    )
    finetune: str = option(
        "full", metavar="MODE", help=f"what to train: {', '.join(FINETUNE_MODES)}, or several joined with +"
    )
    top_blocks: int = option(3, low=1, help="number of blocks that mode top trains, counted from the output")
    lora_rank: int = option(8, low=1, help="rank of the matrices that mode lora adds")
    svd_rank: int = option(1, low=1, help="number of singular directions that mode svd trains in each layer")
    layer_decay: float = option(
        1.0, low=0.01, high=1, help="learning rate of a block relative to the block above it"
    )
    unfreeze_epochs: float = option(
        0.0,
        low=0,
        high=1e6,
        help="epochs of gradual unfreezing, top block first; 0 trains all blocks from the start",
    )
    batchnorm: BatchNorm = option(
        "adapt", help="adapt: trained layers update their batch-norm statistics; frozen: no layer does"
    )
    head_epochs: int = option(
        1, low=0, help="epochs with a frozen backbone, so that the untrained head does not damage it"
    )
    epochs: int = option(5, low=0, help="fine-tuning epochs after the head's epochs")
    batch_size: int = option(32, low=1, help="crops (sequences, with `temporal`) per batch and process")
    balance: Balance = option(
        "pairs",
        help="class balancing: pairs of a real and a fake of the same person, a balanced sampler, "
        "a weight in the loss, or none",
    )
    loss: str = option(
        "bce",
        choices=_names_of("training.losses", "LOSSES"),
        help="loss: bce, focal (arXiv:1708.02002) or a registered one",
    )
    focal_gamma: float = option(2.0, low=0, high=10, help="exponent of the focal loss")
    alignment: float = option(
        0.0,
        low=0,
        high=100,
        help=(
            "weight of the alignment loss: pulls normalized features of the same class together "
            "(arXiv:2005.10242); 0 turns it off"
        ),
    )
    uniformity: float = option(
        0.0,
        low=0,
        high=100,
        help=(
            "weight of the uniformity loss: spreads normalized features over the unit sphere; 0 turns it off"
        ),
    )
    teachers: tuple[str, ...] = option(
        (),
        metavar="FILE",
        help="detectors to distill: the mean of their logits for each crop is a second target",
    )
    distillation: float = option(0.5, above=0, high=1, help="weight of the teachers in the loss")
    distillation_temperature: float = option(
        2.0,
        low=0.01,
        high=100,
        help="temperature that divides the logits of teachers and student (arXiv:1503.02531)",
    )
    label_smoothing: float = option(0.04, low=0, below=0.5, help="fraction by which labels move toward 0.5")
    mixup: float = option(
        0.0, low=0, high=10, help="Beta parameter of mixup (arXiv:1710.09412); 0 turns it off"
    )
    cutmix: float = option(
        0.0, low=0, high=10, help="Beta parameter of CutMix (arXiv:1905.04899); 0 turns it off"
    )
    forgery: str = option(
        "",
        metavar="KIND",
        help="make fakes from the reals during training: sbi, cross or sbi+cross (default: none)",
    )
    forgery_share: float = option(
        1.0,
        above=0,
        high=1,
        help="fraction of the pairs whose fake is made by `forgery`; at 1, no stored fake is used",
    )
    augmentation: str = option(
        "strong",
        choices=_names_of("data.transforms", "AUGMENTATIONS"),
        help="augmentation: none, light, strong, dfdc, compression, robust or a registered one",
    )
    optimizer: Optimizer = option("adamw", help="optimizer; sgd uses momentum 0.9")
    schedule: Schedule = option("cosine", help="learning rate schedule of each stage")
    learning_rate: float = option(4e-4, above=0, high=10, help="peak learning rate of the backbone")
    head_learning_rate: float = option(1e-3, above=0, high=10, help="peak learning rate of the head")
    tuned_head_learning_rate: float | None = option(
        None,
        above=0,
        high=10,
        help=(
            "peak learning rate of the head during fine-tuning (default: the same as in the head's epochs)"
        ),
    )
    weight_decay: float = option(0.05, low=0, below=1, help="weight decay")
    dropout: float | None = option(
        None, low=0, below=1, help="dropout before the head (default: the backbone's own)"
    )
    accumulate: int = option(1, low=1, help="number of batches to accumulate gradients over")
    clip_norm: float = option(5.0, low=0, high=1e9, help="largest gradient norm; 0 means no limit")
    ema: float = option(
        0.0,
        low=0,
        below=1,
        help="decay of the moving average of the weights, which becomes the model; 0 turns it off",
    )
    sam: float = option(
        0.0, low=0, high=10, help="radius of sharpness-aware minimization (arXiv:2010.01412); 0 turns it off"
    )
    patience: int = option(
        0,
        low=0,
        help=("stop after this many fine-tuning epochs without a better validation AUC; 0 never stops early"),
    )
    recalibrate_batches: int | None = option(
        None,
        low=0,
        help=(
            "number of batches for re-estimating batch-norm statistics before the first step "
            f"(default: {_RECALIBRATION_BATCHES} in mode full, else 0)"
        ),
    )
    temporal: Literal["", "lstm", "transformer"] = option(
        "", help="train this sequence model on sequences of crops (default: train on single crops)"
    )
    clip_frames: int = option(16, low=1, help="most crops per sequence, with `temporal`")
    precision: Precision = option(
        "auto", help="training precision; auto uses bf16 or fp16 if the hardware supports it"
    )
    num_workers: int = option(2, low=0, help="number of processes that read crops")
    device: Literal["auto", "cpu", "cuda"] = option("auto", help="device to train on")
    seed: int = option(0, low=0, below=2**32, help="random seed")
    save_every: int = option(
        500, low=0, help="steps between checkpoints of the run; 0 saves only after each epoch"
    )
    save_epochs: tuple[int, ...] = option(
        (),
        low=0,
        metavar="N,N,...",
        help=("epochs whose detectors to keep as well, counted over both stages; 0 is before the first step"),
    )
    sanity: bool = option(True, help="skip the sanity checks")
    tensorboard: bool = option(False, help="log to TensorBoard")
    wandb: bool = option(False, help="log to Weights & Biases")
    mlflow: bool = option(False, help="log to MLflow")
    name: str = option("detector", help="name of the detector")
    version: str = option("1.0", flag="--detector-version", help="version of the detector")
    where: str | None = option(
        None, metavar="EXPR", help="SQL condition that selects rows of the manifest (default: all rows)"
    )
    allow_leak: tuple[str, ...] = option(
        (),
        choices=_names_of("data.audit_report", "LEAK_KINDS"),
        metavar="KIND",
        help=("train even if the splits share videos, identities, identical-crops or near-duplicate-crops"),
    )

    def __post_init__(self) -> None:
        # Written in Python, a path may be text and a tuple a list.
        object.__setattr__(self, "out", Path(self.out))
        object.__setattr__(self, "save_epochs", tuple(sorted(set(self.save_epochs))))
        for name in ("teachers", "allow_leak"):
            object.__setattr__(self, name, tuple(map(str, getattr(self, name))))
        check_options(self)
        self._check_epochs()
        self._check_finetune()
        self._check_sphere()
        if self.forgery:
            self._check_forgery()
        if self.temporal:
            self._check_temporal()
        if self.balance == "pairs" and self.batch_size % 2:
            raise OptionError(
                "batch_size", f"is {self.batch_size}, but pairs need an even one", "pass 2 or more"
            )
        if self.sam and self.precision == "fp16":
            raise OptionError("sam", "needs two exact gradients per step", "choose `precision` no or bf16")

    @property
    def allowed_leaks(self) -> tuple[LeakKind, ...]:
        """``allow_leak``, checked."""
        return cast("tuple[LeakKind, ...]", self.allow_leak)

    @property
    def num_epochs(self) -> int:
        """Epochs of both stages."""
        return self.head_epochs + self.epochs

    @property
    def num_recalibration_batches(self) -> int:
        """Batches to measure batch-norm statistics on before the first step."""
        if self.recalibrate_batches is not None:
            return self.recalibrate_batches
        is_adapted = self.finetune == "full" and self.batchnorm == "adapt"
        return _RECALIBRATION_BATCHES if is_adapted else 0

    @property
    def trains_on_stored_fakes(self) -> bool:
        """Whether fakes of the manifest are trained on."""
        return not self.forgery or self.forgery_share < 1

    def to_text(self) -> dict[str, str]:
        """Return the options as text, as ``config.json`` keeps them."""
        return {name: str(value) for name, value in asdict(self).items()}

    def _check_epochs(self) -> None:
        if self.num_epochs == 0:
            raise OptionError("epochs", "is 0 and so is `head_epochs`", "train for at least one epoch")
        check_epochs(self.save_epochs, self.num_epochs)

    def _check_finetune(self) -> None:
        if "scratch" in parse_finetune(self.finetune) and self.weights is not None:
            raise OptionError(
                "finetune", "scratch starts from random weights", "omit `weights`, or choose full"
            )

    def _check_forgery(self) -> None:
        parse_blends(self.forgery)
        if self.temporal or self.balance != "pairs":
            raise OptionError(
                "forgery", "pairs each fake with its real", "choose `balance` pairs, and omit `temporal`"
            )

    def _check_sphere(self) -> None:
        if self.alignment and (self.mixup or self.cutmix):
            raise OptionError("alignment", "compares crops of one class", "omit `mixup` and `cutmix`")

    def _check_temporal(self) -> None:
        if self.stem != type(self).stem:
            raise OptionError("stem", "is for single crops", "omit `stem` or `temporal`")
        if self.head != type(self).head or self.pooling is not None:
            raise OptionError("head", "belongs to the sequence model", "omit `head` and `pooling`")
        if self.balance == "pairs":
            raise OptionError("balance", "sequences cannot be paired", "choose sampler, weight or none")
        if self.mixup or self.cutmix:
            raise OptionError("mixup", "mixes crops, not sequences", "omit `mixup` and `cutmix`")
        if self.teachers:
            raise OptionError("teachers", "score crops, not sequences", "omit `teachers` or `temporal`")
