"""Weights that a run keeps of chosen epochs, to be looked at side by side later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.errors import OptionError
from deepfake_detect.files import atomic_path

if TYPE_CHECKING:
    from torch import nn


def parse_epochs(text: str) -> tuple[int, ...]:
    """Return the epochs of a list such as ``"0,1,12"``, rising; 0 is before the first.

    Raises:
        OptionError: It is no such list.

    Example:
        >>> parse_epochs("12, 0,1")
        (0, 1, 12)
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise OptionError("epochs", f"{text!r} is no list of them", "write such as 0,1,12")
    return tuple(sorted({int(word) for word in words}))


def epoch_file(run: Path, epoch: int) -> Path:
    """Return where a run keeps the weights of an epoch.

    Example:
        >>> epoch_file(Path("run"), 3).as_posix()
        'run/epochs/epoch-0003.safetensors'
    """
    return run / "epochs" / f"epoch-{epoch:04d}.safetensors"


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a network's weights as safetensors, atomically."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
