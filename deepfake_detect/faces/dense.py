"""Faces in every frame of a clip: key frames are searched whole, the others near known faces.

Between key frames P-Net sees only the surroundings of the faces of the frame before, at the scales at
which faces of that size are found. R-Net and O-Net follow as usual, so a face comes out as a search of
the whole frame would find it. A frame is also searched whole if a face of the frame before is lost or
the shot changes. A face that enters between two key frames is found in the second.
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
    integral_images,
    sample_windows,
)
from deepfake_detect.faces.mosaic import CELL_SIZE, CELL_STRIDE, frame_scales, num_cells, shrunk
from deepfake_detect.faces.networks import FastPNet, TorchNetworks
from deepfake_detect.records import Face

# Side of the region of a scaled frame that is searched around a face, which is about 12 pixels there:
# a face may move by its own size from frame to frame.
_REGION_SIDE = 36
# Scales at which a face is searched: those whose 12-pixel window is this fraction of the face.
_MIN_WINDOW_FRACTION, _MAX_WINDOW_FRACTION = 0.4, 1.7
# A face is that of the frame before if their intersection over union is at least this.
_SAME_FACE_OVERLAP = 0.3
# Mean difference of thumbnails of consecutive frames, in units of half the pixel range, from which they
# belong to different shots: in nine clips at most .09 within a shot, .20 and more at a cut.
_CUT_DIFFERENCE = 0.15
_THUMBNAIL_SIDE = 16


class DenseDetector:
    """Finds the faces of consecutive frames; the first is a key frame.

    Several parts of a clip are processed together, each from its own key frame: the operations on a
    frame are many and small, and those of several frames together take little longer.
    """

    def __init__(self, networks: TorchNetworks, *, smallest: float, min_face: float) -> None:
        self._networks = networks
        self._smallest = smallest
        self._min_face = min_face
        self._seen: list[list[Face]] = []  # per part, in the frame before
        self._lost: list[list[Face]] = []  # per part, lost since the key frame
        self._thumbnails: torch.Tensor | None = None
        self._tables: torch.Tensor | None = None  # memory to reuse for the next frames

    @torch.inference_mode()
    def find(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of the next frame of each part, largest first, some smaller than ``min_face``.

        Args:
            images: RGB uint8 (H, W, 3), all of one size; fewer than before if parts have ended.
        """
        tables = integral_images(frames_tensor(images, self._networks.device), out=self._tables)
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
        """Return for each part whether its frame is the first of a shot."""
        before, self._thumbnails = self._thumbnails, _thumbnails(tables)
        if before is None:
            self._seen = self._lost = [[] for _ in tables]
            return [True] * len(tables)
        differences = (before[: len(tables)] - self._thumbnails).abs().mean((1, 2, 3))
        return [difference > _CUT_DIFFERENCE for difference in differences.tolist()]


def search_near(
    known: Sequence[Sequence[Face]], tables: torch.Tensor, networks: TorchNetworks, *, smallest: float
) -> list[list[Face]]:
    """Return the faces of frames, largest first, that are near those of the frame before and as large."""
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
    windows = _windows_near(torch.tensor(regions, device=tables.device), scales, tables, networks.pnet)
    return faces_of(windows, tables, networks)


def _regions(face: Face, height: int, width: int, scales: Sequence[float]) -> list[tuple[int, int, int]]:
    """Return the regions in which to search for a face: index of the scale; first row and column in the
    scaled frame, even, so that cells fall as they do in a search of the whole frame.
    """
    left, top, right, bottom = face.box_xyxy.tolist()
    side = longer_side(face)
    regions = []
    for number, scale in enumerate(scales):
        if _MIN_WINDOW_FRACTION * side <= CELL_SIZE / scale <= _MAX_WINDOW_FRACTION * side:
            row, column = (
                max(0, min(round(middle * scale) - _REGION_SIDE // 2, shrunk(length, scale) - _REGION_SIDE))
                for middle, length in (((top + bottom) / 2, height), ((left + right) / 2, width))
            )
            regions.append((number, row + row % 2, column + column % 2))
    return regions


def _windows_near(
    regions: torch.Tensor, scales: Sequence[float], tables: torch.Tensor, network: FastPNet
) -> Windows[torch.Tensor]:
    """Return the windows that may pass P-Net's threshold in regions (N, 4): frame, then as of _regions."""
    images, numbers, starts = regions[:, 0], regions[:, 1], regions[:, 2:]
    lengths = starts.new_tensor([tables.shape[1] - 1, tables.shape[2] - 1])
    sizes = starts.new_tensor([[shrunk(length, scale) for length in lengths.tolist()] for scale in scales])
    sizes = sizes[numbers]  # (N, 2): of the scaled frame, which may be smaller than a region
    rows, columns = _region_edges(starts, sizes, lengths).unbind(1)
    features = network.features(sample_windows(tables, images, rows, columns), seams=numbers[:0])
    chosen, cells = likely_cells(features, network)
    per_side = num_cells(_REGION_SIDE)
    positions = torch.stack([cells // per_side, cells % per_side], 1) + starts[chosen] // CELL_STRIDE
    is_inside = (positions < num_cells(sizes[chosen])).all(1)
    chosen, cells, positions = chosen[is_inside], cells[is_inside], positions[is_inside]
    factors = torch.tensor(scales, dtype=torch.float32, device=tables.device)[numbers[chosen]]
    boxes = cell_boxes(positions[:, 1], positions[:, 0], factors)
    return Windows(images[chosen], numbers[chosen], boxes, features[chosen, cells])


def _region_edges(starts: torch.Tensor, sizes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the windows of the frame, int64 (N, 2, 2, side), whose means are a region's pixels: for rows and
    for columns the first pixels, and those after the last. Past the end of the scaled frame its last pixel
    repeats.

    Args:
        starts: int64 (N, 2), first row and column of each region.
        sizes: int64 (N, 2), height and width of the scaled frame.
        lengths: int64 (2,), height and width of the frame.
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
    """Return thumbnails of frames, float32 (B, 3, 16, 16)."""
    numbers = torch.arange(len(tables), device=tables.device)
    whole = numbers.new_tensor([0, 0, tables.shape[2] - 1, tables.shape[1] - 1]).expand(len(tables), 4)
    thumbnails: torch.Tensor = crop_windows(tables, numbers, whole, _THUMBNAIL_SIDE)
    return thumbnails
