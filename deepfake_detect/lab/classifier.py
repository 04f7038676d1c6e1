"""Any network on a small set of labeled images: the loop of studies and of the judge of GANs.

The long loop (:mod:`training.loop`) is about forgeries, videos and people. Here are images of some
classes, all in memory, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deepfake_detect.device import choose_device, keep_freed_memory
from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import write_json
from deepfake_detect.lab.labeled_images import LabeledImages
from deepfake_detect.progress import progress_bar
from deepfake_detect.training.config import Optimizer
from deepfake_detect.training.kept_epochs import save_weights

_EVALUATED_AT_ONCE = 1000
_OPTIMIZERS: dict[Optimizer, Callable[..., torch.optim.Optimizer]] = {
    "adadelta": torch.optim.Adadelta,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
}


@dataclass(frozen=True)
class ClassifyConfig:
    """Options of a run.

    Attributes:
        epochs: How often all training images are seen.
        batch_size: Images a step.
        optimizer: Of the weights.
        learning_rate: Of the optimizer, the same all the time.
        seed: Of the order, of dropout and of augmentation (not of the network's first weights).
        flips_and_shifts: Whether each image is mirrored half of the time and moved by up to a tenth.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    epochs: int = 12
    batch_size: int = 128
    optimizer: Optimizer = "adadelta"
    learning_rate: float = 1.0
    seed: int = 0
    flips_and_shifts: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        for option in ("epochs", "batch_size"):
            if getattr(self, option) < 1:
                raise OptionError(option, f"is {getattr(self, option)}", "pass 1 or more")
        if self.optimizer not in _OPTIMIZERS:
            raise OptionError(
                "optimizer", f"{self.optimizer!r} is unknown", f"choose {', '.join(_OPTIMIZERS)}"
            )
        if not 0 <= self.seed < 2**32:
            raise OptionError("seed", f"is {self.seed}", "pass 0 up to below 2**32")
        if not self.learning_rate > 0:
            raise OptionError("learning_rate", f"is {self.learning_rate}", "pass a number above 0")


@dataclass(frozen=True)
class ClassifyEpoch:
    """One epoch: mean training loss in nats, and shares of images that were named right (0 to 1)."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


def train_classifier(
    model: nn.Module,
    images: LabeledImages,
    config: ClassifyConfig,
    *,
    after_epoch: Callable[[int, nn.Module], None] | None = None,
    show_progress: bool = True,
) -> list[ClassifyEpoch]:
    """Train a network, in place, to name the class of images.

    The test images are measured after each epoch and select nothing: the network is the last epoch's.

    Args:
        model: Images float32 (N, C, H, W) in [0, 1] to logits (N, classes).
        images: What to train and to test on.
        config: How.
        after_epoch: Called with the number of each finished epoch, and 0 before the first, and the
            network in evaluation mode.
        show_progress: Whether to draw a progress bar.

    Returns:
        A record an epoch. The network is left in evaluation mode.
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
    history: list[ClassifyEpoch] = []
    if after_epoch is not None:
        after_epoch(0, model.eval())
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("epochs", total=config.epochs, note="")
        for epoch in range(1, config.epochs + 1):
            train_loss, train_accuracy = _one_epoch(model, optimizer, train, config, rng)
            test_loss, test_accuracy = measure_classifier(model, *test)
            history.append(ClassifyEpoch(epoch, train_loss, train_accuracy, test_loss, test_accuracy))
            progress.update(task, advance=1, note=f"test accuracy {test_accuracy:.4f}")
            if after_epoch is not None:
                after_epoch(epoch, model.eval())
    return history


@torch.inference_mode()
def measure_classifier(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return mean cross-entropy in nats and accuracy of a network, which is put into evaluation mode.

    Args:
        model: Images to logits.
        images: uint8 (N, C, H, W), on the network's device.
        labels: int64 (N,).
    """
    model.eval()
    logits = torch.cat([model(_scaled(some)) for some in torch.split(images, _EVALUATED_AT_ONCE)])
    loss = nn.functional.cross_entropy(logits, labels)
    return float(loss), float((logits.argmax(1) == labels).float().mean())


def save_run(folder: Path, model: nn.Module, config: ClassifyConfig, facts: dict[str, Any]) -> None:
    """Write a network's weights, how it was trained, and facts such as its history, into a folder."""
    save_weights(folder / "classifier.safetensors", model)
    write_json(folder / "run.json", {"config": asdict(config), **facts})


def _one_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: tuple[torch.Tensor, torch.Tensor],
    config: ClassifyConfig,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Train for an epoch; return mean loss and accuracy as the images came by."""
    model.train()
    images, labels = train
    order = torch.from_numpy(rng.permutation(len(labels))).to(labels.device)
    total_loss, num_right = 0.0, 0
    for chosen in _without_singles(torch.split(order, config.batch_size)):
        batch = _scaled(images[chosen])
        if config.flips_and_shifts:
            batch = _flipped_and_shifted(batch, rng)
        logits = model(batch)
        loss = nn.functional.cross_entropy(logits, labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total_loss += float(loss.detach()) * len(chosen)
        num_right += int((logits.argmax(1) == labels[chosen]).sum())
    return total_loss / len(labels), num_right / len(labels)


def _without_singles(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Put a last batch of one image to the one before: batch norm needs two."""
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
    """Mirror half of the images, and move each by up to a tenth, what comes in being its border."""
    is_flipped = torch.from_numpy(rng.random(len(images)) < 0.5).to(images.device)
    images = torch.where(is_flipped[:, None, None, None], images.flip(3), images)
    most = max(1, images.shape[3] // 10)
    padded = nn.functional.pad(images, (most,) * 4, mode="replicate")
    height, width = images.shape[2:]
    rows, columns = (torch.from_numpy(rng.integers(0, 2 * most + 1, len(images))) for _ in range(2))
    row_places = (rows[:, None] + torch.arange(height)).to(images.device)  # (N, H)
    column_places = (columns[:, None] + torch.arange(width)).to(images.device)  # (N, W)
    numbers = torch.arange(len(images), device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[numbers, row_places[:, :, None], column_places[:, None, :]]
    return moved.permute(0, 3, 1, 2)
