"""Train a detector on a manifest with the splits train and val.

Before the first step it is made sure that data and network are fit to be trained; a manifest whose
splits share videos, people or pictures is refused. Then the head is trained on a frozen backbone,
then what --finetune names; the epoch with the best validation AUC over videos is kept. A run that was
stopped goes on when started again with the same options. Leaves detector.safetensors, history.csv,
history.png, confusion.png, predictions.csv, batch.png, config.json and log.txt in the folder, and with
--save-epochs detectors of those epochs, for filters to draw side by side.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from deepfake_detect.cli.leaks import add_row_arguments
from deepfake_detect.cli.places import place
from deepfake_detect.data.transforms import AUGMENTATIONS
from deepfake_detect.training.config import (
    PRECISIONS,
    Balance,
    BatchNorm,
    Loss,
    Optimizer,
    Schedule,
    TrainingConfig,
    read_config,
)
from deepfake_detect.training.finetune import FINETUNE_MODES

if TYPE_CHECKING:
    from deepfake_detect.training.history import TrainingResult

_NUMBERS = (
    ("image-size", int, "side of the input in pixels (default: the weights' own)"),
    ("top-blocks", int, "blocks that regime top trains"),
    ("lora-rank", int, "rank of the matrices of regime lora"),
    ("layer-decay", float, "rate of a block over that of the block above"),
    ("unfreeze-epochs", float, "epochs over which blocks join in, topmost first"),
    ("head-epochs", int, "epochs with the backbone frozen"),
    ("epochs", int, "epochs of fine-tuning after that"),
    ("batch-size", int, "crops a step and process"),
    ("focal-gamma", float, "exponent of the focal loss"),
    ("distillation", float, "share of the loss that is about the --teachers"),
    ("distillation-temperature", float, "what divides teachers' and student's logits in it"),
    ("label-smoothing", float, "share moved from each label towards 0.5"),
    ("mixup", float, "parameter of mixup, 0 is off"),
    ("cutmix", float, "parameter of CutMix, 0 is off"),
    ("learning-rate", float, "peak rate of the backbone"),
    ("head-learning-rate", float, "peak rate of the head"),
    ("tuned-head-learning-rate", float, "the head's, while the backbone is trained too (default: the same)"),
    ("weight-decay", float, "of the optimizer"),
    ("dropout", float, "before the head (default: the backbone's own)"),
    ("accumulate", int, "batches a step"),
    ("clip-norm", float, "largest norm of a gradient, 0 is any"),
    ("ema", float, "decay of the moving average of weights, 0 is off"),
    ("sam", float, "radius of sharpness-aware minimization, 0 is off"),
    ("patience", int, "epochs without a better validation AUC until the end, 0 is none"),
    (
        "recalibrate-batches",
        int,
        "batches that batch-norm statistics are first measured on (default: 60 in regime full)",
    ),
    ("forgery-share", float, "share of the pairs whose fake is made, with --forgery"),
    ("clip-frames", int, "crops of a sequence, with --temporal"),
    ("num-workers", int, "processes that read crops"),
    ("seed", int, "of initialization, order and augmentation"),
    ("save-every", int, "steps between two writings of the run's state"),
)
_CHOICES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("balance", get_args(Balance), "how both classes come to count alike"),
    ("loss", get_args(Loss), "binary cross-entropy or focal loss"),
    ("augmentation", AUGMENTATIONS, "what crops go through"),
    ("optimizer", get_args(Optimizer), "of the weights"),
    ("schedule", get_args(Schedule), "of the learning rate"),
    ("batchnorm", get_args(BatchNorm), "whether trained layers measure statistics anew"),
    ("temporal", ("lstm", "transformer"), "judge sequences of crops"),
    ("precision", PRECISIONS, "of computing"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS  # so that only options that are given replace a file's
    parser.add_argument("--config", type=Path, help="YAML file of options; flags stand above it")
    parser.add_argument("--manifest", type=place, help="manifest.parquet, path or URL (required)")
    parser.add_argument("--backbone", help="a name of 'deepfake-detect models' or of timm (required)")
    parser.add_argument("--weights", help="path or published name of pretrained weights (default: random)")
    parser.add_argument("--out", type=Path, help="folder of the run (required)")
    words = ", ".join(FINETUNE_MODES)
    parser.add_argument("--finetune", help=f"what is trained: {words}, or several joined by + (default full)")
    parser.add_argument("--head", help="on the backbone's features (default dropout)")
    parser.add_argument("--pooling", help="of features (default: the backbone's own)")
    add_row_arguments(parser, where="condition that rows fulfil", allow_leak="train although the splits leak")
    parser.add_argument(
        "--forgery", help="fakes made of the reals while training: sbi, cross or sbi+cross (default none)"
    )
    parser.add_argument(
        "--teachers",
        nargs="+",
        metavar="FILE",
        help="detectors whose mean logit on each crop is learned beside its label",
    )
    for name, kind, text in _NUMBERS:
        parser.add_argument(f"--{name}", type=kind, help=text + _default_of(name))
    for name, choices, text in _CHOICES:
        parser.add_argument(f"--{name}", choices=choices, help=text + _default_of(name))
    parser.add_argument(
        "--save-epochs",
        metavar="N,N,...",
        help="epochs whose detectors are kept too, 0 being before the first, head epochs counted",
    )
    parser.add_argument("--device", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--name", help="of the detector")
    parser.add_argument("--detector-version", dest="version", help="of the detector")
    parser.add_argument("--no-sanity", dest="sanity", action="store_false", help="start without the gates")
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard's events too")
    parser.add_argument(
        "--find-learning-rate",
        action="store_true",
        help="train with a growing rate for 100 steps, draw learning_rate.png in the folder, and end",
    )


def run(arguments: argparse.Namespace) -> int:
    options = {name: value for name, value in vars(arguments).items() if value is not None}
    if not options.get("allow_leak"):
        options.pop("allow_leak", None)
    finds_rate = options.pop("find_learning_rate", False)
    config = read_config(options.pop("config", None), **options)
    if finds_rate:
        return _find_rate(config)
    from deepfake_detect.training.loop import train

    result = train(config, say=print)
    if result.is_main_process:
        _leave_results(config, result)
    return 0


def _find_rate(config: TrainingConfig) -> int:
    from deepfake_detect.report.history import save_rate_figure
    from deepfake_detect.training.rate_finder import find_learning_rate

    search = find_learning_rate(config)
    path = config.out / "learning_rate.png"
    save_rate_figure(search.rates, search.losses, search.suggestion, path)
    print(f"suggested peak learning rate {search.suggestion:.1e}; wrote {path}")
    return 0


def _leave_results(config: TrainingConfig, result: TrainingResult) -> None:
    """Calibrate the detector, and write curves, confusion matrix and predictions."""
    from deepfake_detect.evaluation.calibrate import (
        CalibrationOptions,
        aggregation_lines,
        calibrate_detector,
    )
    from deepfake_detect.evaluation.predictions import save_predictions
    from deepfake_detect.report.history import save_confusion_figure, save_history_figure
    from deepfake_detect.training.forged import validation_source

    manifest, where = validation_source(config)
    calibrated = calibrate_detector(
        result.detector_path,
        manifest,
        split="val",
        where=where,
        device=config.device,
        options=CalibrationOptions(chooses_aggregation=True),
    )
    learned = (
        f"{'smoothed ' if config.label_smoothing else ''}labels{' and teachers' if config.teachers else ''}"
    )
    save_history_figure(result.history, config.out / "history.png", learned=learned)
    labels, probabilities = save_predictions(
        result.detector_path,
        manifest,
        config.out / "predictions.csv",
        split="val",
        where=where,
        device=config.device,
    )
    is_called_fake = probabilities >= calibrated.threshold
    save_confusion_figure(labels, is_called_fake, config.out / "confusion.png")
    print(
        f"selected epoch {result.best.epoch}: validation AUC {result.best.val_video_auc:.4f}, threshold "
        f"{calibrated.threshold:.3f}, temperature {calibrated.temperature:.2f}, uncertain from "
        f"{calibrated.uncertain_low:.3f} to {calibrated.uncertain_high:.3f}"
    )
    print("\n".join(aggregation_lines(calibrated)))
    print(f"wrote {result.detector_path}")


def _default_of(name: str) -> str:
    default: Any = TrainingConfig.__dataclass_fields__[name.replace("-", "_")].default
    return "" if default in (None, "") else f" (default {default})"
