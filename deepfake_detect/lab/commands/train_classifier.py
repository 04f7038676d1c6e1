"""Train any network to name the class of small images, such as MNIST's digits.

Images are held in memory: MNIST's idx files, or train and test with a folder for each class. Test
images are measured after each epoch and select nothing. Leaves classifier.safetensors and run.json,
and with --save-epochs the weights of those epochs.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.training.config import Optimizer
from deepfake_detect.training.kept_epochs import (
    check_epochs,
    epoch_file,
    parse_epochs,
    remove_epochs,
    save_weights,
)

if TYPE_CHECKING:
    from torch import nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with MNIST's files, or train and test"
    )
    parser.add_argument("--backbone", default="small_cnn", help="(default small_cnn)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--epochs", type=int, default=12, help="(default 12)")
    parser.add_argument("--batch-size", type=int, default=128, help="(default 128)")
    parser.add_argument(
        "--optimizer", choices=get_args(Optimizer), default="adadelta", help="(default adadelta)"
    )
    parser.add_argument("--learning-rate", type=float, default=1.0, help="(default 1)")
    parser.add_argument("--flips-and-shifts", action="store_true", help="mirror and move training images")
    parser.add_argument(
        "--save-epochs", metavar="N,N,...", help="epochs whose weights are kept, 0 being before the first"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    import torch

    from deepfake_detect.lab.classifier import ClassifyConfig, save_run, train_classifier
    from deepfake_detect.lab.labeled_images import read_labeled
    from deepfake_detect.models.classifier import create_model

    options = vars(arguments)
    config = ClassifyConfig(**{name: options[name] for name in ClassifyConfig.__dataclass_fields__})
    kept = _epochs_to_keep(arguments)
    images = read_labeled(arguments.data)
    _, height, width, channels = images.train_images.shape
    if height != width:
        raise DatasetLayoutError(arguments.data, f"has images of {width} x {height}", "make them square")
    torch.manual_seed(config.seed)
    model = create_model(
        arguments.backbone, num_classes=len(images.class_names), in_chans=channels, image_size=height
    )
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{arguments.backbone}: {num_parameters:,} parameters; {len(images.train_labels):,} training images"
    )
    remove_epochs(arguments.out)
    history = train_classifier(
        model, images, config, after_epoch=lambda epoch, network: _keep(arguments.out, kept, epoch, network)
    )
    for record in history:
        print(
            f"epoch {record.epoch:>3}: loss {record.train_loss:.4f}, accuracy {record.train_accuracy:.4f}; "
            f"on test images loss {record.test_loss:.4f}, accuracy {record.test_accuracy:.4f}"
        )
    facts = {
        "backbone": arguments.backbone,
        "num_parameters": num_parameters,
        "class_names": images.class_names,
        "image_size": height,
        "history": [asdict(record) for record in history],
    }
    save_run(arguments.out, model, config, facts)
    print(f"wrote {arguments.out / 'classifier.safetensors'}")
    return 0


def _epochs_to_keep(arguments: argparse.Namespace) -> tuple[int, ...]:
    if arguments.save_epochs is None:
        return ()
    epochs = parse_epochs(arguments.save_epochs, parameter="save_epochs")
    check_epochs(epochs, arguments.epochs)
    return epochs


def _keep(folder: Path, kept: tuple[int, ...], epoch: int, network: nn.Module) -> None:
    """Write the weights of an epoch that is to be kept."""
    if epoch in kept:
        save_weights(epoch_file(folder, epoch), network)
