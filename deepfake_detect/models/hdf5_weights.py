"""Weights of a network in HDF5: a dataset per tensor, with the metadata of a detector file."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import torch

from deepfake_detect.errors import WeightsError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.models.hdf5_file import writable_hdf5
from deepfake_detect.models.tensor_file import read_tensors

_GROUP = "weights"
_BFLOAT16 = "bfloat16"  # HDF5 has no such type: its 16 bits are stored


def export_weights_h5(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> int:
    """Write the tensors and metadata of a safetensors file, for example a detector, as HDF5, atomically.

    Tensor ``a.b`` is the dataset ``/weights/a.b``; metadata are texts under ``/metadata``. Tensors read
    back bit for bit.

    Args:
        source: ``detector.safetensors``, or bare weights.
        out: File to write.

    Returns:
        Number of tensors.

    Raises:
        WeightsError: The source is missing, or no complete safetensors file.
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> folder = Path(tempfile.mkdtemp())
        >>> save_file({"a": torch.ones(2)}, folder / "w.safetensors", metadata={"who": "me"})
        >>> export_weights_h5(folder / "w.safetensors", folder / "w.h5")
        1
        >>> read_weights_h5(folder / "w.h5")
        ({'a': tensor([1., 1.])}, {'who': 'me'})
    """
    file = Path(source)
    if not file.is_file():
        raise WeightsError(file, "there is no such file", "pass a detector.safetensors")
    tensors, metadata = read_tensors(file, WeightsError, remedy="pass a detector.safetensors")
    with atomic_path(out) as temporary, writable_hdf5(temporary) as (target, _):
        group = target.create_group(_GROUP)
        for name, tensor in tensors.items():
            _write(group, name, tensor)
        for key, value in metadata.items():
            # Not attributes: HDF5 limits them to 64 KB, and the digests of videos exceed that.
            target.create_dataset(f"metadata/{key}", data=value, dtype=h5py.string_dtype("utf-8"))
    return len(tensors)


def read_weights_h5(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what :func:`export_weights_h5` wrote: tensors by name, and metadata.

    Raises:
        WeightsError: The file is missing, damaged, or of another kind.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(file, "there is no such file", "check the path of the weights")
    try:
        with h5py.File(file, "r") as source:
            if _GROUP not in source:
                raise WeightsError(file, "contains no weights", "pass a file of export_weights_h5()")
            tensors = {name: _read(dataset) for name, dataset in source[_GROUP].items()}
            metadata = {key: dataset.asstr()[()] for key, dataset in source.get("metadata", {}).items()}
    except (OSError, RuntimeError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(file, f"is truncated or damaged ({reason})", "export it again") from error
    return tensors, metadata


def is_of_keras(file: Path) -> bool:
    """Return whether an HDF5 file is of Keras; ``False`` also where it cannot be opened."""
    try:
        with h5py.File(file, "r") as source:
            marks = {"layer_names", "keras_version", "backend"}
            return _GROUP not in source and (
                bool(marks & source.attrs.keys())
                or any(isinstance(source.get(f"{name}/{name}"), h5py.Group) for name in source)
                or "model_weights" in source
            )
    except (OSError, RuntimeError):
        return False


def _write(group: h5py.Group, name: str, tensor: torch.Tensor) -> None:
    is_bfloat16 = tensor.dtype == torch.bfloat16
    values = (tensor.view(torch.int16) if is_bfloat16 else tensor).contiguous().numpy()
    # HDF5 cannot compress or check a single number.
    packed = {} if values.ndim == 0 else {"compression": "gzip", "shuffle": True, "fletcher32": True}
    dataset = group.create_dataset(name, data=values, **packed)
    dataset.attrs["dtype"] = _BFLOAT16 if is_bfloat16 else str(tensor.dtype).removeprefix("torch.")


def _read(dataset: h5py.Dataset) -> torch.Tensor:
    values = torch.from_numpy(np.array(dataset[()]))
    return values.view(torch.bfloat16) if dataset.attrs["dtype"] == _BFLOAT16 else values
