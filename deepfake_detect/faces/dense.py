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
from deepfake_detect.faces.mosaic import CELL_SIZE, CELL_STRIDE, frame_scales, num_cells, shrunk
from deepfake_detect.faces.networks import Networks, ProposalNetwork
from deepfake_detect.faces.sums import (
    crop_windows,
    frames_tensor,
    sample_windows,
    summed_area_table,
)
from deepfake_detect.records import Face

# Side of the part of a shrunk frame that is looked at around a face, which is about 12 pixels
# there: a face may move by its own size from frame to frame.
_REGION_SIDE = 36
# Sizes at which a face is looked for: those whose 12-pixel window is this share of the face.
_SMALLEST_SHARE, _LARGEST_SHARE = 0.4, 1.7
# A face is the one of the frame before when they share this much of what they cover together.
_SAME_FACE_OVERLAP = 0.3
# Mean difference of two small copies of consecutive frames, in units of half the range of a pixel,
# from which they are two shots.
_CUT_DIFFERENCE = 0.15
_THUMBNAIL_SIDE = 16


class Follower:
    """Finds the faces of consecutive frames of one size; the first is a key frame.

    Args:
        networks: Of :func:`load_networks`.
        smallest: As in :func:`search_everywhere`.
        min_face: Longer side in pixels of the smallest face that is followed.
    """

    def __init__(self, networks: Networks, *, smallest: float, min_face: float) -> None:
        self._networks = networks
        self._smallest = smallest
        self._min_face = min_face
        self._seen: list[Face] = []  # in the frame before
        self._lost: list[Face] = []  # where they were last seen since the key frame
        self._thumbnail: torch.Tensor | None = None

    @torch.inference_mode()
    def find(self, image: np.ndarray) -> list[Face]:
        """Return the faces of the next frame, RGB uint8 (H, W, 3), largest first.

        Faces smaller than ``min_face`` that are seen by the way are returned too.
        """
        table = summed_area_table(frames_tensor([image], self._networks.device))
        before, self._thumbnail = self._thumbnail, _thumbnail(table)
        if before is None or _is_cut(before, self._thumbnail):
            self._seen, self._lost = [], []
            faces = self._search_everywhere(table)
        else:
            known = self._seen + self._lost
            faces = search_near(known, table, self._networks, smallest=self._smallest)
            if _missing(self._seen, faces):
                faces = self._search_everywhere(table)
            self._lost = _missing(known, faces)
        self._seen = [face for face in faces if longer_side(face) >= self._min_face]
        return faces

    def _search_everywhere(self, table: torch.Tensor) -> list[Face]:
        (faces,) = search_everywhere(table, self._networks, smallest=self._smallest)
        return faces


def search_near(
    known: Sequence[Face], table: torch.Tensor, networks: Networks, *, smallest: float
) -> list[Face]:
    """Return the faces of a frame, largest first, that are near known ones and about as large.

    Args:
        known: Faces of the frame before.
        table: The frame's summed-area table (1, H + 1, W + 1, 3).
        networks: Of :func:`load_networks`.
        smallest: As in :func:`search_everywhere`.
    """
    height, width = table.shape[1] - 1, table.shape[2] - 1
    scales = frame_scales(height, width, smallest=smallest, factor=PYRAMID_FACTOR)
    regions = [region for face in known for region in _regions(face, height, width, scales)]
    if not regions:
        return []
    windows = _windows_near(torch.tensor(regions, device=table.device), scales, table, networks.proposal)
    (faces,) = faces_of(windows, table, networks)
    return faces


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
    regions: torch.Tensor, scales: Sequence[float], table: torch.Tensor, network: ProposalNetwork
) -> Windows:
    """Return the windows in regions, int64 (N, 3) as above, that may pass the first threshold."""
    numbers, starts = regions[:, 0], regions[:, 1:]
    lengths = (table.shape[1] - 1, table.shape[2] - 1)
    sizes = starts.new_tensor([[shrunk(length, scale) for length in lengths] for scale in scales])[numbers]
    # A shrunk frame may be smaller than a region: its last pixel is repeated, cells there left out.
    pixels = torch.arange(_REGION_SIDE, device=table.device) + starts[:, :, None]  # (N, 2, side)
    pixels, counts = pixels.minimum(sizes[:, :, None] - 1), sizes[:, :, None]
    full = starts.new_tensor(lengths)[:, None]
    edges = torch.stack([pixels * full // counts, -(-(pixels + 1) * full // counts)], 2)
    frame = torch.zeros_like(numbers)
    samples = sample_windows(table, frame, edges[:, 0], edges[:, 1])
    features = network.features(samples, seams=frame[:0])
    chosen, cells = likely_cells(features, network)
    per_side = num_cells(_REGION_SIDE)
    places = torch.stack([cells // per_side, cells % per_side], 1) + starts[chosen] // CELL_STRIDE
    is_inside = (places < num_cells(sizes[chosen])).all(1)
    chosen, cells, places = chosen[is_inside], cells[is_inside], places[is_inside]
    factors = torch.tensor(scales, dtype=torch.float32, device=table.device)[numbers[chosen]]
    boxes = cell_boxes(places[:, 1], places[:, 0], factors)
    return Windows(torch.zeros_like(chosen), numbers[chosen], boxes, features[chosen, cells])


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


def _thumbnail(table: torch.Tensor) -> torch.Tensor:
    """Return the frame shrunk to float32 (1, 3, 16, 16)."""
    whole = torch.tensor([[0, 0, table.shape[2] - 1, table.shape[1] - 1]], device=table.device)
    return crop_windows(table, torch.zeros_like(whole[:, 0]), whole, _THUMBNAIL_SIDE)


def _is_cut(before: torch.Tensor, after: torch.Tensor) -> bool:
    return float((before - after).abs().mean()) > _CUT_DIFFERENCE
