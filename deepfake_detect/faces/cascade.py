"""The MTCNN cascade (Zhang et al. 2016, arXiv:1604.02878): frames -> proposals -> refined -> faces.

    the frame in many sizes        --first network--> proposals, 12 x 12 windows that may be faces
    24 x 24 crops of the proposals --second network-> refined boxes, most proposals dropped
    48 x 48 crops of those         --third network--> faces with landmarks

Thresholds, overlaps, roundings and their order are those of facenet-pytorch 2.5.3, so the faces are
the same. What is computed in another way, with the same result, is how pixels reach the networks
(sums, mosaic) and how the first network runs (networks).

All functions take frames of one size together, on one device. What runs the networks is not known
here: tables, boxes and answers are torch's tensors, or arrays where another runtime has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deepfake_detect.faces.arrays import (
    Array,
    as_float32,
    as_int64,
    as_numpy,
    device_of,
    is_on_gpu,
    joined,
    library,
    nms,
    places_of,
)
from deepfake_detect.faces.integral import crop_windows
from deepfake_detect.faces.mosaic import (
    CELL_SIZE,
    CELL_STRIDE,
    MosaicPlan,
    frame_scales,
    mosaic_plan,
    strip_pixels,
)
from deepfake_detect.records import Face

PYRAMID_FACTOR = 0.709
_PROPOSAL_THRESHOLD, _REFINE_THRESHOLD, _OUTPUT_THRESHOLD = 0.6, 0.7, 0.7
_OVERLAP_WITHIN_SCALE, _OVERLAP = 0.5, 0.7
# The first threshold as log odds, less what rounding may add to them.
_LIKELY_LOG_ODDS = math.log(_PROPOSAL_THRESHOLD / (1 - _PROPOSAL_THRESHOLD)) - 1e-3
_REFINE_SIDE, _OUTPUT_SIDE = 24, 48


class ProposalNetwork(Protocol):
    """The first network, which looks through every window of a mosaic."""

    def features(self, pixels: Array, seams: Array) -> Array:
        """Return float32 (B, cells, F) of pixels (B, 3, H, W), cells row by row.

        Args:
            pixels: float32, channels last in memory; H and W even.
            seams: int64 (S,): places among the first layer's (H - 2) * (W - 2) answers that no
                pooling window is to see.
        """
        ...

    def log_odds(self, features: Array) -> Array:
        """Return log(P(face) / P(no face)) of features (..., F)."""
        ...

    def heads(self, features: Array) -> tuple[Array, Array]:
        """Return P(face) (N,) and the box's corrections (N, 4) of features (N, F)."""
        ...


class CropNetwork(Protocol):
    """The second or third network."""

    def __call__(self, crops: Array) -> tuple[Array, ...]:
        """Return P(face) (N,), the box's corrections (N, 4) and, from the third network, landmarks
        (N, 10) of crops float32 (N, 3, side, side), channels last in memory."""
        ...


class Networks(Protocol):
    """The three networks, of whatever runs them."""

    @property
    def proposal(self) -> ProposalNetwork: ...

    @property
    def refine(self) -> CropNetwork: ...

    @property
    def output(self) -> CropNetwork: ...

    def frames(self, images: Sequence[np.ndarray]) -> Array:
        """Return RGB uint8 arrays (H, W, 3) of one size as the networks want them, (B, H, W, 3)."""
        ...


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows through which the first network saw what may be a face.

    Attributes:
        image_numbers: int64 (N,), which frame.
        scale_numbers: int64 (N,), which of the frame's sizes.
        boxes_xyxy: float32 (N, 4), the window in whole pixels of the frame.
        features: float32 (N, F), what the network's heads look at.
    """

    image_numbers: Array
    scale_numbers: Array
    boxes_xyxy: Array
    features: Array


@dataclass(frozen=True, eq=False)
class Boxes:
    """Square boxes that may be faces.

    Attributes:
        boxes_xyxy: float32 (N, 4) in pixels of the frame.
        scores: float32 (N,), P(face) of the network that spoke last.
        image_numbers: int64 (N,), which frame.
    """

    boxes_xyxy: Array
    scores: Array
    image_numbers: Array

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: Array) -> Boxes:
        return Boxes(self.boxes_xyxy[chosen], self.scores[chosen], self.image_numbers[chosen])


def search_everywhere(tables: Array, networks: Networks, *, smallest: float) -> list[list[Face]]:
    """Find the faces of frames of one size.

    Args:
        tables: The frames' summed-area tables (B, H + 1, W + 1, 3), on the networks' device.
        networks: All three.
        smallest: Side in pixels of the smallest window that the first network looks through.

    Returns:
        For each frame its faces, largest first.
    """
    height, width = tables.shape[1] - 1, tables.shape[2] - 1
    scales = frame_scales(height, width, smallest=smallest, factor=PYRAMID_FACTOR)
    if not scales:
        return [[] for _ in tables]
    plan = mosaic_plan(height, width, scales, is_whole=is_on_gpu(tables), device=device_of(tables))
    return faces_of(likely_windows(tables, plan, networks.proposal), tables, networks)


def faces_of(windows: Windows, tables: Array, networks: Networks) -> list[list[Face]]:
    """Return the faces of each frame, largest first, that the three networks see in windows."""
    proposals = propose(windows, networks.proposal)
    refined = refine(proposals, tables, networks.refine)
    return output(refined, tables, networks.output)


def longer_side(face: Face) -> float:
    """Return the longer side of a face's box in pixels, which a smallest face size is about."""
    left, top, right, bottom = face.box_xyxy.tolist()
    return float(max(right - left, bottom - top))


def likely_windows(tables: Array, plan: MosaicPlan, network: ProposalNetwork) -> Windows:
    """Return the windows of frames that may pass the first threshold.

    Args:
        tables: Summed-area tables (B, H + 1, W + 1, 3).
        plan: For frames of that size.
        network: The first network.
    """
    num_columns = plan.num_cell_columns
    parts = []
    for strip in plan.strips:
        features = network.features(strip_pixels(tables, strip, plan.width), strip.seams)
        images, cells = likely_cells(features, network)
        features = features[images, cells]
        cells = cells + strip.first_cell_row * num_columns
        tiles = plan.cell_tiles[cells]
        is_inside = tiles >= 0
        parts.append([some[is_inside] for some in (images, tiles, cells, features)])
    images, tiles, cells, features = (joined(some) for some in zip(*parts, strict=True))
    columns = cells % num_columns - plan.lefts[tiles]
    rows = cells // num_columns - plan.tops[tiles]
    return Windows(images, tiles, cell_boxes(columns, rows, plan.scales[tiles]), features)


def likely_cells(features: Array, network: ProposalNetwork) -> tuple[Array, Array]:
    """Return frame and cell, int64 (N,) each, of features (B, cells, F) that may pass."""
    images, cells = library(features).where(network.log_odds(features) >= _LIKELY_LOG_ODDS)
    return images, cells


def cell_boxes(columns: Array, rows: Array, scales: Array) -> Array:
    """Return the windows of the frame, float32 (N, 4) in whole pixels, that cells look through.

    Args:
        columns, rows: int64 (N,), of the cell in the shrunk frame.
        scales: float32 (N,), how much it was shrunk.
    """
    floor = library(scales).floor
    starts = CELL_STRIDE * as_float32(library(columns).stack([columns, rows], 1))
    scales = scales[:, None]
    return joined([floor((starts + 1) / scales), floor((starts + CELL_SIZE) / scales)], 1)


def propose(windows: Windows, network: ProposalNetwork) -> Boxes:
    """Return what the first network takes for faces, moved as it says, the nms of each place."""
    scores, corrections = network.heads(windows.features)
    passed = scores >= _PROPOSAL_THRESHOLD
    boxes, images = windows.boxes_xyxy[passed], windows.image_numbers[passed]
    scores, corrections = scores[passed], corrections[passed]
    groups = (images << 8) + windows.scale_numbers[passed]  # a frame has fewer than 256 sizes
    kept = nms(boxes, scores, groups, _OVERLAP_WITHIN_SCALE)
    kept = kept[nms(boxes[kept], scores[kept], images[kept], _OVERLAP)]
    boxes = boxes[kept]
    sizes = boxes[:, 2:] - boxes[:, :2]
    moved = boxes + corrections[kept] * joined([sizes, sizes], 1)
    return Boxes(_squared(moved), scores[kept], images[kept])


def refine(proposals: Boxes, tables: Array, network: CropNetwork) -> Boxes:
    """Return the proposals that the second network takes for faces, moved as it says."""
    proposals, crops = _crops(proposals, tables, _REFINE_SIDE)
    if not len(proposals):
        return proposals
    scores, corrections = network(crops)
    passed = scores > _REFINE_THRESHOLD
    found = Boxes(proposals.boxes_xyxy[passed], scores[passed], proposals.image_numbers[passed])
    kept = _surest_per_image(found)
    boxes = _moved(found.boxes_xyxy[kept], corrections[passed][kept])
    return Boxes(_squared(boxes), found.scores[kept], found.image_numbers[kept])


def output(refined: Boxes, tables: Array, network: CropNetwork) -> list[list[Face]]:
    """Return what the third network takes for faces, for each frame, largest first."""
    refined, crops = _crops(refined, tables, _OUTPUT_SIDE)
    if not len(refined):
        return [[] for _ in tables]
    scores, corrections, landmarks = network(crops)
    passed = scores > _OUTPUT_THRESHOLD
    boxes = refined.boxes_xyxy[passed]
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    shares = library(landmarks).moveaxis(landmarks[passed].reshape(-1, 2, 5), 1, 2)  # of the box, (N, 5, 2)
    points = sizes[:, None] * shares + boxes[:, None, :2] - 1
    moved = _moved(boxes, corrections[passed])
    found = (moved, scores[passed], points, refined.image_numbers[passed])
    boxes_xyxy, probabilities, landmarks_xy, images = (as_numpy(one) for one in found)
    return [
        _faces(boxes_xyxy[images == image], probabilities[images == image], landmarks_xy[images == image])
        for image in range(len(tables))
    ]


def _crops(found: Boxes, tables: Array, side: int) -> tuple[Boxes, Array]:
    """Return the boxes that lie in their frames at least in part, and crops of those parts."""
    height, width = tables.shape[1] - 1, tables.shape[2] - 1
    whole = as_int64(found.boxes_xyxy)
    starts = (whole[:, :2] - 1).clip(min=0)
    stack = library(whole).stack
    ends = stack([whole[:, 2].clip(max=width), whole[:, 3].clip(max=height)], 1)
    is_inside = (ends > starts).all(1)
    found, windows = found[is_inside], joined([starts, ends], 1)[is_inside]
    return found, crop_windows(tables, found.image_numbers, windows, side)


def _moved(boxes: Array, corrections: Array) -> Array:
    """Move the edges of boxes (N, 4) by shares (N, 4) of their size."""
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + corrections * joined([sizes, sizes], 1)


def _squared(boxes: Array) -> Array:
    """Widen boxes (N, 4) to squares around the same centers."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    longer = library(sizes).maximum(sizes[:, :1], sizes[:, 1:])
    starts = boxes[:, :2] + sizes * 0.5 - longer * 0.5
    return joined([starts, starts + longer], 1)


def _surest_per_image(found: Boxes) -> Array:
    """Return which boxes stay when those that overlap a surer one of their frame go."""
    kept = [found.image_numbers[:0]]
    for image in sorted(set(found.image_numbers.tolist())):
        # One frame at a time: set side by side, as torchvision does, boxes would be rounded.
        of_image = places_of(found.image_numbers == image)
        same = found.image_numbers[of_image] * 0
        kept.append(of_image[nms(found.boxes_xyxy[of_image], found.scores[of_image], same, _OVERLAP)])
    return joined(kept)


def _faces(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray) -> list[Face]:
    """Return the faces of one frame, largest first, without those inside a surer one."""
    kept = _surest_inside(boxes, scores)
    boxes, scores, points = boxes[kept], scores[kept], points[kept]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return [Face(boxes[k], float(scores[k]), points[k]) for k in np.argsort(areas)[::-1]]


def _surest_inside(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Return which boxes stay when those go that share 0.7 of the smaller of the two with a surer
    one, nms first."""
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    order = np.argsort(scores)
    kept: list[int] = []
    while len(order):
        best, rest = order[-1], order[:-1]
        kept.append(int(best))
        starts = np.maximum(boxes[best, :2], boxes[rest, :2])
        ends = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.maximum(0.0, ends - starts + 1).prod(1)
        order = rest[shared / np.minimum(areas[best], areas[rest]) <= _OVERLAP]
    return kept
