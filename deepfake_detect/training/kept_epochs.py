"""Weights that a run keeps of chosen epochs, to compare them later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepfake_detect.errors import OptionError


def check_epochs(epochs: Sequence[int], num_epochs: int) -> None:
    """Check that a run of ``num_epochs`` reaches the epochs to keep; 0 is before the first.

    Raises:
        OptionError: One of them is out of range.
    """
    for epoch in epochs:
        if not 0 <= epoch <= num_epochs:
            cause = f"names epoch {epoch} of a run of {num_epochs}"
            raise OptionError("save_epochs", cause, f"must be 0 to {num_epochs}")


def epoch_file(run: Path, epoch: int) -> Path:
    """Return where a run keeps the weights of an epoch.

    Example:
        >>> epoch_file(Path("run"), 3).as_posix()
        'run/epochs/epoch-0003.safetensors'
    """
    return run / "epochs" / f"epoch-{epoch:04d}.safetensors"
