"""Crops on their way to the network: which, in what order, read by whom."""

from __future__ import annotations

from collections.abc import Iterator
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
from deepfake_detect.data.identities import identity_sql
from deepfake_detect.data.manifest import Manifest
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
from deepfake_detect.training.sanity import evenly_of_both_classes


class CropDataModule:
    """Batches of one process of a run.

    Args:
        config: Of the run.
        train_rows, val_rows: Of the manifest.
        preprocessing: Of the network.
        rank: Number of this process.
        num_processes: Of the run.
        pins_memory: Whether batches are on their way to a GPU.
        blender: Makes fakes of the training reals; ``None`` where the config makes none.
    """

    def __init__(
        self,
        config: TrainingConfig,
        train_rows: Manifest,
        val_rows: Manifest,
        *,
        preprocessing: Preprocessing,
        rank: int,
        num_processes: int,
        pins_memory: bool,
        blender: Blender | None = None,
    ) -> None:
        augment = TrainingAugmentation(config.augmentation, preprocessing.image_size)
        stored = {
            "train": _dataset(config, train_rows, train_rows, preprocessing, None),
            "val": _dataset(config, val_rows, train_rows, preprocessing, None),
        }
        augmented: Dataset[Any] = _dataset(config, train_rows, train_rows, preprocessing, augment)
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
        self._train = DataLoader(
            augmented,
            batch_sampler=self._order,  # type: ignore[arg-type]
            **self._options,
        )
        own = range(rank, len(self.val_labels), num_processes)
        self._batch_size = config.batch_size
        self._val = self._loader(Subset(self._plain["val"], own))

    @property
    def num_train_batches(self) -> int:
        """Batches of a whole epoch that this process takes."""
        return self._order.num_batches

    def train_batches(self, epoch: int, *, first: int = 0) -> Iterator[CropBatch]:
        """Yield this process's batches of an epoch, augmented, from the ``first`` on."""
        self._order.start(epoch, first=first)
        return iter(self._train)

    def val_batches(self) -> DataLoader[Any]:
        """Return this process's part of the validation crops in batches."""
        return self._val

    def plain_batch(self, split: str, count: int) -> CropBatch:
        """Return ``count`` crops of both classes without augmentation.

        Raises:
            ManifestError: Not one of them can be read.
        """
        count = max(2, count)
        batch: CropBatch = next(iter(self._some(split, count, batch_size=count)))
        if not len(batch.rows):
            raise ManifestError(f"split {split}", "not one of its crops can be read", "extract again")
        return batch

    def signal_batches(self, split: str) -> Iterator[CropBatch]:
        """Yield some crops of both classes without augmentation, for :func:`sanity.check_signal`."""
        for batch in self._some(split, None, batch_size=self._batch_size):
            if len(batch.rows):
                yield batch

    def _some(self, split: str, count: int | None, *, batch_size: int) -> DataLoader[Any]:
        labels = self.train_labels if split == "train" else self.val_labels
        chosen = evenly_of_both_classes(labels) if count is None else evenly_of_both_classes(labels, count)
        return self._loader(Subset(self._plain[split], chosen), batch_size=batch_size)

    def _loader(self, dataset: Dataset[Any], *, batch_size: int | None = None) -> DataLoader[Any]:
        return DataLoader(dataset, batch_size=batch_size or self._batch_size, **self._options)


def labels_and_people(rows: Manifest) -> tuple[np.ndarray, pa.ChunkedArray]:
    """Return label and target identity of rows, as they stand in the file.

    Identities are those of :mod:`data.identities`: the ``id1`` of two datasets are two people, and
    an empty name is nobody's.

    Returns:
        int8 (N,), and text (N,) with null where the identity is not known.
    """
    columns = rows.query(
        f"select label, {identity_sql('target_id')} as target_id from rows order by file_row_number"
    )
    return columns["label"].to_numpy(), columns["target_id"]


def training_splits(rows: Manifest, config: TrainingConfig) -> tuple[Manifest, Manifest]:
    """Return the train and val rows.

    Where stored fakes are not trained on, train is the reals alone. A run that makes fakes makes
    those of a val without any, too.

    Args:
        rows: Of a manifest.
        config: Of the run.

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
    """Tell whether there is a fake among rows."""
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
    if blender is not None:
        _, people = labels_and_people(rows)
        sizes: dict[str, Any] = {"batch_size": config.batch_size, "seed": config.seed}
        return BlendedBatchSampler(blender.rows, labels, people, share=config.forgery_share, **sizes)
    if config.balance == "pairs":
        _, people = labels_and_people(rows)
        return PairedBatchSampler(labels, people, batch_size=config.batch_size, seed=config.seed)
    return ShuffledBatchSampler(
        labels, batch_size=config.batch_size, seed=config.seed, is_balanced=config.balance == "sampler"
    )
