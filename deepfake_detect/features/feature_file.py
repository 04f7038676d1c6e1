"""HDF5 of features by split and method, read in parts.

``/train/Deepfakes/features`` is float32 (N, ...), next to ``labels``, ``video_ids``,
``frame_indices``, ``track_ids``, ``identities`` and ``paths``, all of length N and extendable. Rows
without a split are under ``unsplit``. Attributes of the root describe the network and the crops.

Files are written atomically. A file that was truncated or changed later is rejected: the SHA-256 of its
content stands in its user block and is compared before HDF5 reads anything, since some damage ends the
process there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.io.plain import from_plain
from deepfake_detect.models.hdf5_file import LastingFile, writable_hdf5
from deepfake_detect.records import CropGeometry, Preprocessing

FORMAT = "deepfake_detect.features"
UNSPLIT = "unsplit"
"""Name of the group of rows without a split."""
_CHUNK_VALUES = 1 << 18  # about 1 MB of float32 per chunk
_CHUNK_ROWS = 4096  # of the other columns
_CACHE_BYTES = 64 << 20
_USER_BLOCK = 512  # bytes in front of the content, the smallest that HDF5 allows
_SEAL = b"deepfake_detect.features sha256 "
_HASH_LENGTH = 64
_TEXT = h5py.string_dtype("utf-8")
# What h5py and the reading of what it returns raise on damaged files.
_DAMAGE = (OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError)


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Rows of features, one per crop; every array has the same length N.

    Attributes:
        features: float32 (N, F) pooled, or (N, C, h, w) as maps.
        labels: int8 (N,), 1 = fake.
        video_ids: text (N,), object dtype.
        frame_indices: int32 (N,), from 0.
        track_ids: int32 (N,), the person's track within the video, from 0.
        identities: text (N,), the visible person, unique over datasets; ``""`` where unknown.
        paths: text (N,), of the crop, relative to the folder of the feature file.
        splits, methods: text (N,); a split is ``"unsplit"`` where there is none.
    """

    features: np.ndarray
    labels: np.ndarray
    video_ids: np.ndarray
    frame_indices: np.ndarray
    track_ids: np.ndarray
    identities: np.ndarray
    paths: np.ndarray
    splits: np.ndarray
    methods: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> FeatureTable:
        """Return some rows: int (M,) or bool (N,)."""
        return FeatureTable(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


# Dtype of each stored column except the features.
_COLUMNS: dict[str, Any] = {
    "labels": np.int8,
    "video_ids": _TEXT,
    "frame_indices": np.int32,
    "track_ids": np.int32,
    "identities": _TEXT,
    "paths": _TEXT,
}


@dataclass(frozen=True)
class FeatureInfo:
    """Network and crops of a file's features, the same for all rows.

    Attributes:
        source: How to build the network again, see :class:`extractor.FeatureSource`, as plain values.
        card: Description of the network: its weights' metadata, or the detector's config.
        preprocessing: Of the crops.
        geometry: How the crops were cut.
        feature_shape: (F,), or (C, h, w) of maps.
    """

    source: dict[str, Any]
    card: dict[str, Any]
    preprocessing: Preprocessing
    geometry: CropGeometry
    feature_shape: tuple[int, ...]


class Group(NamedTuple):
    """Rows of one split and method."""

    split: str
    method: str
    num_rows: int


class FeatureFile:
    """A feature file, opened for each call and closed again.

    Args:
        path: The HDF5 file.

    Attributes:
        info: Network and crops of the features.
        manifests: For each run that added rows: the manifest's ``path``, ``sha256`` and ``where``,
            and ``library_version``.
        groups: Sorted by name.

    Raises:
        ManifestError: The file is missing, truncated, damaged or of another kind.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "features.h5"
        >>> info = FeatureInfo({}, {}, Preprocessing(8, (0, 0, 0), (1, 1, 1)), CropGeometry(), (2,))
        >>> with FeatureWriter.create(path, info) as writer:
        ...     writer.append(feature_table(np.ones((3, 2)), split="val", method="Deepfakes"))
        >>> FeatureFile(path).groups, FeatureFile(path).read("val").features.shape
        ((Group(split='val', method='Deepfakes', num_rows=3),), (3, 2))
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ManifestError(self.path, "there is no such feature file", "make it with extract-features")
        _check_seal(self.path)
        with self._open() as file:
            values = {field.name: json.loads(file.attrs[field.name]) for field in fields(FeatureInfo)}
            self.info = from_plain(FeatureInfo, values, name="info")
            self.manifests: list[dict[str, Any]] = json.loads(file.attrs["manifests"])
            self.groups = tuple(
                Group(_plain(split), _plain(method), len(group["labels"]))
                for split, methods in file.items()
                for method, group in methods.items()
            )

    @property
    def root(self) -> Path:
        """Folder that the paths of crops are relative to."""
        return self.path.parent

    @property
    def num_rows(self) -> int:
        """Rows of all groups."""
        return sum(group.num_rows for group in self.groups)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that occur, by name."""
        return tuple(sorted({group.split for group in self.groups}))

    def choose(self, split: str | None = None, method: str | None = None) -> tuple[Group, ...]:
        """Return the groups of a split and a method; ``None`` takes all.

        Raises:
            OptionError: There is none.
        """
        chosen = tuple(
            one for one in self.groups if split in (None, one.split) and method in (None, one.method)
        )
        if not chosen:
            wanted = "/".join(name or "*" for name in (split, method))
            there = ", ".join(f"{one.split}/{one.method}" for one in self.groups)
            raise OptionError("split", f"{self.path} has no rows of {wanted}", f"there are {there}")
        return chosen

    def read(self, split: str | None = None, method: str | None = None) -> FeatureTable:
        """Return all rows of a split and a method in memory; ``None`` takes all. Errors as of
        :meth:`choose` and the class.
        """
        tables = list(self.batches(split, method, batch_size=max(self.num_rows, 1)))
        return concatenate(tables)

    def batches(
        self, split: str | None = None, method: str | None = None, *, batch_size: int = 4096
    ) -> Iterator[FeatureTable]:
        """Yield rows in the order of the file, at most ``batch_size`` of one group at a time.

        Raises:
            OptionError: There are no such rows, or ``batch_size`` is below 1.
            ManifestError: A chunk is damaged.
        """
        if batch_size < 1:
            raise OptionError("batch_size", f"is {batch_size}", "pass 1 or more")
        chosen = self.choose(split, method)
        with self._open() as file:
            for group in chosen:
                stored = file[_quoted(group.split)][_quoted(group.method)]
                for start in range(0, group.num_rows, batch_size):
                    yield _read_rows(stored, slice(start, start + batch_size), group)

    def columns(self) -> Iterator[FeatureTable]:
        """Yield each group's rows without their features, whose array is (N, 0)."""
        with self._open() as file:
            for group in self.groups:
                stored = file[_quoted(group.split)][_quoted(group.method)]
                yield _read_rows(stored, slice(None), group, with_features=False)

    def dataset(self, split: str | None = None, method: str | None = None) -> FeatureDataset:
        """Return rows as a torch dataset; errors as of :meth:`choose`."""
        return FeatureDataset(self, self.choose(split, method))

    @contextmanager
    def _open(self) -> Iterator[h5py.File]:
        try:
            with h5py.File(self.path, "r", rdcc_nbytes=_CACHE_BYTES) as file:
                if file.attrs.get("format") != FORMAT:
                    raise ManifestError(
                        self.path, "is not a feature file", "pass the `out` of extract_features"
                    )
                yield file
        except _DAMAGE as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ManifestError(
                self.path, f"is truncated or damaged ({reason})", "delete it and extract again"
            ) from error


class FeatureDataset(Dataset[tuple[torch.Tensor, int]]):
    """Map-style dataset of (float32 tensor, label); each process opens the file for itself.

    Neighboring rows are fast, since they are in the same compressed chunk; rows in random order are
    not: read what fits into memory with :meth:`FeatureFile.read`.
    """

    def __init__(self, file: FeatureFile, groups: tuple[Group, ...]) -> None:
        self._path = file.path
        self._names = [f"{_quoted(group.split)}/{_quoted(group.method)}" for group in groups]
        self._ends = np.cumsum([group.num_rows for group in groups])
        self._handle: tuple[int, h5py.File] | None = None

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        if not 0 <= row < len(self):
            raise IndexError(row)
        number = int(np.searchsorted(self._ends, row, side="right"))
        group = self._file()[self._names[number]]
        index = row - (int(self._ends[number - 1]) if number else 0)
        return torch.from_numpy(group["features"][index]), int(group["labels"][index])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def _file(self) -> h5py.File:
        # HDF5 must not be shared with a forked process.
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = (os.getpid(), h5py.File(self._path, "r", rdcc_nbytes=_CACHE_BYTES))
        return self._handle[1]


class FeatureWriter:
    """Adds rows to an open file; see :meth:`create` and :meth:`extend`.

    It writes to the very path: give it a temporary one (``files.atomic_path``).
    """

    def __init__(self, file: h5py.File, disk: LastingFile, feature_shape: tuple[int, ...]) -> None:
        self._file = file
        self._disk = disk
        self._shape = feature_shape

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, info: FeatureInfo, *, manifests: Iterable[Mapping[str, Any]] = ()
    ) -> Iterator[FeatureWriter]:
        """Give the writer of a new file."""
        with writable_hdf5(path, userblock_size=_USER_BLOCK, rdcc_nbytes=_CACHE_BYTES) as (file, disk):
            file.attrs["format"] = FORMAT
            for name, value in asdict(info).items():
                file.attrs[name] = json.dumps(value, allow_nan=False)
            _write_manifests(file, list(manifests))
            yield cls(file, disk, info.feature_shape)
        _seal(path)

    @classmethod
    @contextmanager
    def extend(cls, path: Path, *, manifests: Iterable[Mapping[str, Any]] = ()) -> Iterator[FeatureWriter]:
        """Give the writer of a file that is there, and note the manifests of the new rows."""
        with writable_hdf5(path, "r+", rdcc_nbytes=_CACHE_BYTES) as (file, disk):
            _write_manifests(file, [*json.loads(file.attrs["manifests"]), *manifests])
            yield cls(file, disk, tuple(json.loads(file.attrs["feature_shape"])))
            has_user_block = file.userblock_size > 0  # files of earlier versions have none
        if has_user_block:
            _seal(path)

    def append(self, table: FeatureTable) -> None:
        """Add rows of any splits and methods, each to the end of its group."""
        names = np.char.add(np.char.add(table.splits.astype(str), "\n"), table.methods.astype(str))
        for name in np.unique(names):
            rows = table.take(np.flatnonzero(names == name))
            group = self._file.require_group("/".join(map(_quoted, name.split("\n"))))
            if "labels" not in group:
                self._create_columns(group)
            start = len(group["labels"])
            for column in ("features", *_COLUMNS):
                group[column].resize(start + len(rows), axis=0)
                group[column][start:] = getattr(rows, column)
        self._disk.check()

    def _create_columns(self, group: h5py.Group) -> None:
        # Level 1: on floating point the higher ones take several times as long for a percent.
        packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
        rows = max(1, _CHUNK_VALUES // int(np.prod(self._shape)))
        group.create_dataset(
            "features",
            (0, *self._shape),
            np.float32,
            maxshape=(None, *self._shape),
            chunks=(rows, *self._shape),
            **packed,
        )
        for name, kind in _COLUMNS.items():
            # HDF5 stores texts of variable length outside their chunk, where its filters do not apply.
            filters = {} if kind is _TEXT else packed
            group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(_CHUNK_ROWS,), **filters)


def feature_table(
    features: np.ndarray, *, split: str | None, method: str, label: int = 0, video_ids: Iterable[str] = ()
) -> FeatureTable:
    """Return features that are of no crops, for example synthetic ones, as a table.

    Args:
        features: (N, ...), converted to float32.
        split, method, label: Of all rows; label 1 is fake.
        video_ids: One per row; without them each row is a separate video.
    """
    count = len(features)
    names = list(video_ids) or [f"{method}/{number}" for number in range(count)]
    zeros = np.zeros(count, np.int32)
    return FeatureTable(
        features=np.asarray(features, np.float32),
        labels=np.full(count, label, np.int8),
        video_ids=np.array(names, dtype=object),
        frame_indices=zeros,
        track_ids=zeros,
        identities=np.full(count, "", dtype=object),
        paths=np.full(count, "", dtype=object),
        splits=np.full(count, split or UNSPLIT, dtype=object),
        methods=np.full(count, method, dtype=object),
    )


def concatenate(tables: Iterable[FeatureTable]) -> FeatureTable:
    """Return one or more tables of one feature shape as one."""
    parts = list(tables)
    if len(parts) == 1:
        return parts[0]
    return FeatureTable(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(FeatureTable)
        }
    )


def _seal(path: Path) -> None:
    """Write the hash of a file's content into its user block."""
    digest = _sha256_of_content(path)
    with open(path, "r+b") as file:
        file.write(_SEAL + digest)


def _check_seal(path: Path) -> None:
    """Check the hash of a file's content; a file of an earlier version has none."""
    with open(path, "rb") as file:
        start = file.read(len(_SEAL) + _HASH_LENGTH)
    if start.startswith(_SEAL) and start.removeprefix(_SEAL) != _sha256_of_content(path):
        cause = "is truncated or damaged (its content does not have the hash that it was written with)"
        raise ManifestError(path, cause, "delete it and extract again")


def _sha256_of_content(path: Path) -> bytes:
    return sha256_of_file(path, start=_USER_BLOCK).encode()


def _write_manifests(file: h5py.File, manifests: list[Mapping[str, Any]]) -> None:
    file.attrs["manifests"] = json.dumps(manifests)
    if manifests:
        file.attrs["manifest_sha256"] = manifests[-1]["sha256"]
        file.attrs["library_version"] = manifests[-1]["library_version"]


def _read_rows(stored: h5py.Group, rows: slice, group: Group, *, with_features: bool = True) -> FeatureTable:
    columns: dict[str, Any] = {
        name: stored[name].asstr()[rows] if kind is _TEXT else stored[name][rows]
        for name, kind in _COLUMNS.items()
    }
    count = len(columns["labels"])
    features = stored["features"][rows] if with_features else np.zeros((count, 0), np.float32)
    group_columns = {
        "splits": np.full(count, group.split, dtype=object),
        "methods": np.full(count, group.method, dtype=object),
    }
    return FeatureTable(features=features, **columns, **group_columns)


def _quoted(name: str) -> str:
    """Return a name without ``/`` and ``.``, which have a meaning in HDF5."""
    quoted = name.replace("%", "%25").replace("/", "%2F")
    return quoted.replace(".", "%2E") if set(quoted) == {"."} else quoted


def _plain(quoted: str) -> str:
    return quoted.replace("%2F", "/").replace("%2E", ".").replace("%25", "%")
