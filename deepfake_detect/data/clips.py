"""Sequences of crops: the faces of one person in one video, in temporal order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from deepfake_detect.data.crops import CropBatch, SampledRow, crop_fraction, read_crop, row_and_seed
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.transforms import TrainingAugmentation, center_crop, crop_to_tensor
from deepfake_detect.errors import ManifestError
from deepfake_detect.records import CropGeometry, Preprocessing


class ClipItem(NamedTuple):
    """One sequence."""

    images: torch.Tensor | None  # float32 (T, 3, S, S), or None if no crop can be read
    label: int  # 1 = fake
    row: int  # row of the manifest of the first crop
    unreadable_rows: tuple[int, ...]  # rows of crops that were left out


class ClipDataset(Dataset[ClipItem]):
    """Map-style dataset of :class:`ClipItem`, one for each track of each video.

    Args:
        manifest: Rows of crops, in any order.
        preprocessing: Input size and normalization of the model.
        geometry: Crop geometry of the model; wider stored crops are center-cropped to it.
        num_frames: Maximum number of crops of a sequence, evenly spaced over the track.
        augment: Augmentation applied first, the same to every crop of a sequence, or ``None``.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocessing: Preprocessing,
        *,
        geometry: CropGeometry,
        num_frames: int,
        augment: TrainingAugmentation | None = None,
    ) -> None:
        columns = manifest.columns(["path", "label", "video_id", "track_id", "frame_index"])
        self._paths = columns["path"]
        self._root = manifest.root
        self._preprocessing = preprocessing
        self._crop_fraction = crop_fraction(manifest.geometry, geometry)
        self._num_frames = num_frames
        self._augment = augment
        videos = columns["video_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        tracks, frames = (columns[name].to_numpy() for name in ("track_id", "frame_index"))
        self._order = np.lexsort((frames, tracks, videos))
        keys = np.stack([videos, tracks], 1)[self._order]
        is_first = np.ones(len(keys), bool)
        is_first[1:] = (keys[1:] != keys[:-1]).any(1)
        starts = np.flatnonzero(is_first)
        self._starts = starts
        self._ends = np.r_[starts[1:], len(keys)]
        # int8 (clips,), 1 = fake: a sequence with a forged stretch is fake.
        self.labels: np.ndarray = np.maximum.reduceat(columns["label"].to_numpy()[self._order], starts)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, sampled: SampledRow) -> ClipItem:
        number, seed = row_and_seed(sampled)
        rows = self._order[self._starts[number] : self._ends[number]]
        count = min(len(rows), self._num_frames)
        if seed is None:
            seed = int(torch.randint(2**31, ()))  # the same for all crops of the sequence
        images, unreadable = [], []
        for row in rows[np.linspace(0, len(rows) - 1, count).round().astype(int)].tolist():
            try:
                images.append(self._image(row, seed))
            except ManifestError:
                unreadable.append(row)
        stacked = torch.stack(images) if images else None
        return ClipItem(stacked, int(self.labels[number]), int(rows[0]), tuple(unreadable))

    def _image(self, row: int, seed: int) -> torch.Tensor:
        image = center_crop(read_crop(self._root / self._paths[row].as_py()), self._crop_fraction)
        if self._augment is not None:
            self._augment.reseed(seed)  # for each crop: all are changed in the same way
            image = self._augment(image)
        return crop_to_tensor(image, self._preprocessing)


def collate_clips(items: Sequence[ClipItem]) -> CropBatch:
    """Stack readable sequences into a batch, padded by zeros.

    Its images are float32 (N, T, 3, S, S), its lengths int64 (N,).
    """
    unreadable = torch.tensor([row for item in items for row in item.unreadable_rows], dtype=torch.int64)
    kept = [(item.images, item.label, item.row) for item in items if item.images is not None]
    if not kept:
        nothing = torch.zeros(0)
        return CropBatch(torch.zeros(0, 0, 3, 1, 1), nothing, nothing.long(), unreadable, nothing.long())
    images, labels, rows = zip(*kept, strict=True)
    padded = torch.nn.utils.rnn.pad_sequence(list(images), batch_first=True)
    lengths = torch.tensor([len(sequence) for sequence in images])
    return CropBatch(
        padded, torch.tensor(labels, dtype=torch.float32), torch.tensor(rows), unreadable, lengths
    )
