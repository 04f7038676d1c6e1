"""Whether a fetched detector of the zoo is still the published one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.errors import CheckpointError, FetchError
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.zoo.entry import ZooEntry
from deepfake_detect.models.zoo.store import (
    ZOO_PREFIX,
    FetchedFile,
    FetchRecord,
    local_detector,
    read_record,
    usable_entry,
    zoo_folder,
)

_TOLERANCE = 1e-4  # of a logit, relative where it is above 1


@dataclass(frozen=True)
class ZooCheck:
    """The result of :func:`verify_zoo`: everything held.

    Attributes:
        name: Of the entry.
        path: The detector file.
        files: Published files, whose hashes were compared.
        num_tensors: Tensors that were converted again, and are the detector's bit by bit.
        largest_difference: Of the logits of the fixed patterns from those after the conversion.
        is_calibrated: Whether the user has calibrated it.
    """

    name: str
    path: Path
    files: tuple[FetchedFile, ...]
    num_tensors: int
    largest_difference: float
    is_calibrated: bool


def verify_zoo(name: str) -> ZooCheck:
    """Verify a downloaded detector: hashes, layout, and the logits of fixed patterns.

    Args:
        name: Of the zoo.

    Raises:
        CheckpointError: It has not been downloaded yet, or its weights or logits differ from those at
            conversion.
        FetchError: A published file has another hash than when it was fetched, or than its authors give.
        OptionError: There is no such name.
        WeightsError: A file does not fit the network.

    Example:
        >>> verify_zoo("meso4-df").num_tensors  # doctest: +SKIP
        32
    """
    import torch

    from deepfake_detect.models.checkpoint import read_detector
    from deepfake_detect.models.zoo.convert import check_logits, convert_entry

    entry = usable_entry(name)
    path = local_detector(ZOO_PREFIX + entry.name)
    record = read_record(entry.name)
    _check_hashes(entry, record)
    model, config = read_detector(path)
    paths = [path.parent / file.name for file in record.files]
    again, _ = convert_entry(
        entry, paths, network=record.network, sha256=[file.sha256 for file in record.files]
    )
    tensors, wanted = model.state_dict(), again.state_dict()
    if other := [one for one in wanted if one not in tensors or not torch.equal(wanted[one], tensors[one])]:
        cause = f"contains other weights than its published file ({other[0]})"
        raise CheckpointError(path, cause, f"delete {path.parent}, and download it again")
    pairs = zip(check_logits(model), record.check_logits, strict=True)
    differences = [abs(now - then) / max(1.0, abs(then)) for now, then in pairs]
    if not max(differences) <= _TOLERANCE:
        cause = f"gives different logits than right after conversion, by {max(differences):.2g}"
        raise CheckpointError(path, cause, "look for a broken installation of PyTorch or timm")
    return ZooCheck(entry.name, path, record.files, len(wanted), max(differences), config.is_calibrated)


def _check_hashes(entry: ZooEntry, record: FetchRecord) -> None:
    published = {file.sha256 for file in (*entry.files, *entry.equivalents)}
    for file in record.files:
        path = zoo_folder(entry.name) / file.name
        if not path.is_file():
            raise FetchError(path, "there is no such file", f"delete {path.parent}, and download it again")
        if (found := sha256_of_file(path)) != file.sha256:
            cause = f"has the SHA-256 {found}, and had {file.sha256} when it was fetched"
            raise FetchError(path, cause, f"delete {path.parent}, and download it again")
        if None not in published and found not in published:
            cause = f"has the SHA-256 {found}, which is not that of the published file"
            raise FetchError(path, cause, f"delete {path.parent}, and download it again")
