"""Crops of a manifest with fakes made from its reals, as training reads them.

An index is a row of the manifest, or the complement ``~row``: the real of that row, and a blend made
from it. Both go through the same augmentation, so that only the blend distinguishes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset, Sampler

from deepfake_detect.data.crops import (
    NO_IDENTITY,
    CropBatch,
    CropDataset,
    CropItem,
    PairedBatchSampler,
    SampledRow,
    collate_readable,
    identity_codes,
    read_crop,
    row_and_seed,
)
from deepfake_detect.data.identities import identity_sql
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import ImageError, ManifestError, OptionError
from deepfake_detect.forgery.blends import BlendWord
from deepfake_detect.forgery.cross import cross_blend
from deepfake_detect.forgery.find import find_landmarks
from deepfake_detect.forgery.landmarks import (
    crop_landmarks,
    face_outlines,
    nearest_normalized,
    normalized_landmarks,
)
from deepfake_detect.forgery.single import SelfBlendPair, self_blend_pair
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL

# Another person's face is sampled among so many in the most similar pose.
_NUM_SIMILAR = 20
_UNIT = (1, 1)
_MIN_EXTENT = 0.25  # of a face relative to its crop: a smaller one is of another person or a mistake


def relative_landmarks(
    rows: Manifest, *, device: str | torch.device = "auto", show_progress: bool = True
) -> np.ndarray:
    """Return the landmarks in each stored crop of a real, relative to the size of the crop.

    Rows of an extraction have them; in other crops the library's own detector looks for the face.

    Returns:
        float32 (N, 5, 2) in units of the crop's width and height, 0 to 1 inside it; NaN where there is
        no face or no readable crop, and for fakes.
    """
    landmarks = np.full((rows.num_rows, 5, 2), np.nan, np.float32)
    columns = rows.columns(["label", "box_xyxy", "landmarks_xy", "path"])
    num_reals = int((columns["label"].to_numpy() == REAL).sum())
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("landmarks", total=num_reals, note="")
        unknown = []
        batches = columns.to_batches(max_chunksize=10_000)
        for number, row in enumerate(row for batch in batches for row in batch.to_pylist()):
            if row["label"] != REAL:
                continue
            points = crop_landmarks(row, crop_size=_UNIT, geometry=rows.geometry)
            if points is None:
                unknown.append(number)
            else:
                landmarks[number] = points + 0.5
                progress.advance(task)
        readable: list[tuple[int, tuple[int, ...]]] = []
        if not unknown:
            return landmarks
        images = _readable(rows, columns["path"], unknown, readable)
        for found, (number, (height, width, _)) in zip(find_landmarks(images, device=device), readable):  # noqa: B905
            if found is not None:
                landmarks[number] = (found + 0.5) / (width, height)
            progress.advance(task)
    return landmarks


def _readable(
    rows: Manifest, paths: pa.ChunkedArray, numbers: Iterable[int], noted: list[tuple[int, tuple[int, ...]]]
) -> Iterator[np.ndarray]:
    """Yield the crops that can be read, and note their numbers and shapes."""
    for number in numbers:
        try:
            image = read_crop(rows.root / paths[number].as_py())
        except ManifestError:
            continue  # training warns about it
        noted.append((number, image.shape))
        yield image


@dataclass(frozen=True, eq=False)
class Forgery:
    """A fake that was made here.

    Attributes:
        pair: The fake and the real it was made from.
        method: Kind of blend.
        source_id: Identity whose face was blended in; ``None`` for the real's own, or an unknown one.
    """

    pair: SelfBlendPair
    method: BlendWord
    source_id: str | None


class Blender:
    """Makes fakes from a manifest's reals.

    Attributes:
        rows: int64 (M,), the rows that can be blended: reals whose face is in the crop.

    Args:
        rows: Of the manifest; blends are made from its reals, for ``cross`` with faces of its reals.
        landmarks: As of :func:`relative_landmarks`.
        words: Kinds of blend, equally frequent.

    Raises:
        OptionError: ``cross`` is named and there are fewer than two people with landmarks.
    """

    def __init__(self, rows: Manifest, landmarks: np.ndarray, words: Sequence[BlendWord]) -> None:
        columns = rows.query(
            f"select label, path, target_id, {identity_sql('target_id')} as person from rows "
            "order by file_row_number"
        )
        self._paths, self._root, self._words = columns["path"], rows.root, tuple(words)
        self._names, self._people = columns["target_id"], identity_codes(columns["person"])
        self._landmarks, self._poses = landmarks, normalized_landmarks(landmarks)
        # Of a known face, large enough, and centered inside the crop.
        is_known = np.isfinite(landmarks).all((1, 2))
        outlines = face_outlines(np.where(is_known[:, None, None], landmarks, 0))
        low, high = outlines.min(1), outlines.max(1)
        center = (low + high) / 2
        can_be_blended = is_known & ((center > 0) & (center < 1) & (high - low > _MIN_EXTENT)).all(1)
        can_be_blended &= columns["label"].to_numpy() == REAL
        if "cross" in words:
            # Only of a known person it is certain that another face is another person's.
            can_be_blended &= self._people != NO_IDENTITY
        self.rows: np.ndarray = np.flatnonzero(can_be_blended)
        if "cross" in words and len(np.unique(self._people[self.rows])) < 2:
            raise OptionError(
                "forgery",
                "cross needs faces of two people with known identities, in each split",
                "choose sbi, or add reals",
            )

    def make(self, row: int, image: np.ndarray, rng: np.random.Generator) -> Forgery | None:
        """Make a fake from a real.

        Args:
            row: One of ``rows``.
            image: Its crop, RGB uint8 (H, W, 3).
            rng: Makes all random choices.

        Returns:
            The fake; ``None`` where this crop cannot be blended: it is too small, its face is in full
            profile or at its border, the blend would change nothing, or no crop of another person
            can be read.
        """
        word = self._words[rng.integers(len(self._words))]
        for other in [row] if word == "sbi" else self._partners(row, rng):
            try:
                forgery = self._blend(row, image, other, rng)
            except (ManifestError, ImageError, OptionError):
                continue  # try the next partner
            # A mask that was deformed away from the face leaves a real, which must not be labeled fake.
            if (forgery.pair.blended != forgery.pair.real).any():
                return forgery
        return None

    def _blend(self, row: int, image: np.ndarray, other: int, rng: np.random.Generator) -> Forgery:
        """Blend another face into a real, or its own where the other is the real itself."""
        points = self._points(row, image)
        if other == row:
            return Forgery(self_blend_pair(image, points, rng=rng), "sbi", None)
        face = read_crop(self._root / self._paths[other].as_py())
        blended, mask = cross_blend(image, points, face, self._points(other, face), rng=rng)
        return Forgery(SelfBlendPair(image, blended, mask), "cross", self._names[other].as_py())

    def _points(self, row: int, image: np.ndarray) -> np.ndarray:
        points: np.ndarray = self._landmarks[row] * image.shape[1::-1] - 0.5
        return points

    def _partners(self, row: int, rng: np.random.Generator) -> list[int]:
        """Return reals of other people in a similar pose, in random order."""
        others = self.rows[self._people[self.rows] != self._people[row]]
        nearest = nearest_normalized(self._poses[row], self._poses[others], k=min(_NUM_SIMILAR, len(others)))
        shuffled: list[int] = others[rng.permutation(nearest)].tolist()
        return shuffled


class BlendedCrops(Dataset[tuple[CropItem, ...]]):
    """Map-style dataset of a manifest's crops and of blends of its rows; an item is a tuple of one or two."""

    def __init__(self, crops: CropDataset, blender: Blender) -> None:
        self._crops, self._blender = crops, blender

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, sampled: SampledRow) -> tuple[CropItem, ...]:
        code, seed = row_and_seed(sampled)
        if code >= 0:
            return (self._crops[sampled],)
        row = ~code
        image = self._crops.image(row)
        forgery = None if image is None else self._blender.make(row, image, np.random.default_rng(seed))
        if forgery is None:
            return (CropItem(None, REAL, row),)
        sides = ((forgery.pair.real, REAL), (forgery.pair.blended, FAKE))
        return tuple(self._crops.item(side, label, row, seed) for side, label in sides)


class RealsAndBlends(Dataset[tuple[CropItem, ...]]):
    """The real of each pair, then the blend of each, always the same, for the sanity checks."""

    def __init__(self, blended: BlendedCrops, rows: np.ndarray) -> None:
        self._blended, self._rows = blended, rows
        self.labels = np.repeat(np.array([REAL, FAKE], np.int8), len(rows))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[CropItem, ...]:
        row = int(self._rows[number % len(self._rows)])
        items = self._blended[(~row, number)]
        return tuple(item for item in items if item.label == self.labels[number] or item.image is None)


def collate_blended(items: Sequence[CropItem | tuple[CropItem, ...]]) -> CropBatch:
    """Stack items, or tuples of items as of :class:`BlendedCrops`, into a batch."""
    tuples = ((item,) if isinstance(item, CropItem) else item for item in items)
    return collate_readable(list(chain.from_iterable(tuples)))


class BlendedBatchSampler(Sampler[list[int]]):
    """Batches half real, half fake: each fake is a blend of the real next to it, or a stored one.

    Args:
        rows: Reals that can be blended.
        labels: int array (N,), 1 = fake.
        target_ids: array (N,) of target identities, as for :class:`PairedBatchSampler`.
        batch_size: Even number of crops per batch.
        fraction: Of the pairs whose fake is a blend, above 0 to 1. With 1 an epoch has each of
            ``rows`` once; below it, the pairs of :class:`PairedBatchSampler`.
        seed: Of the shuffling.

    Raises:
        OptionError: The batch size is odd, the fraction is out of range, there is no row, or a class
            is missing where stored fakes are needed.
    """

    def __init__(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        target_ids: np.ndarray | pa.ChunkedArray,
        *,
        batch_size: int,
        fraction: float,
        seed: int,
    ) -> None:
        if batch_size < 2 or batch_size % 2:
            raise OptionError("batch_size", f"is {batch_size}, but pairs need an even one", "pass 2 or more")
        if not 0 < fraction <= 1:
            raise OptionError("forgery_share", f"is {fraction}", "must be above 0 and at most 1")
        if not len(rows):
            raise OptionError("manifest", "contains no real crop with a face in it", "extract faces of reals")
        options = {"batch_size": batch_size, "seed": seed}
        self._stored = PairedBatchSampler(labels, target_ids, **options) if fraction < 1 else None
        self._can_blend = np.zeros(len(labels), bool)
        self._can_blend[rows] = True
        self._rows, self._is_real = rows, labels == REAL
        self._pairs_per_batch, self._fraction, self._seed = batch_size // 2, fraction, seed
        self.epoch = 0

    def __len__(self) -> int:
        num_pairs = len(self._rows) if self._stored is None else self._stored.num_pairs
        return -(-num_pairs // self._pairs_per_batch)

    def __iter__(self) -> Iterator[list[int]]:
        pairs = self._pairs()
        for start in range(0, len(pairs), self._pairs_per_batch):
            yield list(chain.from_iterable(pairs[start : start + self._pairs_per_batch]))

    def _pairs(self) -> list[list[int]]:
        """Return the epoch's pairs, each as its indices: one for a blend, two for stored crops."""
        rng = np.random.default_rng([self._seed, self.epoch, 1])
        if self._stored is None:
            return [[~row] for row in rng.permutation(self._rows).tolist()]
        stored = self._stored.epoch_pairs()
        reals = np.where(self._is_real[stored[:, 0]], stored[:, 0], stored[:, 1])
        blends = self._can_blend[reals] & (rng.random(len(stored)) < self._fraction)
        return [
            [~real] if is_blend else pair
            for real, is_blend, pair in zip(reals.tolist(), blends, stored.tolist(), strict=True)
        ]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order."""
        self.epoch = epoch
        if self._stored is not None:
            self._stored.set_epoch(epoch)
