"""What a comparison needs of the authors' code."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import nn

from deepfake_detect.records import Face


def difference_of_classes(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the logit of class 1 over class 0 of a network with two outputs, (N,)."""
    logits = network(images)
    return logits[:, 1] - logits[:, 0]


def only_output(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the only output of a network, (N,)."""
    return network(images)[:, 0]


def state_dict(network: nn.Module, num_files: int) -> Sequence[dict[str, Any]]:
    """Return what the authors' only file holds: the state dict itself."""
    assert num_files == 1
    return [network.state_dict()]


@dataclass(frozen=True)
class Case:
    """A comparison of an entry with its authors' code.

    Attributes:
        entry: Name in the zoo.
        authors: Name of the checkout on the command line.
        build: From the checkout to the authors' network.
        logits: Network and images (N, 3, S, S) to logits (N,), positive for a fake.
        remark: What of the authors' was run, and with which versions.
        contents: Network and number of files to what each file of the authors holds.
        crop: Checkout, frame and face to the authors' crop, RGB uint8 (S, S, 3); ``None`` where they publish
            no cutting.
        num_crops: Crops to score.
        suffix: Of the authors' file.
        save: Writes a file.
        timm_prefix: Beginning of names that are timm's own, which ``--keys`` leaves out.
    """

    entry: str
    authors: str
    build: Callable[[Path], nn.Module]
    logits: Callable[[nn.Module, torch.Tensor], torch.Tensor] = difference_of_classes
    remark: str = ""
    contents: Callable[[nn.Module, int], Sequence[Any]] = state_dict
    crop: Callable[[Path, np.ndarray, Face], np.ndarray] | None = None
    num_crops: int = 4
    suffix: str = ".pth"
    save: Callable[[Any, Path], None] = torch.save
    timm_prefix: str | None = None


def load_module(path: Path, name: str) -> ModuleType:
    """Return a Python file as a module of the given name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def stand_ins(*names: str) -> Iterator[None]:
    """Let code import modules that are not installed and that building its network does not use."""
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: MagicMock() for name in names})
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def resized_pil(image: np.ndarray, size: int, filter_name: str) -> np.ndarray:
    """Return an image (H, W, 3) resized by Pillow to (size, size, 3)."""
    from PIL import Image

    resampling = getattr(Image.Resampling, filter_name)
    return np.asarray(Image.fromarray(image).resize((size, size), resampling))
