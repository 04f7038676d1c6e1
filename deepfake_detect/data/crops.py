"""Crops of a manifest as a PyTorch dataset, and the order in which training reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset, Sampler

from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.shards import decode_image, read_stored_bytes
from deepfake_detect.data.transforms import TrainingAugmentation, center_crop, crop_to_tensor
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import FAKE, REAL, CropGeometry, Preprocessing

_SAME_MARGIN = 0.01
NO_IDENTITY = -1  # code of a row with an unknown identity

# A row to read, or a row and the seed of its augmentation.
SampledRow = int | tuple[int, int]


def row_and_seed(sampled: SampledRow) -> tuple[int, int | None]:
    """Return the row, and its seed or ``None``."""
    return sampled if isinstance(sampled, tuple) else (sampled, None)


def read_crop(path: Path) -> np.ndarray:
    """Read a crop, a file or a member of a tar shard, as RGB uint8 (H, W, 3).

    Raises:
        ManifestError: It is missing, or not an image.
    """
    image = decode_image(read_stored_bytes(path))
    if image is None:
        raise ManifestError(path, "the crop is not a readable image", "extract its video again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def scores_whole(stored: CropGeometry, wanted: CropGeometry) -> bool:
    """Return whether a detector scores stored crops as they are: neither wider nor too narrow."""
    narrowest = wanted.narrowest or wanted.margin
    is_between = narrowest - _SAME_MARGIN <= stored.margin <= wanted.margin + _SAME_MARGIN
    return is_between and _is_alike(stored, wanted)


def _is_alike(stored: CropGeometry, wanted: CropGeometry) -> bool:
    return replace(stored, margin=wanted.margin, narrowest=wanted.narrowest) == wanted


def crop_fraction(stored: CropGeometry, wanted: CropGeometry) -> float:
    """Return the fraction of a stored crop's sides that a detector scores, in (0, 1].

    Raises:
        OptionError: The stored crops are narrower than it can score, or of another shape or alignment: they
            do not contain the needed pixels.
    """
    if scores_whole(stored, wanted):
        return 1.0
    can_be_narrowed = stored.side is None and (stored.shape, stored.border) == ("square", "mirror")
    if stored.margin < wanted.margin or not can_be_narrowed or not _is_alike(stored, wanted):
        raise OptionError(
            "crop geometry",
            f"the crops were cut with {stored}, the detector needs {wanted}",
            "extract again with `crops_for` set to this detector",
        )
    return wanted.margin / stored.margin


class CropDataset(Dataset["CropItem"]):
    """Map-style dataset of :class:`CropItem`.

    A crop that cannot be read is an item without an image, so that the caller can count and report it;
    it is never replaced by another crop.

    Args:
        manifest: Rows of the dataset, in this order.
        preprocessing: Input size and normalization of the model.
        geometry: Crop geometry of the model; wider stored crops are center-cropped to it.
        augment: Augmentation applied first, or ``None``.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocessing: Preprocessing,
        *,
        geometry: CropGeometry,
        augment: TrainingAugmentation | None = None,
    ) -> None:
        # Arrow strings need a tenth of the memory of Python's, and forked workers share them.
        columns = manifest.columns(["path", "label"])
        self._paths = columns["path"]
        self._labels = columns["label"].to_numpy()
        self._root = manifest.root
        self._preprocessing = preprocessing
        self._crop_fraction = crop_fraction(manifest.geometry, geometry)
        self._augment = augment

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, sampled: SampledRow) -> CropItem:
        row, seed = row_and_seed(sampled)
        label, image = int(self._labels[row]), self.image(row)
        return CropItem(None, label, row) if image is None else self.item(image, label, row, seed)

    def image(self, row: int) -> np.ndarray | None:
        """Return a stored crop, RGB uint8 (H, W, 3); ``None`` if it cannot be read."""
        try:
            return read_crop(self._root / self._paths[row].as_py())
        except ManifestError:
            return None

    def item(self, image: np.ndarray, label: int, row: int, seed: int | None) -> CropItem:
        """Return an item with an image instead of the stored crop, augmented with ``seed``."""
        image = center_crop(image, self._crop_fraction)
        if self._augment is not None:
            if seed is not None:
                self._augment.reseed(seed)
            image = self._augment(image)
        return CropItem(crop_to_tensor(image, self._preprocessing), label, row)


class CropItem(NamedTuple):
    """One item: image (3, S, S) float32 or ``None`` if unreadable, label, row of the manifest."""

    image: torch.Tensor | None
    label: int
    row: int


class CropBatch(NamedTuple):
    """Readable items as a batch, and the rows of the others."""

    images: torch.Tensor  # float32 (N, 3, S, S), of sequences (N, T, 3, S, S)
    labels: torch.Tensor  # float32 (N,), 1 = fake
    rows: torch.Tensor  # int64 (N,), rows of the manifest
    unreadable_rows: torch.Tensor  # int64 (M,)
    lengths: torch.Tensor | None = None  # int64 (N,) of sequences


def collate_readable(items: Sequence[CropItem]) -> CropBatch:
    """Stack readable items into a batch, which is empty (0 images) if none can be read."""
    kept = [(item.image, item.label, item.row) for item in items if item.image is not None]
    unreadable = torch.tensor([item.row for item in items if item.image is None], dtype=torch.int64)
    if not kept:
        nothing = torch.zeros(0)
        return CropBatch(torch.zeros(0, 3, 1, 1), nothing, nothing.long(), unreadable)
    images, labels, rows = zip(*kept, strict=True)
    return CropBatch(
        torch.stack(images), torch.tensor(labels, dtype=torch.float32), torch.tensor(rows), unreadable
    )


def reading_worker(_: int) -> None:
    """Turn off OpenCV's threads in a process that reads crops: several processes run at once."""
    cv2.setNumThreads(0)


class PairedBatchSampler(Sampler[list[int]]):
    """Batches of half real and half fake rows, each fake next to a real of the same target identity.

    An epoch has every row of the larger class once and as many rows of the other. With a forgery and its
    own original in one batch, the model can separate them by the forgery only. A row without an identity is
    paired with any row of the other class. The order depends only on the seed and the epoch, so it is the
    same in every process of a run.

    Args:
        labels: int array (N,), 1 = fake.
        target_ids: array (N,) of target identities, NumPy or Arrow.

    Raises:
        OptionError: The batch size is odd or below 2, or a class is absent.
    """

    def __init__(
        self, labels: np.ndarray, target_ids: np.ndarray | pa.ChunkedArray, *, batch_size: int, seed: int
    ) -> None:
        if batch_size < 2 or batch_size % 2:
            raise OptionError(
                "batch_size", f"{batch_size} cannot hold pairs", "must be an even number from 2"
            )
        fakes, reals = np.flatnonzero(labels == FAKE), np.flatnonzero(labels == REAL)
        if len(fakes) == 0 or len(reals) == 0:
            cause = f"contains {len(reals)} real and {len(fakes)} fake crops"
            raise OptionError("manifest", cause, "both classes are needed")
        self._larger, smaller = (fakes, reals) if len(fakes) >= len(reals) else (reals, fakes)
        identities = identity_codes(target_ids)
        self._smaller = smaller[np.argsort(identities[smaller], kind="stable")]
        # Partners of larger[k] are smaller[first[k] : first[k] + count[k]], possibly none.
        known = identities[self._smaller]
        self._first_partner = np.searchsorted(known, identities[self._larger], side="left")
        last = np.searchsorted(known, identities[self._larger], side="right")
        self._num_partners = np.where(identities[self._larger] == NO_IDENTITY, 0, last - self._first_partner)
        self._pairs_per_batch = batch_size // 2
        self._seed = seed
        self.epoch = 0

    @property
    def num_pairs(self) -> int:
        """Number of pairs of an epoch."""
        return len(self._larger)

    def __len__(self) -> int:
        return -(-self.num_pairs // self._pairs_per_batch)

    def __iter__(self) -> Iterator[list[int]]:
        pairs = self.epoch_pairs()
        for start in range(0, len(pairs), self._pairs_per_batch):
            yield pairs[start : start + self._pairs_per_batch].reshape(-1).tolist()

    def epoch_pairs(self) -> np.ndarray:
        """Return the pairs of the epoch in order: int64 (M, 2), a row of the larger class and its partner."""
        rng = np.random.default_rng([self._seed, self.epoch])
        order = rng.permutation(len(self._larger))
        num_partners = self._num_partners[order]
        # One of its own partners, or any row of the class if it has none.
        offsets = rng.integers(0, np.where(num_partners > 0, num_partners, len(self._smaller)))
        positions = np.where(num_partners > 0, self._first_partner[order], 0) + offsets
        return np.stack([self._larger[order], self._smaller[positions]], axis=1)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order the next iteration has."""
        self.epoch = epoch


class ShuffledBatchSampler(Sampler[list[int]]):
    """Batches of all rows in random order; if balanced, rows of the rarer class are repeated."""

    def __init__(self, labels: np.ndarray, *, batch_size: int, seed: int, is_balanced: bool) -> None:
        classes = [np.flatnonzero(labels == label) for label in (REAL, FAKE)]
        self._classes = classes if is_balanced else [np.arange(len(labels))]
        self._batch_size = batch_size
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-max(map(len, self._classes)) * len(self._classes) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self._seed, self.epoch])
        most = max(map(len, self._classes))
        # All rows of the rarer class are repeated equally often, with a difference of at most one.
        sampled = [
            np.concatenate([rng.permutation(rows) for _ in range(-(-most // len(rows)))])[:most]
            for rows in self._classes
        ]
        rows = rng.permutation(np.concatenate(sampled))
        for start in range(0, len(rows), self._batch_size):
            yield rows[start : start + self._batch_size].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order the next iteration has."""
        self.epoch = epoch


class EpochSampler(Protocol):
    """Batches of an epoch, in an order that depends only on seed and epoch."""

    epoch: int

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[int]]: ...

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order the next iteration has."""


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of an epoch for one process, from any batch on, each row with a seed.

    The augmentation of a row depends only on the run's seed, the epoch and the batch: not on the number
    of processes, nor on where a run was interrupted. Each process takes every ``num_processes``-th of the
    epoch's ``batches``, the first from ``rank`` on. If they cannot be divided evenly, the first batches are
    repeated, so that all processes take the same number of steps.
    """

    def __init__(self, batches: EpochSampler, *, seed: int, rank: int = 0, num_processes: int = 1) -> None:
        self._batches, self._seed = batches, seed
        self._rank, self._num_processes = rank, num_processes
        self._first = 0

    @property
    def num_batches(self) -> int:
        """Number of batches of a whole epoch for this process."""
        return -(-len(self._batches) // self._num_processes)

    def __len__(self) -> int:
        return self.num_batches - self._first

    def start(self, epoch: int, *, first: int = 0) -> None:
        """Set the epoch of the next iteration, and which of this process's batches comes first."""
        self._batches.set_epoch(epoch)
        self._first = first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        own = range(self._rank, self.num_batches * self._num_processes, self._num_processes)
        numbers = iter(own[self._first :])
        wanted = next(numbers, None)
        for number, rows in enumerate(chain.from_iterable(repeat(self._batches))):
            if wanted is None:
                return
            if number == wanted:
                rng = np.random.default_rng([self._seed, self._batches.epoch, number])
                seeds = rng.integers(2**32, size=len(rows)).tolist()
                yield list(zip(rows, seeds, strict=True))
                wanted = next(numbers, None)


def identity_codes(target_ids: np.ndarray | pa.ChunkedArray) -> np.ndarray:
    """Return a code for each identity, int32 (N,), ``NO_IDENTITY`` where it is absent."""
    values = target_ids if isinstance(target_ids, pa.ChunkedArray) else pa.chunked_array([target_ids])
    encoded = values.dictionary_encode().unify_dictionaries()
    codes = [chunk.indices.fill_null(NO_IDENTITY).to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
    return np.concatenate([np.zeros(0, np.int32), *codes])
