"""Tensors of anybody's checkpoint, read without unpickling and taken out of what stands next to them.

A file may be a state dict, or a training's checkpoint that holds one next to an optimizer, an epoch or a
moving average of the weights. Values of the plain kinds in ``_PLAIN`` are read and left out; a file
that names any other class is rejected, since opening it would run code.
"""

from __future__ import annotations

import argparse
import pathlib
import pickletools  # nosec B403 # reads names of operations, runs none
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from deepfake_detect.errors import WeightsError

# As timm does, the moving average is taken where there is one: it is what such a training evaluates.
_AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "module"),
    *("teacher", "student"),
)
_COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel
_DEEPEST = 4  # dicts within dicts
_REFUSED = re.compile(r"GLOBAL (\S+) (?:was not an allowed global|whose module \S+ is blocked)")
_SAVE = "torch.save(model.state_dict(), 'weights.pth')"


def _plain_classes() -> list[Any]:
    """Return classes without code of their own that trainings write next to weights, by pickled name."""
    scalar: Any = np.float64(0).__reduce__()[0]
    array: Any = np.zeros(0).__reduce__()[0]
    named = [(scalar, "scalar"), (array, "_reconstruct")]
    old_and_new = [
        (one, f"numpy.{core}.multiarray.{name}") for one, name in named for core in ("core", "_core")
    ]
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"}
    return [argparse.Namespace, pathlib.PosixPath, np.ndarray, np.dtype, *kinds, *old_and_new]


@dataclass(frozen=True, eq=False)
class StateDict:
    """The tensors of a checkpoint by name.

    Attributes:
        tensors: Under the names of the file.
        left_out: What else the file holds, in words.
    """

    tensors: dict[str, torch.Tensor]
    left_out: tuple[str, ...] = ()


def read_state_dict(file: Path) -> StateDict:
    """Read the tensors of a file of ``torch.save``, of a state dict or of a training's checkpoint.

    Of several state dicts in it the moving average is taken, else the one of a usual name
    (``state_dict``, ``model`` and others); parts under other names are put together as ``name.key``.

    Raises:
        WeightsError: The file is damaged, holds no tensors, or holds pickled objects of other classes.
    """
    content = _open(file)
    found = _take(content, _DEEPEST)
    if not found.tensors:
        cause = "contains no state dict, which gives tensors by name"
        raise WeightsError(file, cause, f"pass a file saved with {_SAVE}")
    return found


def _take(content: object, depth: int) -> StateDict:
    """Return the tensors of a dict, or of those within it."""
    if not isinstance(content, Mapping) or depth == 0:
        return StateDict({})
    named = {str(name): value for name, value in content.items()}
    tensors = {name: one for name, one in named.items() if isinstance(one, torch.Tensor) and name != _COUNTER}
    if any("." in name for name in tensors) or (tensors and tensors.keys() | {_COUNTER} >= named.keys()):
        return StateDict(tensors, tuple(sorted(named.keys() - tensors.keys())))
    within = {name: _take(value, depth - 1) for name, value in named.items() if "optim" not in name}
    parts = {name: part for name, part in within.items() if part.tensors}
    chosen = next((name for name in (*_AVERAGES, *_WRAPPERS) if name in parts), None)
    if chosen is not None or len(parts) == 1:
        chosen = chosen or next(iter(parts))
        others = sorted(named.keys() - {chosen})
        return StateDict(parts[chosen].tensors, (*others, *parts[chosen].left_out))
    joined = {f"{name}.{key}": one for name, part in parts.items() for key, one in part.tensors.items()}
    return StateDict(joined, tuple(sorted(named.keys() - parts.keys())))


def _open(file: Path) -> object:
    try:
        with torch.serialization.safe_globals(_plain_classes()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and archives, which the errors name
            # weights_only: a pickle from the web must not run code.
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many unrelated kinds for a damaged file
        raise _explained(file, str(error) or type(error).__name__) from error


def _explained(file: Path, reason: str) -> WeightsError:
    """Return the error for a file that torch.load cannot open safely."""
    if "TorchScript" in reason:
        cause = "is a TorchScript program; opening it would run its code"
        return WeightsError(file, cause, f"ask its author for only the tensors: {_SAVE}")
    refused = _REFUSED.search(reason)
    if refused is None:
        cause = f"cannot be read as torch weights ({reason.splitlines()[0].split('. ')[0]})"
        return WeightsError(file, cause, "download it again, or pass a file of torch.save")
    if _is_whole_object(file):
        cause = (
            f"is a whole pickled model ({refused[1]}), not its weights: opening it would run code from the "
            "file"
        )
        return WeightsError(file, cause, f"ask its author to load it and save only the weights: {_SAVE}")
    cause = f"contains an object of {refused[1]} next to its weights, and opening it would run code"
    return WeightsError(file, cause, f"ask its author for only the weights: {_SAVE}")


def _is_whole_object(file: Path) -> bool:
    """Return whether the outermost thing in a file of torch.save is an object and not a dict.

    The pickle's instructions are listed, none is carried out.
    """
    try:
        with open(file, "rb") as opened:
            if not zipfile.is_zipfile(opened):  # until torch 1.5: three pickles about the machine come first
                opened.seek(0)
                for _ in range(3):
                    list(pickletools.genops(opened))
                return _starts_with_object(opened)
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(name) as pickled:
                return _starts_with_object(pickled)
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return False


def _starts_with_object(pickled: IO[bytes]) -> bool:
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name == "EMPTY_DICT":
            return False
        if operation.name in ("GLOBAL", "STACK_GLOBAL"):
            return argument != "collections OrderedDict"
    return False
