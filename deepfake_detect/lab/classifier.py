"""Training of any network on a small set of labeled images, for studies and to evaluate GANs.

:mod:`training.loop` trains detectors on videos of people. Here all images are in memory, and an epoch is
a few lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deepfake_detect.device import choose_device, keep_freed_memory
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.io.files import write_json
from deepfake_detect.lab.labeled_images import LabeledImages, read_labeled
from deepfake_detect.lab.options import ClassifierConfig, ClassifierRunConfig
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.tensor_file import save_tensors
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.training.config import Optimizer
from deepfake_detect.training.kept_epochs import epoch_file
from deepfake_detect.training.run_folder import open_run_folder

CLASSIFIER_NAME, RUN_NAME = "classifier.safetensors", "run.json"
_EVALUATION_BATCH = 1000
_OPTIMIZERS: dict[Optimizer, Callable[..., torch.optim.Optimizer]] = {
    "adadelta": torch.optim.Adadelta,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
}


@dataclass(frozen=True)
class ClassifierEpoch:
    """Results of an epoch.

    Attributes:
        epoch: From 1.
        train_loss, test_loss: Mean cross-entropy in nats.
        train_accuracy, test_accuracy: Fractions of correctly classified images, 0 to 1.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


def train_classifier_run(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: ClassifierRunConfig | None = None,
    *,
    log: Callable[[str], None] | None = None,
    show_progress: bool = True,
) -> list[ClassifierEpoch]:
    """Train a classifier of small images, and write it to a folder.

    Writes ``classifier.safetensors``, ``run.json`` with options and history, ``log.txt``, and the weights
    of ``config.save_epochs`` into ``epochs/``.

    Args:
        data: Images with their classes, as for :func:`labeled_images.read_labeled`.
        out: Folder of the run; results of an earlier run are replaced.
        config: Options; the defaults when ``None``.
        log: Called with each line of the log as well, such as ``print``.
        show_progress: Whether to show a progress bar.

    Returns:
        One record per epoch.

    Raises:
        DatasetLayoutError: The images cannot be read, or are not square.
        OptionError: The backbone is unknown.
        OutputError: The folder cannot be written to, or another process trains in it.
    """
    config, folder = config or ClassifierRunConfig(), Path(out)
    images = read_labeled(Path(data))
    _, height, width, channels = images.train_images.shape
    if height != width:
        raise DatasetLayoutError(data, f"has images of {width} x {height}", "make them square")
    torch.manual_seed(config.seed)
    model = create_model(
        config.backbone, num_classes=len(images.class_names), in_chans=channels, image_size=height
    )
    num_parameters = sum(parameter.numel() for parameter in model.parameters())

    def keep(epoch: int, network: nn.Module) -> None:
        if epoch in config.save_epochs:
            save_tensors(epoch_file(folder, epoch), network.state_dict(), {})

    with open_run_folder(folder, log=log) as run:
        run.log(
            f"{config.backbone}: {counted(num_parameters, 'parameter')}; {len(images.train_labels):,} "
            "training images"
        )
        for file in folder.glob("epochs/epoch-*.safetensors"):
            file.unlink()  # of another network
        history = train_classifier(model, images, config, after_epoch=keep, show_progress=show_progress)
        for record in history:
            run.log(
                f"epoch {record.epoch:>3}: loss {record.train_loss:.4f}, "
                f"accuracy {record.train_accuracy:.4f}; on test images loss {record.test_loss:.4f}, "
                f"accuracy {record.test_accuracy:.4f}"
            )
        facts = {
            "backbone": config.backbone,
            "num_parameters": num_parameters,
            "class_names": images.class_names,
            "image_size": height,
            "history": [asdict(record) for record in history],
        }
        save_run(folder, model, config, facts)
        run.log(f"wrote {folder / CLASSIFIER_NAME}")
    return history


def train_classifier(
    model: nn.Module,
    images: LabeledImages,
    config: ClassifierConfig,
    *,
    after_epoch: Callable[[int, nn.Module], None] | None = None,
    show_progress: bool = True,
) -> list[ClassifierEpoch]:
    """Train a network, in place, to classify images.

    Test images are evaluated after each epoch but select nothing: the weights of the last epoch are kept.

    Args:
        model: float32 images (N, C, H, W) in [0, 1] to logits (N, classes).
        images: Training and test images.
        config: Options.
        after_epoch: Called with the number of each finished epoch, and 0 before the first, and the
            network in evaluation mode.
        show_progress: Whether to show a progress bar.

    Returns:
        One record per epoch. The network is left in evaluation mode.
    """
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(config.seed)
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _OPTIMIZERS[config.optimizer](model.parameters(), lr=config.learning_rate)
    train = _tensors(images.train_images, images.train_labels, device)
    test = _tensors(images.test_images, images.test_labels, device)
    rng = np.random.default_rng(config.seed)
    history: list[ClassifierEpoch] = []
    if after_epoch is not None:
        after_epoch(0, model.eval())
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("epochs", total=config.epochs, note="")
        for epoch in range(1, config.epochs + 1):
            train_loss, train_accuracy = _train_epoch(model, optimizer, train, config, rng)
            test_loss, test_accuracy = measure_classifier(model, *test)
            history.append(ClassifierEpoch(epoch, train_loss, train_accuracy, test_loss, test_accuracy))
            progress.update(task, advance=1, note=f"test accuracy {test_accuracy:.4f}")
            if after_epoch is not None:
                after_epoch(epoch, model.eval())
    return history


@torch.inference_mode()
def measure_classifier(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return the mean cross-entropy in nats and the accuracy of a network; it is left in evaluation mode.

    Args:
        model: Images to logits.
        images: uint8 (N, C, H, W), on the network's device.
        labels: int64 (N,).
    """
    model.eval()
    logits = torch.cat([model(_scaled(batch)) for batch in torch.split(images, _EVALUATION_BATCH)])
    loss = nn.functional.cross_entropy(logits, labels)
    return float(loss), float((logits.argmax(1) == labels).float().mean())


def save_run(folder: Path, model: nn.Module, config: ClassifierConfig, facts: dict[str, Any]) -> None:
    """Write a network's weights, its options, and facts such as its history, into a folder.

    Args:
        folder: Of the run.
        model: The trained network.
        config: How it was trained.
        facts: What JSON can hold; the readers need ``backbone`` and ``class_names``.
    """
    trained_with = {one.name: getattr(config, one.name) for one in fields(ClassifierConfig)}
    save_tensors(folder / CLASSIFIER_NAME, model.state_dict(), {})
    write_json(folder / RUN_NAME, {"config": trained_with, **facts})


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: tuple[torch.Tensor, torch.Tensor],
    config: ClassifierConfig,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Train for an epoch; return the mean loss and accuracy of its batches."""
    model.train()
    images, labels = train
    order = torch.from_numpy(rng.permutation(len(labels))).to(labels.device)
    total_loss, num_correct = 0.0, 0
    for indices in _without_singles(torch.split(order, config.batch_size)):
        batch = _scaled(images[indices])
        if config.flips_and_shifts:
            batch = _flipped_and_shifted(batch, rng)
        logits = model(batch)
        loss = nn.functional.cross_entropy(logits, labels[indices])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total_loss += float(loss.detach()) * len(indices)
        num_correct += int((logits.argmax(1) == labels[indices]).sum())
    return total_loss / len(labels), num_correct / len(labels)


def _without_singles(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Merge a last batch of one image into the previous one: batch norm needs two."""
    if len(batches) > 1 and len(batches[-1]) == 1:
        return [*batches[:-2], torch.cat([batches[-2], batches[-1]])]
    return list(batches)


def _tensors(
    images: np.ndarray, labels: np.ndarray, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return torch.from_numpy(channels_first).to(device), torch.from_numpy(labels).to(device)


def _scaled(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images as float32 in [0, 1], channels last in memory."""
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)


def _flipped_and_shifted(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Mirror half of the images, and shift each by up to a tenth; border pixels are repeated."""
    is_flipped = torch.from_numpy(rng.random(len(images)) < 0.5).to(images.device)
    images = torch.where(is_flipped[:, None, None, None], images.flip(3), images)
    margin = max(1, images.shape[3] // 10)
    padded = nn.functional.pad(images, (margin,) * 4, mode="replicate")
    height, width = images.shape[2:]
    tops, lefts = (torch.from_numpy(rng.integers(0, 2 * margin + 1, len(images))) for _ in range(2))
    rows = (tops[:, None] + torch.arange(height)).to(images.device)  # (N, H)
    columns = (lefts[:, None] + torch.arange(width)).to(images.device)  # (N, W)
    numbers = torch.arange(len(images), device=images.device)[:, None, None]
    shifted = padded.permute(0, 2, 3, 1)[numbers, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return shifted.permute(0, 3, 1, 2)
