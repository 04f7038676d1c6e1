"""The tensors of a published file, read without unpickling anything else."""

from __future__ import annotations

import tarfile
import tempfile
import zipfile
from pathlib import Path

import torch

from deepfake_detect.errors import WeightsError
from deepfake_detect.models.state_dicts import read_state_dict
from deepfake_detect.models.tensor_file import read_tensors

_LARGEST_MEMBER = 2**33


def read_state(path: Path, *, member: str = "") -> dict[str, torch.Tensor]:
    """Return the tensors of a published file by name.

    Wrappers such as ``{"state_dict": ...}`` are opened; what is no tensor (epochs, optimizers) is left out.

    Args:
        path: ``.safetensors``, Keras' ``.h5``, or whatever ``torch.save`` wrote, of any suffix.
        member: Name in a zip or tar archive.

    Raises:
        WeightsError: The file is missing or damaged, holds no tensors, or needs more than tensors to be
            unpickled.
    """
    if not path.is_file():
        raise WeightsError(path, "there is no such file", "download it again")
    if member:
        return _read_member(path, member)
    if path.suffix == ".safetensors":
        return read_tensors(path, WeightsError)[0]
    return _read_keras(path) if path.suffix in (".h5", ".hdf5") else read_state_dict(path).tensors


def _read_keras(path: Path) -> dict[str, torch.Tensor]:
    """Read ``layer/layer/kernel:0`` of a Keras file as ``layer/kernel:0``."""
    import h5py

    found: dict[str, torch.Tensor] = {}

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind == "f":
            first, _, rest = name.removeprefix("model_weights/").partition("/")
            found[rest if rest.startswith(f"{first}/") else f"{first}/{rest}"] = torch.from_numpy(node[()])

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise WeightsError(path, f"is not a complete HDF5 file ({error})", "download it again") from error
    return found


def _read_member(path: Path, member: str) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / Path(member).name
        try:
            if tarfile.is_tarfile(path):  # first: a tar of a zip looks like a zip, by its end
                with tarfile.open(path) as archive:
                    _check_member(path, archive.getmember(member).size)
                    stream = archive.extractfile(member)
                    target.write_bytes(stream.read() if stream else b"")
            else:
                with zipfile.ZipFile(path) as zipped:
                    _check_member(path, zipped.getinfo(member).file_size)
                    target.write_bytes(zipped.read(member))
        except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise WeightsError(
                path, f"has no readable member {member} ({error})", "download it again"
            ) from error
        return read_state(target)


def _check_member(path: Path, size: int) -> None:
    if size > _LARGEST_MEMBER:
        raise WeightsError(
            path, f"contains a member of {size:,} bytes", f"at most {_LARGEST_MEMBER:,} are read"
        )
