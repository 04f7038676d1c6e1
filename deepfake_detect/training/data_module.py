"""Batches of crops for a run: which crops, in what order, by which process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from torch.utils.data import DataLoader, Dataset, Subset

from deepfake_detect.data.clips import ClipDataset, collate_clips
from deepfake_detect.data.crops import (
    CropBatch,
    CropDataset,
    EpochBatches,
    EpochSampler,
    PairedBatchSampler,
    ShuffledBatchSampler,
    reading_worker,
)
from deepfake_detect.data.fetched import local_manifest
from deepfake_detect.data.identities import identity_sql
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.transforms import TrainingAugmentation
from deepfake_detect.errors import ManifestError
from deepfake_detect.forgery.blended_crops import (
    BlendedBatchSampler,
    BlendedCrops,
    Blender,
    RealsAndBlends,
    collate_blended,
)
from deepfake_detect.records import FAKE, REAL, Preprocessing
from deepfake_detect.training.config import TrainingConfig

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A crop, RGB uint8 (S, S, 3), and a random generator to a crop of the same shape."""
_SAMPLED_CROPS = 384


class CropDataModule:
    """Batches of one process of a run.

    Args:
        config: Of the run.
        train_rows, val_rows: Of the manifest.
        preprocessing: Of the network.
        rank: Number of this process.
        num_processes: Of the run.
        pins_memory: Whether batches go to a GPU.
        blender: Makes fakes from training reals; ``None`` without them.
        augment: Replaces the augmentation that the config names.
    """

    def __init__(
        self,
        config: TrainingConfig,
        train_rows: Manifest,
        val_rows: Manifest,
        *,
        preprocessing: Preprocessing,
        pins_memory: bool,
        rank: int = 0,
        num_processes: int = 1,
        blender: Blender | None = None,
        augment: Augment | None = None,
    ) -> None:
        augmentation = TrainingAugmentation(augment or config.augmentation, preprocessing.image_size)
        stored = {
            "train": _dataset(config, train_rows, train_rows, preprocessing, None),
            "val": _dataset(config, val_rows, train_rows, preprocessing, None),
        }
        augmented: Dataset[Any] = _dataset(config, train_rows, train_rows, preprocessing, augmentation)
        self._plain: dict[str, Dataset[Any]] = {**stored}
        self.train_labels = _labels(stored["train"], train_rows)
        self.val_labels = _labels(stored["val"], val_rows)
        self._order = EpochBatches(
            _sampler(config, train_rows, self.train_labels, blender),
            seed=config.seed,
            rank=rank,
            num_processes=num_processes,
        )
        if blender is not None:
            augmented = BlendedCrops(augmented, blender)  # type: ignore[arg-type]
        if blender is not None and not config.trains_on_stored_fakes:
            blended = BlendedCrops(stored["train"], blender)  # type: ignore[arg-type]
            self._plain["train"] = plain = RealsAndBlends(blended, blender.rows)
            self.train_labels = plain.labels
        self._options: dict[str, Any] = {
            "collate_fn": collate_clips if config.temporal else collate_blended,
            "num_workers": config.num_workers,
            "worker_init_fn": reading_worker,
            "pin_memory": pins_memory,
        }
        self._train = DataLoader(augmented, batch_sampler=self._order, **self._options)  # type: ignore[arg-type]
        own = range(rank, len(self.val_labels), num_processes)
        self._batch_size = config.batch_size
        self._val = self._loader(Subset(self._plain["val"], own), config.batch_size)

    @property
    def num_train_batches(self) -> int:
        """Batches per epoch and process."""
        return self._order.num_batches

    def train_batches(self, epoch: int, *, first: int = 0) -> Iterator[CropBatch]:
        """Yield this process's batches of an epoch, augmented, starting at batch ``first``."""
        self._order.start(epoch, first=first)
        return iter(self._train)

    def val_batches(self) -> DataLoader[Any]:
        """Return this process's part of the validation crops, in batches."""
        return self._val

    def plain_batch(self, split: str, count: int) -> CropBatch:
        """Return ``count`` crops of both classes without augmentation; ``ManifestError`` without any."""
        count = max(2, count)
        batch: CropBatch = next(iter(self._some(split, count, batch_size=count)))
        if not len(batch.rows):
            raise ManifestError(f"split {split}", "none of its crops can be read", "extract the videos again")
        return batch

    def signal_batches(self, split: str) -> Iterator[CropBatch]:
        """Yield some crops of both classes without augmentation, for :func:`sanity.check_signal`."""
        batches = self._some(split, _SAMPLED_CROPS, batch_size=self._batch_size)
        return (batch for batch in batches if len(batch.rows))

    def _some(self, split: str, count: int, *, batch_size: int) -> DataLoader[Any]:
        labels = self.train_labels if split == "train" else self.val_labels
        return self._loader(Subset(self._plain[split], sample_both_classes(labels, count)), batch_size)

    def _loader(self, dataset: Dataset[Any], batch_size: int) -> DataLoader[Any]:
        return DataLoader(dataset, batch_size=batch_size, **self._options)


def chosen_rows(config: TrainingConfig) -> Manifest:
    """Return the rows of the manifest that ``config.where`` selects; a remote manifest is fetched first."""
    rows = read_manifest(local_manifest(config.manifest))
    return rows if config.where is None else rows.where(config.where)


def sample_both_classes(labels: np.ndarray, count: int) -> list[int]:
    """Return up to ``count`` indices, half of each class as far as there are, spread over all."""
    chosen = []
    for is_fake in (False, True):
        of_class = np.flatnonzero((labels == FAKE) == is_fake)
        positions = np.linspace(0, len(of_class) - 1, min(len(of_class), count // 2)).round().astype(int)
        chosen += of_class[positions].tolist()
    return sorted(chosen)


def labels_and_people(rows: Manifest) -> tuple[np.ndarray, pa.ChunkedArray]:
    """Return label int8 (N,) and target identity (N,) of rows, in the order of the file.

    Identities are those of :mod:`data.identities`: ``id1`` of two datasets is two people, and an empty
    name is unknown, which is null here.
    """
    columns = rows.query(
        f"select label, {identity_sql('target_id')} as target_id from rows order by file_row_number"
    )
    return columns["label"].to_numpy(), columns["target_id"]


def training_splits(rows: Manifest, config: TrainingConfig) -> tuple[Manifest, Manifest]:
    """Return the train and val rows of a manifest.

    Where stored fakes are not trained on, train is the reals only. A run that makes fakes also makes
    those of a validation split without any.

    Raises:
        ManifestError: A split lacks a class that the run needs there.
    """
    splits = {name: rows.split(name) for name in ("train", "val")}
    needs_fakes = {"train": config.trains_on_stored_fakes, "val": not config.forgery}
    if not needs_fakes["train"]:
        splits["train"] = splits["train"].where(f"label = {REAL}")
    for name, part in splits.items():
        absent = {REAL, FAKE} - _labels_present(part)
        if absent if needs_fakes[name] else REAL in absent:
            words = " and ".join("fake" if label == FAKE else "real" for label in sorted(absent))
            raise ManifestError(
                rows.path, f"split {name} has no {words} crop", "extract videos of both classes"
            )
    return splits["train"], splits["val"]


def has_fakes(rows: Manifest) -> bool:
    """Return whether there is a fake among rows."""
    return FAKE in _labels_present(rows)


def _labels_present(rows: Manifest) -> set[int]:
    return set(rows.query("select distinct label from rows")["label"].to_pylist())


def _dataset(
    config: TrainingConfig,
    rows: Manifest,
    train_rows: Manifest,
    preprocessing: Preprocessing,
    augment: TrainingAugmentation | None,
) -> CropDataset | ClipDataset:
    """Return crops, or sequences of them, with the geometry of the training crops."""
    geometry = train_rows.geometry
    if config.temporal:
        return ClipDataset(
            rows, preprocessing, geometry=geometry, num_frames=config.clip_frames, augment=augment
        )
    return CropDataset(rows, preprocessing, geometry=geometry, augment=augment)


def _labels(dataset: CropDataset | ClipDataset, rows: Manifest) -> np.ndarray:
    """Return int8 (N,), the label of each item, 1 = fake."""
    if isinstance(dataset, ClipDataset):
        return dataset.labels
    labels: np.ndarray = rows.columns(["label"])["label"].to_numpy()
    return labels


def _sampler(
    config: TrainingConfig, rows: Manifest, labels: np.ndarray, blender: Blender | None
) -> EpochSampler:
    shared: dict[str, Any] = {"batch_size": config.batch_size, "seed": config.seed}
    if blender is not None:
        people = labels_and_people(rows)[1]
        return BlendedBatchSampler(blender.rows, labels, people, fraction=config.forgery_share, **shared)
    if config.balance == "pairs":
        return PairedBatchSampler(labels, labels_and_people(rows)[1], **shared)
    return ShuffledBatchSampler(labels, is_balanced=config.balance == "sampler", **shared)
