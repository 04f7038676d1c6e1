"""Weights that a run keeps of chosen epochs, to compare them later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import atomic_path

if TYPE_CHECKING:
    from torch import nn


def check_epochs(epochs: Sequence[int], num_epochs: int) -> None:
    """Check that a run reaches the epochs to keep.

    Args:
        epochs: To be kept; 0 is before the first.
        num_epochs: Of the run.

    Raises:
        OptionError: One of them is out of range.

    Example:
        >>> check_epochs((0, 2), num_epochs=2)
    """
    for epoch in epochs:
        if not 0 <= epoch <= num_epochs:
            cause = f"names epoch {epoch} of a run of {num_epochs}"
            raise OptionError("save_epochs", cause, f"must be 0 to {num_epochs}")


def remove_epochs(run: Path) -> None:
    """Remove the epochs that an earlier run kept in a folder: they are of another network."""
    for file in (run / "epochs").glob("epoch-*.safetensors"):
        file.unlink()


def epoch_file(run: Path, epoch: int) -> Path:
    """Return where a run keeps the weights of an epoch.

    Example:
        >>> epoch_file(Path("run"), 3).as_posix()
        'run/epochs/epoch-0003.safetensors'
    """
    return run / "epochs" / f"epoch-{epoch:04d}.safetensors"


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a network's weights as safetensors, atomically."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    written = save(tensors)  # in memory: safetensors hides the reason when a write to a full disk fails
    with atomic_path(path) as temporary:
        temporary.write_bytes(written)
