"""The zoo's files in the cache folder: fetch and find. PyTorch is loaded only to convert.

A detector has a folder ``zoo/NAME`` in the cache, with the published files, the ``detector.safetensors``
that was made of them, and ``fetched.json``: hash of each file, layout, and logits of fixed patterns.
With ``DEEPFAKE_DETECT_ZOO_MIRROR`` set to an address, files are fetched from ``ADDRESS/NAME/FILE``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from deepfake_detect._version import __version__
from deepfake_detect.errors import CheckpointError, FetchError, OptionError, OutputError, WeightsError
from deepfake_detect.extras import is_installed, missing_library
from deepfake_detect.io.fetch import fetch_file, hub_address
from deepfake_detect.io.files import (
    atomic_path,
    cache_folder,
    make_folder,
    read_json,
    sha256_of_file,
    write_json,
)
from deepfake_detect.io.hub import fetch_detector, is_on_hub
from deepfake_detect.io.plain import from_plain
from deepfake_detect.models.zoo.entries import ZOO, find_entry
from deepfake_detect.models.zoo.entry import ZooEntry, ZooFile

ZOO_PREFIX = "zoo:"
"""In front of an entry's name, where a detector is named."""
DETECTOR_NAME, RECORD_NAME = "detector.safetensors", "fetched.json"
_MIRROR = "DEEPFAKE_DETECT_ZOO_MIRROR"
PathInput = str | os.PathLike[str]


@dataclass(frozen=True)
class FetchedFile:
    """A published file in the cache: its name there, its SHA-256, and where it came from."""

    name: str
    sha256: str
    source: str


@dataclass(frozen=True)
class FetchRecord:
    """What ``fetched.json`` says.

    Attributes:
        entry: Name of the detector.
        network: Layout of the files.
        files: In the order of the entry.
        check_logits: Of the fixed patterns, after the conversion.
        license: That was accepted.
        fetched_time: UTC, ISO 8601.
        library_version: Of this library, when it was converted.
    """

    entry: str
    network: str
    files: tuple[FetchedFile, ...]
    check_logits: tuple[float, ...]
    license: str
    fetched_time: str
    library_version: str = __version__


def list_zoo(containing: str = "") -> list[ZooEntry]:
    """Return the published detectors whose names contain a text.

    Example:
        >>> [entry.name for entry in list_zoo("gend")]
        ['gend-clip-l', 'gend-pe-l', 'gend-dinov3-l']
    """
    return [entry for name, entry in ZOO.items() if containing.lower() in name]


def zoo_folder(name: str) -> Path:
    """Return the folder of a detector in the cache, which need not exist."""
    return cache_folder() / "zoo" / name


def is_fetched(name: str) -> bool:
    """Return whether a detector of the zoo is in the cache."""
    return (zoo_folder(name) / DETECTOR_NAME).is_file()


def local_detector(detector: PathInput) -> Path:
    """Return the file of a detector: of ``zoo:NAME`` the one in the cache, else the path that was given.

    One on the Hugging Face Hub (``"hf://owner/name"``) is fetched first, and a checkpoint of another library
    is converted, where it holds all that scoring needs.

    Raises:
        OptionError: There is no such name in the zoo.
        CheckpointError: It was not fetched yet.
        FetchError: It cannot be downloaded from the hub.
        WeightsError: It cannot be used, and the reason is named.
    """
    text = os.fspath(detector)
    if is_on_hub(text):
        return fetch_detector(text)
    if not text.startswith(ZOO_PREFIX):
        from deepfake_detect.models.conversion import converted_detector, is_foreign

        path = Path(detector)
        return converted_detector(path) if is_foreign(path) else path
    entry = usable_entry(text)
    path = zoo_folder(entry.name) / DETECTOR_NAME
    if not path.is_file():
        remedy = f"run deepfake-detect zoo fetch {entry.name} --accept-license"
        raise CheckpointError(text, "has not been downloaded yet", remedy)
    return path


def fetch_zoo(
    name: str,
    *,
    accept_license: bool = False,
    files: Sequence[PathInput] = (),
    show_progress: bool = True,
) -> Path:
    """Download a published detector to the cache folder, check its hash, and convert it.

    An interrupted download resumes. If the authors publish no hash, the hash of the first download is
    stored and compared from then on. Only tensors are unpickled.

    Args:
        name: Of the zoo, see :func:`list_zoo`.
        accept_license: Whether the user accepts the license of the weights; the error without it names it.
        files: Local copies of the entry's files, in its order, instead of a download.
        show_progress: Whether to show a progress bar.

    Returns:
        The detector file. ``load_detector("zoo:NAME")`` loads it from then on.

    Raises:
        OptionError: There is no such name, the license is not accepted, another number of files is given,
            or PyTorch is not installed.
        FetchError: A file cannot be downloaded, or has another hash.
        WeightsError: A file does not fit the network, or the entry cannot be used.
        OutputError: The cache folder cannot be written to.

    Example:
        >>> fetch_zoo("meso4-df")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        deepfake_detect.errors.OptionError: accept_license: is not set, and the weights of meso4-df are ...
    """
    from filelock import FileLock

    entry = usable_entry(name)
    folder = zoo_folder(entry.name)
    if is_fetched(entry.name) and not files:
        return folder / DETECTOR_NAME
    if not accept_license:
        raise _license_error(entry)
    if not is_installed("torch"):
        raise missing_library("zoo", "torch")
    with FileLock(make_folder(folder) / ".lock"):
        found, network = _local_files(entry, files) if files else _downloads(entry, show_progress)
        return _convert(entry, found, network)


def read_record(name: str) -> FetchRecord:
    """Return what was recorded when a detector was fetched.

    Raises:
        CheckpointError: The record is missing or damaged.
    """
    path = zoo_folder(name) / RECORD_NAME
    try:
        return from_plain(FetchRecord, read_json(path))
    except (OutputError, ValueError) as error:
        cause = f"is missing or damaged ({error})"
        raise CheckpointError(path, cause, f"delete {path.parent}, and download it again") from error


def usable_entry(name: str) -> ZooEntry:
    """Return the entry of a name, with or without ``zoo:``.

    Raises:
        OptionError: There is none.
        WeightsError: It cannot be used, and the reason is named.
    """
    entry = find_entry(name)
    if entry.refused:
        raise WeightsError(entry.name, f"cannot be used: {entry.refused}", "choose another; see `zoo list`")
    return entry


def _license_error(entry: ZooEntry) -> OptionError:
    terms = " (no commercial use)" if entry.is_noncommercial else ""
    cause = f"is not set, and the weights of {entry.name} are under {entry.license}{terms}"
    return OptionError("accept_license", cause, f"read {entry.repository}, then set `accept_license`")


def _downloads(entry: ZooEntry, show_progress: bool) -> tuple[list[FetchedFile], str]:
    """Download an entry's files into its folder; those that are there are only checked."""
    folder = zoo_folder(entry.name)
    known = {one.name: one.sha256 for one in read_record(entry.name).files} if is_fetched(entry.name) else {}
    found = []
    for file in entry.files:
        address = _address(entry, file)
        wanted = file.sha256 or known.get(file.file_name)
        path = fetch_file(
            address, folder=folder, name=file.file_name, sha256=wanted, show_progress=show_progress
        )
        found.append(FetchedFile(path.name, sha256_of_file(path), address))
    return found, entry.network


def _address(entry: ZooEntry, file: ZooFile) -> str:
    mirror = os.environ.get(_MIRROR, "").rstrip("/")
    return f"{mirror}/{entry.name}/{file.file_name}" if mirror else hub_address(file.address)


def _local_files(entry: ZooEntry, files: Sequence[PathInput]) -> tuple[list[FetchedFile], str]:
    """Copy local files into an entry's folder, and return them with their layout."""
    if len(files) != len(entry.files):
        cause = f"are {len(files)}, and {entry.name} is made of {len(entry.files)}"
        names = ", ".join(file.file_name for file in entry.files)
        raise OptionError("files", cause, f"pass {names}, in this order")
    networks, found = [], []
    for path, published in zip(map(Path, files), entry.files, strict=True):
        if not path.is_file():
            raise FetchError(path, "there is no such file", f"pass {published.file_name}")
        sha256 = sha256_of_file(path)
        same = [one for one in (published, *entry.equivalents) if one.sha256 in (None, sha256)]
        if not same:
            cause = f"has the SHA-256 {sha256}, that of {entry.name} is {published.sha256}"
            raise FetchError(path, cause, f"download {published.address}")
        name = published.file_name if same[0] is published else path.name
        _copy(path, zoo_folder(entry.name) / name)
        found.append(FetchedFile(name, sha256, path.name))
        networks.append(same[0].network or entry.network)
    return found, networks[0]


def _copy(source: Path, target: Path) -> None:
    if not (target.exists() and source.samefile(target)):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _convert(entry: ZooEntry, files: Sequence[FetchedFile], network: str) -> Path:
    """Write the detector file of an entry, and the record of its files."""
    from deepfake_detect.models.checkpoint import save_detector
    from deepfake_detect.models.zoo.convert import check_logits, convert_entry

    folder = zoo_folder(entry.name)
    paths, hashes = [folder / file.name for file in files], [file.sha256 for file in files]
    model, config = convert_entry(entry, paths, network=network, sha256=hashes)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    logits = tuple(check_logits(model))
    record = FetchRecord(entry.name, network, tuple(files), logits, entry.license, now)
    write_json(folder / RECORD_NAME, asdict(record))
    save_detector(folder / DETECTOR_NAME, model, config)
    return folder / DETECTOR_NAME
