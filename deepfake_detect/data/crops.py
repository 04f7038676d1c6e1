"""Crops of a manifest as a torch dataset, and the order in which training reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.transforms import TrainingAugmentation, centre_square, crop_to_tensor
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import FAKE, REAL, CropGeometry, Preprocessing

_SAME_MARGIN = 0.01


def read_crop(path: Path) -> np.ndarray:
    """Read a crop as RGB uint8 (H, W, 3). Raises ManifestError naming a file it cannot read."""
    # OpenCV would print a warning of its own about each missing file.
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        raise ManifestError(path, "the crop is missing or not an image", "extract its video again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def margin_share(stored: CropGeometry, wanted: CropGeometry) -> float:
    """Return the centred share of a stored crop that has the wanted geometry, in (0, 1].

    Raises:
        OptionError: The stored crops are narrower than wanted, or one is aligned and one is not:
            the pixels needed are not there.
    """
    if stored.aligned != wanted.aligned or stored.margin < wanted.margin - _SAME_MARGIN:
        raise OptionError(
            "crop geometry",
            f"the crops were cut with {stored}, the detector needs {wanted}",
            "extract again with --margin and --align as the detector needs them",
        )
    return min(1.0, wanted.margin / stored.margin)


class CropDataset(Dataset["CropItem"]):
    """Map-style dataset of :class:`CropItem`.

    A crop that cannot be read is an item without an image, so that whoever iterates can count
    and name it; it is never replaced by another crop.

    Args:
        manifest: Rows to serve, in this order.
        preprocessing: Size and normalisation of the network.
        geometry: Crop geometry of the network; wider stored crops are narrowed to it.
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
        self._paths = manifest.column("path")
        self._labels = manifest.column("label")
        self._root = manifest.root
        self._preprocessing = preprocessing
        self._share = margin_share(manifest.geometry, geometry)
        self._augment = augment

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> CropItem:
        label = int(self._labels[row])
        try:
            image = read_crop(self._root / self._paths[row])
        except ManifestError:
            return CropItem(None, label, row)
        image = centre_square(image, self._share)
        if self._augment is not None:
            image = self._augment(image)
        return CropItem(crop_to_tensor(image, self._preprocessing), label, row)

    def reseed(self, seed: int) -> None:
        """Start the augmentation's random choices anew."""
        if self._augment is not None:
            self._augment.reseed(seed)


class CropItem(NamedTuple):
    """One item: image (3, S, S) float32 or ``None`` when unreadable, label, row of the manifest."""

    image: torch.Tensor | None
    label: int
    row: int


class CropBatch(NamedTuple):
    """Readable items stacked, and the rows of the others.

    Attributes:
        images: float32 (N, 3, S, S).
        labels: float32 (N,), 1 = fake.
        rows: int64 (N,), rows of the manifest.
        unreadable_rows: int64 (M,).
    """

    images: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor
    unreadable_rows: torch.Tensor


def collate_readable(items: Sequence[CropItem]) -> CropBatch:
    """Stack items into a batch, which is empty (0 images) when not one of them can be read."""
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
    """Set up a process that reads crops: the processes themselves are the parallelism."""
    cv2.setNumThreads(0)


class PairedBatchSampler(Sampler[list[int]]):
    """Batches half real, half fake, each fake beside a real of the same target identity.

    An epoch shows every row of the larger class once and as many rows of the other. Seeing a
    forgery next to its own original leaves the network only the forgery to tell them apart by.
    The order depends on the seed and the epoch alone, so every process of a run agrees on it.

    Args:
        labels: int array (N,), 1 = fake.
        target_ids: object array (N,) of target identities.
        batch_size: Even number of rows a batch.
        seed: Of the shuffling.

    Raises:
        OptionError: The batch size is odd or below 2, or a class is absent.
    """

    def __init__(self, labels: np.ndarray, target_ids: np.ndarray, *, batch_size: int, seed: int) -> None:
        if batch_size < 2 or batch_size % 2:
            raise OptionError("batch_size", f"{batch_size} cannot hold pairs", "pass an even number from 2")
        fakes, reals = np.flatnonzero(labels == FAKE), np.flatnonzero(labels == REAL)
        if len(fakes) == 0 or len(reals) == 0:
            raise OptionError(
                "manifest", f"holds {len(reals)} real and {len(fakes)} fake crops", "both classes are needed"
            )
        self._larger, self._smaller = (fakes, reals) if len(fakes) >= len(reals) else (reals, fakes)
        self._partners: dict[str, list[int]] = {}
        for row in self._smaller:
            self._partners.setdefault(str(target_ids[row]), []).append(int(row))
        self._target_ids = target_ids
        self.batch_size = batch_size  # accelerate shares out batches by it
        self.drop_last = False
        self._pairs_per_batch = batch_size // 2
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self._larger) // self._pairs_per_batch)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self._seed, self.epoch])
        order = rng.permutation(self._larger)
        for start in range(0, len(order), self._pairs_per_batch):
            batch: list[int] = []
            for row in order[start : start + self._pairs_per_batch]:
                partners = self._partners.get(str(self._target_ids[row]), self._smaller)
                batch += [int(row), int(rng.choice(partners))]
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self.epoch = epoch
