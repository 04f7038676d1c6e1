"""Manifest -> feature file, one row per crop, resumable.

Rows are kept in parts next to the file (``features.h5.parts``), each written atomically, and merged
into it at the end in one step: a run that is killed loses only what came after its last part, and the
file is never half written. The next run merges the parts that are there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Subset

from deepfake_detect._version import __version__
from deepfake_detect.data.crops import CropBatch, CropDataset, collate_readable, read_crop, reading_worker
from deepfake_detect.data.fetched import local_manifest
from deepfake_detect.data.identities import identity_key
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.transforms import crop_to_tensor
from deepfake_detect.device import choose_device, keep_freed_memory
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.features.extractor import NamedExtractor, build_extractor
from deepfake_detect.features.feature_file import (
    UNSPLIT,
    FeatureFile,
    FeatureInfo,
    FeatureTable,
    FeatureWriter,
    concatenate,
)
from deepfake_detect.features.options import ExtractionOptions, FeatureSource
from deepfake_detect.io.files import atomic_path, file_lock, make_folder, sha256_of_file
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.work import RayOptions, TaskFailure, map_tasks

_COLUMNS = (
    *("dataset", "split", "method", "label", "video_id", "frame_index", "track_id", "target_id", "path"),
)
_MAX_NAMED = 20


@dataclass(frozen=True)
class ExtractedFeatures:
    """The result of an extraction.

    Attributes:
        num_new: Rows added.
        num_known: Rows that were there already, in the file or in parts of a killed run.
        unreadable: Paths of crops that could not be read; the next run tries them again.
        groups: Split, forgery method and number of rows of each group of the file.
    """

    num_new: int
    num_known: int
    unreadable: tuple[str, ...]
    groups: tuple[tuple[str, str, int], ...] = ()


def extract_features(
    manifest: str | os.PathLike[str] | Manifest,
    out: str | os.PathLike[str],
    *,
    backbone: str | None = FeatureSource.backbone,
    weights: str | None = FeatureSource.weights,
    detector: str | None = FeatureSource.detector,
    layer: str | None = FeatureSource.layer,
    is_spatial: bool = FeatureSource.is_spatial,
    where: str | None = ExtractionOptions.where,
    batch_size: int = ExtractionOptions.batch_size,
    num_workers: int | None = ExtractionOptions.num_workers,
    device: str | torch.device = "auto",
    cluster: RayOptions | None = None,
    show_progress: bool = True,
) -> ExtractedFeatures:
    """Write the features of a manifest's crops to an HDF5 file, adding only those that are missing.

    Args:
        manifest: Manifest, or its path or URL.
        out: The HDF5 file; features of a split and method are under ``/SPLIT/METHOD``.
        backbone, weights, detector, layer, is_spatial: The network, see :class:`FeatureSource`.
        where, batch_size, num_workers: See :class:`ExtractionOptions`.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        cluster, show_progress: See :func:`add_features`.

    Returns:
        Counts, and the groups of the file.

    Raises:
        OptionError, WeightsError, CheckpointError: The network cannot be built.
        OptionError, ManifestError, OutputError: As for :func:`add_features`.
    """
    source = FeatureSource(backbone, weights, detector, layer, is_spatial)
    options = ExtractionOptions(where, batch_size, num_workers)
    rows = manifest if isinstance(manifest, Manifest) else read_manifest(local_manifest(manifest))
    return add_features(
        rows if options.where is None else rows.where(options.where),
        build_extractor(source),
        out,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        # On a cluster each worker chooses its device, from the GPUs that it was given.
        device=device if cluster is not None else choose_device(device),
        cluster=cluster,
        show_progress=show_progress,
    )


def add_features(
    manifest: Manifest,
    extractor: NamedExtractor,
    out: str | os.PathLike[str],
    *,
    batch_size: int = 32,
    rows_per_part: int = 4096,
    num_workers: int | None = None,
    device: str | torch.device = "cpu",
    cluster: RayOptions | None = None,
    show_progress: bool = True,
) -> ExtractedFeatures:
    """Add to a file the features of a manifest's crops that it does not hold yet.

    A row is recognized by video, track and frame. Memory holds one part of the features, the columns of
    the manifest, and 16 bytes per row of the file.

    Args:
        manifest: Rows wanted.
        extractor: Of ``build_extractor``.
        out: The HDF5 file, created if missing.
        batch_size: Crops per batch, 1 or more.
        rows_per_part: Most rows that a killed run loses, 1 or more.
        num_workers: Processes that read crops; the number of cores, at most 8, when ``None``.
        device: As for ``load_detector``.
        cluster: Ray cluster whose workers read the crops and compute the features, in place of
            ``num_workers``. All its machines need the crops and the weights under the same paths; the
            file is written here. Crops that crashed three workers count as unreadable.
        show_progress: Whether to show a progress bar.

    Returns:
        Counts, and the groups of the file.

    Raises:
        OptionError: The file holds features of another network, layer or cut; a number is out of range.
        ManifestError: There is no row; the file is damaged; known rows have another label, split or
            method now; no crop can be read.
        OutputError: The file cannot be written, or another run is writing it.
    """
    if manifest.num_rows == 0:
        raise ManifestError(manifest.path, "has no rows to extract", "choose other rows")
    for name, value in {"batch_size": batch_size, "rows_per_part": rows_per_part}.items():
        if value < 1:
            raise OptionError(name, f"is {value}", "must be 1 or more")
    if num_workers is not None and num_workers < 0:
        raise OptionError("num_workers", f"is {num_workers}", "must be 0 or more")
    target, network = Path(out), extractor.network
    info = FeatureInfo(
        source=extractor.source_facts,
        card=extractor.card,
        preprocessing=network.model.spec.preprocessing,
        geometry=extractor.geometry or manifest.geometry,
        feature_shape=network.feature_shape,
    )
    parts = make_folder(target.parent / f"{target.name}.parts")
    with file_lock(parts, what="extraction of features"):
        stored, known = _known_rows(target, parts, info)
        columns = manifest.columns(_COLUMNS)
        wanted = _unknown_rows(manifest, columns, known)
        unreadable: list[int] = []
        with progress_bar(enabled=show_progress) as progress:
            task = progress.add_task("crops", total=len(wanted), note="")
            if cluster is None:
                batches = _batches(manifest, info, wanted, batch_size, num_workers)
                computed = _computed(batches, extractor, choose_device(device))
            else:
                blocks = np.split(wanted, range(batch_size, len(wanted), batch_size))
                computed = _computed_on(cluster, manifest, extractor, info, blocks, str(device))
            read = _readable(computed, unreadable, lambda count: progress.advance(task, count))
            folders = manifest.root.resolve(), target.parent.resolve()
            tables = (_table(rows, features, columns, *folders) for rows, features in read)
            stored += _write_parts(_in_parts(tables, rows_per_part), parts, info, stored)
        if not stored and len(unreadable) == len(columns) > 0:
            raise ManifestError(manifest.root, "none of its crops can be read", "extract the faces again")
        _merge(target, info, stored, manifest)
    shutil.rmtree(parts, ignore_errors=True)
    paths = columns["path"].take(pa.array(unreadable, pa.int64())).to_pylist()
    if paths:
        named = ", ".join(str(manifest.root / path) for path in paths[:_MAX_NAMED])
        warnings.warn(f"skipped {counted(len(paths), 'crop')} that cannot be read: {named}", stacklevel=2)
    num_new, num_known = len(wanted) - len(unreadable), len(columns) - len(wanted)
    return ExtractedFeatures(num_new, num_known, tuple(paths), tuple(FeatureFile(target).groups))


def image_features(extractor: NamedExtractor, paths: Sequence[Path]) -> np.ndarray:
    """Return the features (N, ...), float32, of image files that are crops already, on the CPU.

    Raises:
        ManifestError: One cannot be read.
    """
    preprocessing = extractor.network.model.spec.preprocessing
    with torch.inference_mode():
        features = [extractor.network(crop_to_tensor(read_crop(path), preprocessing)[None]) for path in paths]
    found: np.ndarray = torch.cat(features).float().numpy()
    return found


def _known_rows(target: Path, parts: Path, info: FeatureInfo) -> tuple[list[Path], np.ndarray]:
    """Return the parts of a killed run that are not merged yet, and the keys of all known rows."""
    known = np.zeros((0, 2), np.uint64)
    if target.exists():
        file = FeatureFile(target)
        _check_same_network(file, info)
        known = _keys_of_file(file)
    unmerged = []
    for part in sorted(parts.glob("part-*.h5")):
        try:
            file = FeatureFile(part)
            keys = _keys_of_file(file)
        except ManifestError as error:
            warnings.warn(f"{part.name} of an earlier run is extracted again: {error.cause}", stacklevel=3)
            part.unlink()
            continue
        _check_same_network(file, info)
        if np.isin(keys[:, 0], known[:, 0]).all():
            part.unlink()  # the run was killed after the merge
        else:
            unmerged.append(part)
            known = np.concatenate([known, keys])
    return unmerged, known


def _check_same_network(file: FeatureFile, info: FeatureInfo) -> None:
    for name in ("source", "preprocessing", "geometry", "feature_shape"):
        there, wanted = getattr(file.info, name), getattr(info, name)
        if name == "source":  # the same weights may be elsewhere by now
            there, wanted = (
                {key: one[key] for key in ("weights_sha256", "layer", "is_spatial")}
                for one in (there, wanted)
            )
        if there != wanted:
            raise OptionError(
                "out",
                f"{file.path} contains features with {name} {there}, not {wanted}",
                "choose another file",
            )


def _keys_of_file(file: FeatureFile) -> np.ndarray:
    keys = [
        _keys(t.video_ids, t.track_ids, t.frame_indices, t.splits, t.methods, t.labels)
        for t in file.columns()
    ]
    return np.concatenate([np.zeros((0, 2), np.uint64), *keys])


def _keys(
    videos: Iterable[str], tracks: Any, frames: Any, splits: Any, methods: Any, labels: Any
) -> np.ndarray:
    """Return uint64 (N, 2): a hash of which crop a row is, and a hash of its labels too."""
    numbers = zip(np.asarray(tracks).tolist(), np.asarray(frames).tolist(), strict=True)
    which = [f"{video}\n{track}\n{frame}" for video, (track, frame) in zip(videos, numbers, strict=True)]
    labeled = zip(splits, methods, np.asarray(labels).tolist(), strict=True)
    return np.array(
        [
            (_hash(crop), _hash(f"{crop}\n{split}\n{method}\n{label}"))
            for crop, (split, method, label) in zip(which, labeled, strict=True)
        ],
        np.uint64,
    ).reshape(-1, 2)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _unknown_rows(manifest: Manifest, columns: pa.Table, known: np.ndarray) -> np.ndarray:
    """Return the rows whose crop is not known, int64, ascending."""
    videos, methods = columns["video_id"].to_pylist(), columns["method"].to_pylist()
    splits = [split or UNSPLIT for split in columns["split"].to_pylist()]
    numbers = [columns[name].to_numpy() for name in ("track_id", "frame_index", "label")]
    keys = _keys(videos, numbers[0], numbers[1], splits, methods, numbers[2])
    is_known = np.isin(keys[:, 0], known[:, 0])
    changed = is_known & ~np.isin(keys[:, 1], known[:, 1])
    if changed.any():
        video = videos[int(np.flatnonzero(changed)[0])]
        raise ManifestError(
            manifest.path,
            f"{counted(int(changed.sum()), 'crop')}, for example of {video}, had another split, method or "
            "label when their features were extracted",
            "extract into another file",
        )
    return np.flatnonzero(~is_known)


def _batches(
    manifest: Manifest, info: FeatureInfo, wanted: np.ndarray, batch_size: int, num_workers: int | None
) -> Iterable[CropBatch]:
    dataset = CropDataset(manifest, info.preprocessing, geometry=info.geometry)
    workers = min(8, os.cpu_count() or 1) if num_workers is None else num_workers
    return DataLoader(
        Subset(dataset, wanted.tolist()),
        batch_size=batch_size,
        num_workers=workers if len(wanted) else 0,
        collate_fn=collate_readable,
        worker_init_fn=reading_worker,
    )


_Computed: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, their features, and rows that cannot be read."""


def _computed(
    batches: Iterable[CropBatch], extractor: NamedExtractor, device: torch.device
) -> Iterator[_Computed]:
    if device.type == "cpu":
        keep_freed_memory()
    network = extractor.network.to(device).to(memory_format=torch.channels_last)
    for batch in batches:
        features = np.zeros((0, *network.feature_shape), np.float32)
        if len(batch.rows):
            images = batch.images.to(device, non_blocking=True)
            with torch.inference_mode():
                features = network(images.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()
        yield batch.rows.numpy(), features, batch.unreadable_rows.numpy()


def _computed_on(
    cluster: RayOptions,
    manifest: Manifest,
    extractor: NamedExtractor,
    info: FeatureInfo,
    blocks: Sequence[np.ndarray],
    device: str,
) -> Iterator[_Computed]:
    """Compute blocks on a cluster and yield them in order, so that the file equals that of one machine."""
    make_worker = partial(_BlockWorker, manifest, extractor.source, info, device)
    for rows, result in map_tasks(blocks, make_worker, engine="ray", ray=cluster, in_order=True):
        if isinstance(result, TaskFailure):
            which = f"rows {rows[0]:,} to {rows[-1]:,}"
            warnings.warn(
                f"{which} crashed {counted(result.num_attempts, 'worker')} ({result.cause})", stacklevel=2
            )
            yield rows[:0], np.zeros((0, *info.feature_shape), np.float32), rows
        else:
            yield result


class _BlockWorker:
    """Computes the features of rows, in a process of a cluster."""

    def __init__(self, manifest: Manifest, source: FeatureSource, info: FeatureInfo, device: str) -> None:
        self._extractor = build_extractor(source)
        self._crops = CropDataset(manifest, info.preprocessing, geometry=info.geometry)
        self._device = choose_device(device)

    def __call__(self, rows: np.ndarray) -> _Computed:
        batch = collate_readable([self._crops[int(row)] for row in rows])
        (computed,) = _computed([batch], self._extractor, self._device)
        return computed


def _readable(
    computed: Iterable[_Computed], unreadable: list[int], on_rows: Callable[[int], None]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows with their features; collect rows that cannot be read."""
    for rows, features, others in computed:
        unreadable += others.tolist()
        if len(rows):
            yield rows, features
        on_rows(len(rows) + len(others))


def _table(
    numbers: np.ndarray, features: np.ndarray, columns: pa.Table, root: Path, folder: Path
) -> FeatureTable:
    """Return features with the columns of their rows, whose paths become relative to ``folder``."""
    rows = columns.take(numbers).to_pydict()
    people = zip(rows["dataset"], rows["target_id"], strict=True)
    return FeatureTable(
        features=features,
        labels=np.array(rows["label"], np.int8),
        video_ids=_texts(rows["video_id"]),
        frame_indices=np.array(rows["frame_index"], np.int32),
        track_ids=np.array(rows["track_id"], np.int32),
        identities=_texts(identity_key(dataset, one) if one else "" for dataset, one in people),
        paths=_texts(os.path.relpath(root / path, folder) for path in rows["path"]),
        splits=_texts(split or UNSPLIT for split in rows["split"]),
        methods=_texts(rows["method"]),
    )


def _texts(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)


def _write_parts(
    tables: Iterator[FeatureTable], folder: Path, info: FeatureInfo, earlier: Sequence[Path]
) -> list[Path]:
    """Write each table as a part after the earlier ones; return the new parts."""
    first = 1 + max((int(part.stem.rsplit("-", 1)[-1]) for part in earlier), default=0)
    written = []
    for number, table in enumerate(tables, start=first):
        part = folder / f"part-{number:06d}.h5"
        with atomic_path(part) as temporary, FeatureWriter.create(temporary, info) as writer:
            writer.append(table)
        written.append(part)
    return written


def _in_parts(tables: Iterator[FeatureTable], num_rows: int) -> Iterator[FeatureTable]:
    """Concatenate tables until each has ``num_rows`` rows; the last may have fewer."""
    pending: list[FeatureTable] = []
    for table in tables:
        pending.append(table)
        if sum(map(len, pending)) >= num_rows:
            yield concatenate(pending)
            pending = []
    if pending:
        yield concatenate(pending)


def _merge(target: Path, info: FeatureInfo, parts: Sequence[Path], manifest: Manifest) -> None:
    """Merge parts into the file in one step; without parts, an existing file stays unchanged."""
    if not parts and target.exists():
        return
    run = {
        "path": str(manifest.path),
        "sha256": sha256_of_file(manifest.path),
        "where": list(manifest.filters),
        "library_version": __version__,
    }
    with atomic_path(target) as temporary:
        if target.exists():
            shutil.copyfile(target, temporary)
            opened = FeatureWriter.extend(temporary, manifests=[run])
        else:
            opened = FeatureWriter.create(temporary, info, manifests=[run])
        with opened as writer:
            for part in parts:
                for table in FeatureFile(part).batches():
                    writer.append(table)
