"""Pretrained weights: where they are published, and reading a local file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepfake_detect.errors import FetchError, WeightsError
from deepfake_detect.io.fetch import fetch_file
from deepfake_detect.models.hdf5_weights import is_of_keras, read_weights_h5
from deepfake_detect.models.metadata import CHECKSUM_KEY, read_bytes
from deepfake_detect.models.spec import DETECTOR_FORMAT
from deepfake_detect.models.state_dicts import read_state_dict
from deepfake_detect.models.tensor_file import read_tensors
from deepfake_detect.models.zoo.state import read_state

_MAX_EMBEDDING = 4096
_ENCODER = "encoder."  # in front of the backbone's tensors in a detector's file


@dataclass(frozen=True)
class PublishedWeights:
    """A published file of weights.

    Attributes:
        url: Its address.
        sha256: Start of its SHA-256 as the publisher gives it (torchvision publishes 8 digits,
            in the file's name), or ``None`` where the publisher gives none.
        license: As stated by the publisher.
    """

    url: str
    sha256: str | None
    license: str


_FACENET_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
_TORCHVISION = "https://download.pytorch.org/models/"
PUBLISHED_WEIGHTS: dict[tuple[str, str], PublishedWeights] = {
    ("facenet", "vggface2"): PublishedWeights(
        _FACENET_RELEASE + "20180402-114759-vggface2.pt", None, "MIT; trained on VGGFace2"
    ),
    ("facenet", "casia-webface"): PublishedWeights(
        _FACENET_RELEASE + "20180408-102900-casia-webface.pt", None, "MIT; trained on CASIA-WebFace"
    ),
    ("vgg16", "imagenet"): PublishedWeights(_TORCHVISION + "vgg16-397923af.pth", "397923af", "BSD-3-Clause"),
    ("vgg19", "imagenet"): PublishedWeights(_TORCHVISION + "vgg19-dcbb9e9d.pth", "dcbb9e9d", "BSD-3-Clause"),
    ("vgg16_bn", "imagenet"): PublishedWeights(
        _TORCHVISION + "vgg16_bn-6c64b313.pth", "6c64b313", "BSD-3-Clause"
    ),
    ("vgg19_bn", "imagenet"): PublishedWeights(
        _TORCHVISION + "vgg19_bn-c79401a0.pth", "c79401a0", "BSD-3-Clause"
    ),
}


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """Tensors of a file by name (floating ones as float32), and its metadata."""

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]


def fetch_weights(published: PublishedWeights, *, folder: Path | None = None) -> Path:
    """Download a file once; later calls return the cached copy without network access.

    Args:
        published: What to fetch.
        folder: Where to keep it; :func:`io.files.cache_folder` when ``None``.

    Returns:
        Path of the file.

    Raises:
        WeightsError: The file cannot be fetched, or has another hash than its publisher gives.
    """
    try:
        return fetch_file(published.url, folder=folder, sha256=published.sha256)
    except FetchError as error:
        remedy = f"{error.remedy}, or pass a local file as `weights`"
        raise WeightsError(error.subject, error.cause, remedy) from error


def read_weights_file(path: str | os.PathLike[str]) -> WeightsFile:
    """Read the tensors of ``.safetensors``, ``.h5`` (of :mod:`hdf5_weights`, or of Keras, whose tensors are
    named ``layer/kernel:0``), or a torch file (see :mod:`state_dicts`).

    From a detector file the backbone is read, with the input that it was trained for.

    Raises:
        WeightsError: The file is missing, damaged, or holds something other than named tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(file, "there is no such file", "check the path of the weights")
    readers = {".safetensors": _read_safetensors, ".h5": _read_hdf5, ".hdf5": _read_hdf5}
    tensors, metadata = readers.get(file.suffix, _read_torch)(file)
    if metadata.get("format") == DETECTOR_FORMAT:
        tensors, metadata = _backbone_of(file, tensors, metadata)
    floats = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return WeightsFile(floats, metadata)


def _backbone_of(
    file: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and metadata of a detector's backbone, as a file of its own would hold them."""
    try:
        model = json.loads(metadata["config"])["model"]
        preprocessing, options, sequence = (
            model[key] for key in ("preprocessing", "backbone_options", "sequence")
        )
        hints = {"input_size": json.dumps([3, preprocessing["image_size"], preprocessing["image_size"]])}
        hints |= {f"input_{key}": json.dumps(preprocessing[key]) for key in ("mean", "std")}
        hints |= {key: str(value) for key, value in options.items() if key in ("pad_type", "embedding_size")}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        cause = f"is a detector whose config is damaged ({error!r})"
        raise WeightsError(file, cause, "download it again") from error
    backbone = {
        name.removeprefix(_ENCODER): tensor for name, tensor in tensors.items() if name.startswith(_ENCODER)
    }
    if not backbone or sequence is not None:
        raise WeightsError(file, "is a detector of sequences, which has no backbone alone", "pass another")
    return backbone, hints


def _read_safetensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    tensors, metadata = read_tensors(file, WeightsError)
    if CHECKSUM_KEY in metadata:
        read_bytes(file, kind="safetensors").check_weights(WeightsError)
    return tensors, metadata


def _read_hdf5(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    return (read_state(file), {}) if is_of_keras(file) else read_weights_h5(file)


def _read_torch(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    return read_state_dict(file).tensors, {}


def preprocessing_hints(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what a weights file's metadata say about its network's input, as ``create_model`` options.

    Understood keys: ``input_size`` ([3, H, W], or one number), ``input_mean``, ``input_std`` or ``mean``,
    ``std`` ([0, 1] range, with brackets or without), ``pad_type`` (timm's option for convolutions padded
    as TensorFlow does) and ``embedding_size`` (of FaceNet).

    Raises:
        WeightsError: One of them cannot be parsed.
    """
    hints: dict[str, Any] = {}
    try:
        if "input_size" in metadata:
            hints["image_size"] = int(_numbers(metadata["input_size"])[-1])
        for key in ("mean", "std"):
            if text := metadata.get(f"input_{key}", metadata.get(key)):
                hints[key] = tuple(map(float, _numbers(text)))
        if "embedding_size" in metadata:
            hints["backbone_options"] = {"embedding_size": _embedding_size(metadata["embedding_size"])}
    except (TypeError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
        cause = f"their metadata cannot be read ({error})"
        raise WeightsError("weights", cause, "download them again") from error
    if "pad_type" in metadata:
        hints["backbone_options"] = {"pad_type": metadata["pad_type"]}
    return hints


def _numbers(text: str) -> list[Any]:
    """Return the numbers of a list, which may lack its brackets."""
    numbers: list[Any] = json.loads(f"[{text.strip().removeprefix('[').removesuffix(']')}]")
    return numbers


def _embedding_size(text: str) -> int:
    if not 1 <= (size := int(text)) <= _MAX_EMBEDDING:
        raise ValueError(f"embedding_size is {size}, not 1 to {_MAX_EMBEDDING}")
    return size
