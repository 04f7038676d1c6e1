"""Named tensors with metadata in a safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from deepfake_detect.errors import DeepfakeDetectError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.models.metadata import CHECKSUM_KEY, safetensors_parts, sha256_of


def read_tensors(
    file: Path, error: type[DeepfakeDetectError], *, remedy: str = "download it again"
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file by name, and its metadata.

    Raises:
        DeepfakeDetectError: Of the kind ``error``: the file is not complete.
    """
    try:
        with safe_open(file, framework="pt") as reader:
            return {name: reader.get_tensor(name) for name in reader.keys()}, reader.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as reason:
        raise error(file, f"is not a complete safetensors file ({reason})", remedy) from reason


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file with a checksum, atomically; the same content is written as the same bytes."""
    # The memory layout of training (channels last) does not belong into the file.
    laid_out = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # In memory: safetensors hides why a write to a full disk failed.
    written = memoryview(save(laid_out, metadata=dict(metadata)))
    data = 8 + int.from_bytes(written[:8], "little")
    header = json.loads(bytes(written[8:data]))
    header["__metadata__"] = {**metadata, CHECKSUM_KEY: sha256_of(safetensors_parts(written)[1])}
    # safetensors writes the metadata in an order that differs from process to process.
    packed = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for part in (len(packed).to_bytes(8, "little"), packed, written[data:]):
            file.write(part)
