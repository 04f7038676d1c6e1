"""Faces in every frame of a clip: searched for everywhere in key frames, and near where they were
in the frames between.

Between key frames the first network looks only around the faces of the frame before, in the sizes
in which faces that large are seen; what follows is the cascade itself, so a face comes out as a
search of the whole frame would find it. A frame is searched everywhere, too, when a face of the
frame before is not found again, and when the picture has changed as at a cut. A face that enters
between two key frames is found in the second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from deepfake_detect.faces.cascade import (
    PYRAMID_FACTOR,
    Windows,
    cell_boxes,
    faces_of,
    likely_cells,
    longer_side,
    search_everywhere,
)
from deepfake_detect.faces.integral import (
    crop_windows,
    frames_tensor,
    sample_windows,
    summed_area_table,
)
from deepfake_detect.faces.mosaic import CELL_SIZE, CELL_STRIDE, frame_scales, num_cells, shrunk
from deepfake_detect.faces.networks import ProposalNetwork, TorchNetworks
from deepfake_detect.records import Face

# Side of the part of a shrunk frame that is looked at around a face, which is about 12 pixels
# there: a face may move by its own size from frame to frame.
_REGION_SIDE = 36
# Sizes at which a face is looked for: those whose 12-pixel window is this share of the face.
_SMALLEST_SHARE, _LARGEST_SHARE = 0.4, 1.7
# A face is the one of the frame before when they share this much of what they cover together.
_SAME_FACE_OVERLAP = 0.3
# Mean difference of two small copies of consecutive frames, in units of half the range of a pixel,
# from which they are two shots: in nine clips at most .09 within a shot, .20 and more at a cut.
_CUT_DIFFERENCE = 0.15
_THUMBNAIL_SIDE = 16


class DenseDetector:
    """Finds the faces of consecutive frames; the first is a key frame.

    Several parts of a clip are followed side by side, each from a key frame of its own: operations
    on a frame are many and small, and those of several frames together take little longer.

    Args:
        networks: Of :func:`load_networks`.
        smallest: As in :func:`search_everywhere`.
        min_face: Longer side in pixels of the smallest face that is followed.
    """

    def __init__(self, networks: TorchNetworks, *, smallest: float, min_face: float) -> None:
        self._networks = networks
        self._smallest = smallest
        self._min_face = min_face
        self._seen: list[list[Face]] = []  # of each part, in the frame before
        self._lost: list[list[Face]] = []  # where they were last seen since the key frame
        self._thumbnails: torch.Tensor | None = None
        self._tables: torch.Tensor | None = None  # memory for those of the next frames

    @torch.inference_mode()
    def find(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of the next frame of each part, largest first.

        Faces smaller than ``min_face`` that are seen by the way are returned too.

        Args:
            images: RGB uint8 (H, W, 3), all of one size; fewer than before when the last parts
                have ended.
        """
        tables = summed_area_table(frames_tensor(images, self._networks.device), out=self._tables)
        self._tables = tables
        is_new = self._is_new_shot(tables)
        seen = [[] if new else faces for new, faces in zip(is_new, self._seen, strict=False)]
        known = [
            [] if new else [*faces, *lost] for new, faces, lost in zip(is_new, seen, self._lost, strict=False)
        ]
        found = search_near(known, tables, self._networks, smallest=self._smallest)
        again = [n for n, new in enumerate(is_new) if new or _missing(seen[n], found[n])]
        if again:
            chosen = tables if len(again) == len(tables) else tables[again]
            everywhere = search_everywhere(chosen, self._networks, smallest=self._smallest)
            for number, faces in zip(again, everywhere, strict=True):
                found[number] = faces
        self._lost = [_missing(some, faces) for some, faces in zip(known, found, strict=True)]
        self._seen = [[face for face in faces if longer_side(face) >= self._min_face] for faces in found]
        return found

    def _is_new_shot(self, tables: torch.Tensor) -> list[bool]:
        """Tell of each part whether its frame is the first of a shot."""
        before, self._thumbnails = self._thumbnails, _thumbnails(tables)
        if before is None:
            self._seen = self._lost = [[] for _ in tables]
            return [True] * len(tables)
        differences = (before[: len(tables)] - self._thumbnails).abs().mean((1, 2, 3))
        return [difference > _CUT_DIFFERENCE for difference in differences.tolist()]


def search_near(
    known: Sequence[Sequence[Face]], tables: torch.Tensor, networks: TorchNetworks, *, smallest: float
) -> list[list[Face]]:
    """Return the faces of frames, largest first, that are near known ones and about as large.

    Args:
        known: Of each frame, the faces of the frame before.
        tables: The frames' summed-area tables (B, H + 1, W + 1, 3).
        networks: Of :func:`load_networks`.
        smallest: As in :func:`search_everywhere`.
    """
    height, width = tables.shape[1] - 1, tables.shape[2] - 1
    scales = frame_scales(height, width, smallest=smallest, factor=PYRAMID_FACTOR)
    regions = [
        (number, *region)
        for number, faces in enumerate(known)
        for face in faces
        for region in _regions(face, height, width, scales)
    ]
    if not regions:
        return [[] for _ in tables]
    windows = _windows_near(torch.tensor(regions, device=tables.device), scales, tables, networks.proposal)
    return faces_of(windows, tables, networks)


def _regions(face: Face, height: int, width: int, scales: Sequence[float]) -> list[tuple[int, int, int]]:
    """Return where to look for a face: number of the scale; first row and column in the shrunk
    frame, even, so that cells fall as they do in a search everywhere."""
    left, top, right, bottom = face.box_xyxy.tolist()
    side = longer_side(face)
    regions = []
    for number, scale in enumerate(scales):
        if _SMALLEST_SHARE * side <= CELL_SIZE / scale <= _LARGEST_SHARE * side:
            row, column = (
                max(0, min(round(middle * scale) - _REGION_SIDE // 2, shrunk(length, scale) - _REGION_SIDE))
                for middle, length in (((top + bottom) / 2, height), ((left + right) / 2, width))
            )
            regions.append((number, row + row % 2, column + column % 2))
    return regions


def _windows_near(
    regions: torch.Tensor, scales: Sequence[float], tables: torch.Tensor, network: ProposalNetwork
) -> Windows:
    """Return the windows in regions that may pass the first threshold.

    Args:
        regions: int64 (N, 4): number of the frame, then as :func:`_regions` gives them.
        scales: Of the frames.
        tables: Their summed-area tables.
        network: The first network.
    """
    images, numbers, starts = regions[:, 0], regions[:, 1], regions[:, 2:]
    lengths = starts.new_tensor([tables.shape[1] - 1, tables.shape[2] - 1])
    sizes = starts.new_tensor([[shrunk(length, scale) for length in lengths.tolist()] for scale in scales])
    sizes = sizes[numbers]  # (N, 2): of the shrunk frame, which may be smaller than a region
    rows, columns = _region_edges(starts, sizes, lengths).unbind(1)
    features = network.features(sample_windows(tables, images, rows, columns), seams=numbers[:0])
    chosen, cells = likely_cells(features, network)
    per_side = num_cells(_REGION_SIDE)
    places = torch.stack([cells // per_side, cells % per_side], 1) + starts[chosen] // CELL_STRIDE
    is_inside = (places < num_cells(sizes[chosen])).all(1)
    chosen, cells, places = chosen[is_inside], cells[is_inside], places[is_inside]
    factors = torch.tensor(scales, dtype=torch.float32, device=tables.device)[numbers[chosen]]
    boxes = cell_boxes(places[:, 1], places[:, 0], factors)
    return Windows(images[chosen], numbers[chosen], boxes, features[chosen, cells])


def _region_edges(starts: torch.Tensor, sizes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the windows of the frame, int64 (N, 2, 2, side), whose means are a region's pixels.

    For rows and for columns: first pixels, and pixels after the last. Past the end of the shrunk
    frame its last pixel repeats.

    Args:
        starts: int64 (N, 2), first row and column of each region.
        sizes: int64 (N, 2), height and width that the frame is shrunk to.
        lengths: int64 (2,), its own.
    """
    number = starts[:, :, None] + torch.arange(_REGION_SIDE, device=starts.device)  # (N, 2, side)
    counts, full = sizes[:, :, None], lengths[:, None]
    number = number.minimum(counts - 1)
    return torch.stack([number * full // counts, -(-(number + 1) * full // counts)], 2)


def _missing(known: Sequence[Face], faces: Sequence[Face]) -> list[Face]:
    """Return the known faces that none of the faces overlaps."""
    return [
        one
        for one in known
        if all(_overlap(one.box_xyxy, face.box_xyxy) < _SAME_FACE_OVERLAP for face in faces)
    ]


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Return intersection over union."""
    shared = np.maximum(0, np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).prod()
    return float(shared / ((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def _thumbnails(tables: torch.Tensor) -> torch.Tensor:
    """Return frames shrunk to float32 (B, 3, 16, 16)."""
    numbers = torch.arange(len(tables), device=tables.device)
    whole = numbers.new_tensor([0, 0, tables.shape[2] - 1, tables.shape[1] - 1]).expand(len(tables), 4)
    thumbnails: torch.Tensor = crop_windows(tables, numbers, whole, _THUMBNAIL_SIDE)
    return thumbnails
