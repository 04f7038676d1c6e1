"""Train a detector on a manifest with the splits train and val.

The head is trained first on a frozen backbone, then everything; the epoch with the best
validation AUC over videos is kept. A manifest whose splits share videos, people or pictures is
refused. A stopped run goes on when started again with the same options. Leaves
detector.safetensors, history.csv, history.png, config.json in the folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepfake_detect.cli.leaks import add_row_arguments
from deepfake_detect.data.transforms import AUGMENTATIONS
from deepfake_detect.training.config import PRECISIONS, TrainingConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.parquet of an extraction")
    parser.add_argument("--backbone", required=True, help="facenet, vgg16, vgg19 or a timm model name")
    parser.add_argument("--weights", help="path or published name of pretrained weights (default: random)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    add_row_arguments(parser, where="condition that rows fulfil", allow_leak="train although the splits leak")
    numbers = (
        ("head-epochs", int, "epochs with the backbone frozen"),
        ("epochs", int, "epochs of fine-tuning after that"),
        ("batch-size", int, "crops a step and process, half real and half fake"),
        ("learning-rate", float, "peak rate of the backbone"),
        ("head-learning-rate", float, "peak rate of the head"),
        ("weight-decay", float, "of AdamW"),
        ("dropout", float, "before the head (default: the backbone's own)"),
        ("label-smoothing", float, "share moved from each label towards 0.5"),
        ("recalibrate-batches", int, "batches that batch-norm statistics are first measured on"),
        ("num-workers", int, "processes that read crops"),
        ("seed", int, "of initialisation, order and augmentation"),
    )
    for name, kind, text in numbers:
        default = TrainingConfig.__dataclass_fields__[name.replace("-", "_")].default
        suffix = "" if default is None else f" (default {default})"
        parser.add_argument(f"--{name}", type=kind, default=default, help=text + suffix)
    parser.add_argument("--augmentation", choices=AUGMENTATIONS, default="strong", help="(default strong)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="(default auto)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--name", default="detector", help="of the detector")
    parser.add_argument("--detector-version", dest="version", default="1.0", help="of the detector")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.evaluation.calibrate import calibrate_detector
    from deepfake_detect.report.history import save_history_figure
    from deepfake_detect.training.loop import train

    options = {**vars(arguments), "allow_leak": tuple(arguments.allow_leak)}
    result = train(TrainingConfig(**options))
    if not result.is_main_process:
        return 0
    config = calibrate_detector(
        result.detector_path,
        arguments.manifest,
        split="val",
        where=arguments.where,
        device=arguments.device,
    )
    save_history_figure(result.history, arguments.out / "history.png")
    for record in result.history:
        mark = "*" if record is result.best else " "
        print(
            f"{mark} epoch {record.epoch:>2} {record.stage:<4}  train loss {record.train_loss:.3f}"
            f"  val loss {record.val_loss:.3f}  val AUC {record.val_video_auc:.4f} (videos)"
            f"  {record.images_per_second:.0f} crops/s  {record.seconds:.0f} s"
        )
    print(
        f"selected epoch {result.best.epoch}: threshold {config.threshold:.3f}, temperature "
        f"{config.temperature:.2f}, uncertain from {config.uncertain_low:.3f} to {config.uncertain_high:.3f}"
    )
    print(f"wrote {result.detector_path}", file=sys.stdout)
    return 0
