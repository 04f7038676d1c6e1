"""The MTCNN cascade (Zhang et al. 2016, arXiv:1604.02878): frames -> proposals -> refined -> faces.

    the frame in many sizes        --first network--> proposals, 12 x 12 windows that may be faces
    24 x 24 crops of the proposals --second network-> refined boxes, most proposals dropped
    48 x 48 crops of those         --third network--> faces with landmarks

Thresholds, overlaps, roundings and their order are those of facenet-pytorch 2.5.3, so the faces are
the same. What is computed in another way, with the same result, is how pixels reach the networks
(sums, mosaic) and how the first network runs (networks).

All functions take frames of one size together, on one device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.ops import batched_nms

from deepfake_detect.faces.mosaic import (
    CELL_SIZE,
    CELL_STRIDE,
    MosaicPlan,
    frame_scales,
    mosaic_plan,
    strip_pixels,
)
from deepfake_detect.faces.networks import CropNetwork, Networks, ProposalNetwork
from deepfake_detect.faces.sums import crop_windows
from deepfake_detect.records import Face

PYRAMID_FACTOR = 0.709
_PROPOSAL_THRESHOLD, _REFINE_THRESHOLD, _OUTPUT_THRESHOLD = 0.6, 0.7, 0.7
_OVERLAP_WITHIN_SCALE, _OVERLAP = 0.5, 0.7
# The first threshold as log odds, less what rounding may add to them.
_LIKELY_LOG_ODDS = math.log(_PROPOSAL_THRESHOLD / (1 - _PROPOSAL_THRESHOLD)) - 1e-3
_REFINE_SIDE, _OUTPUT_SIDE = 24, 48


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows through which the first network saw what may be a face.

    Attributes:
        image_numbers: int64 (N,), which frame.
        scale_numbers: int64 (N,), which of the frame's sizes.
        boxes_xyxy: float32 (N, 4), the window in whole pixels of the frame.
        features: float32 (N, 32), what the network's heads look at.
    """

    image_numbers: torch.Tensor
    scale_numbers: torch.Tensor
    boxes_xyxy: torch.Tensor
    features: torch.Tensor


@dataclass(frozen=True, eq=False)
class Boxes:
    """Square boxes that may be faces.

    Attributes:
        boxes_xyxy: float32 (N, 4) in pixels of the frame.
        scores: float32 (N,), P(face) of the network that spoke last.
        image_numbers: int64 (N,), which frame.
    """

    boxes_xyxy: torch.Tensor
    scores: torch.Tensor
    image_numbers: torch.Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: torch.Tensor) -> Boxes:
        return Boxes(self.boxes_xyxy[chosen], self.scores[chosen], self.image_numbers[chosen])


@torch.inference_mode()
def search_everywhere(tables: torch.Tensor, networks: Networks, *, smallest: float) -> list[list[Face]]:
    """Find the faces of frames of one size.

    Args:
        tables: The frames' summed-area tables (B, H + 1, W + 1, 3), on the networks' device.
        networks: Of :func:`load_networks`.
        smallest: Side in pixels of the smallest window that the first network looks through.

    Returns:
        For each frame its faces, largest first.
    """
    height, width = tables.shape[1] - 1, tables.shape[2] - 1
    scales = frame_scales(height, width, smallest=smallest, factor=PYRAMID_FACTOR)
    if not scales:
        return [[] for _ in tables]
    plan = mosaic_plan(height, width, scales, is_whole=tables.is_cuda, device=tables.device)
    return faces_of(likely_windows(tables, plan, networks.proposal), tables, networks)


def faces_of(windows: Windows, tables: torch.Tensor, networks: Networks) -> list[list[Face]]:
    """Return the faces of each frame, largest first, that the three networks see in windows."""
    proposals = propose(windows, networks.proposal)
    refined = refine(proposals, tables, networks.refine)
    return output(refined, tables, networks.output)


def longer_side(face: Face) -> float:
    """Return the longer side of a face's box in pixels, which a smallest face size is about."""
    left, top, right, bottom = face.box_xyxy.tolist()
    return float(max(right - left, bottom - top))


def likely_windows(tables: torch.Tensor, plan: MosaicPlan, network: ProposalNetwork) -> Windows:
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
    images, tiles, cells, features = (torch.cat(some) for some in zip(*parts, strict=True))
    columns = cells % num_columns - plan.lefts[tiles]
    rows = cells // num_columns - plan.tops[tiles]
    return Windows(images, tiles, cell_boxes(columns, rows, plan.scales[tiles]), features)


def likely_cells(features: torch.Tensor, network: ProposalNetwork) -> tuple[torch.Tensor, torch.Tensor]:
    """Return frame and cell, int64 (N,) each, of features (B, cells, 32) that may pass."""
    images, cells = (network.log_odds(features) >= _LIKELY_LOG_ODDS).nonzero(as_tuple=True)
    return images, cells


def cell_boxes(columns: torch.Tensor, rows: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the windows of the frame, float32 (N, 4) in whole pixels, that cells look through.

    Args:
        columns, rows: int64 (N,), of the cell in the shrunk frame.
        scales: float32 (N,), how much it was shrunk.
    """
    starts = CELL_STRIDE * torch.stack([columns, rows], 1).float()
    scales = scales[:, None]
    return torch.cat([((starts + 1) / scales).floor(), ((starts + CELL_SIZE) / scales).floor()], 1)


def propose(windows: Windows, network: ProposalNetwork) -> Boxes:
    """Return what the first network takes for faces, moved as it says, the surest of each place."""
    scores, corrections = network.heads(windows.features)
    passed = (scores >= _PROPOSAL_THRESHOLD).nonzero()[:, 0]
    boxes, images = windows.boxes_xyxy[passed], windows.image_numbers[passed]
    scores, corrections = scores[passed], corrections[passed]
    groups = (images << 8) + windows.scale_numbers[passed]  # a frame has fewer than 256 sizes
    kept = batched_nms(boxes, scores, groups, _OVERLAP_WITHIN_SCALE)
    kept = kept[batched_nms(boxes[kept], scores[kept], images[kept], _OVERLAP)]
    boxes = boxes[kept]
    sizes = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return Boxes(_squared(boxes + corrections[kept] * sizes), scores[kept], images[kept])


def refine(proposals: Boxes, tables: torch.Tensor, network: CropNetwork) -> Boxes:
    """Return the proposals that the second network takes for faces, moved as it says."""
    proposals, crops = _crops(proposals, tables, _REFINE_SIDE)
    if not len(proposals):
        return proposals
    scores, corrections = network(crops)
    passed = (scores > _REFINE_THRESHOLD).nonzero()[:, 0]
    found = Boxes(proposals.boxes_xyxy[passed], scores[passed], proposals.image_numbers[passed])
    kept = _surest_per_image(found)
    boxes = _moved(found.boxes_xyxy[kept], corrections[passed][kept])
    return Boxes(_squared(boxes), found.scores[kept], found.image_numbers[kept])


def output(refined: Boxes, tables: torch.Tensor, network: CropNetwork) -> list[list[Face]]:
    """Return what the third network takes for faces, for each frame, largest first."""
    refined, crops = _crops(refined, tables, _OUTPUT_SIDE)
    if not len(refined):
        return [[] for _ in tables]
    scores, corrections, landmarks = network(crops)
    passed = (scores > _OUTPUT_THRESHOLD).nonzero()[:, 0]
    boxes = refined.boxes_xyxy[passed]
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    shares = landmarks[passed].view(-1, 2, 5).transpose(1, 2)  # of the box, (N, 5, 2)
    points = sizes[:, None] * shares + boxes[:, None, :2] - 1
    moved = _moved(boxes, corrections[passed])
    found = (moved, scores[passed], points, refined.image_numbers[passed])
    boxes_xyxy, probabilities, landmarks_xy, images = (one.cpu().numpy() for one in found)
    return [
        _faces(boxes_xyxy[images == image], probabilities[images == image], landmarks_xy[images == image])
        for image in range(len(tables))
    ]


def _crops(found: Boxes, tables: torch.Tensor, side: int) -> tuple[Boxes, torch.Tensor]:
    """Return the boxes that lie in their frames at least in part, and crops of those parts."""
    height, width = tables.shape[1] - 1, tables.shape[2] - 1
    left, top, right, bottom = found.boxes_xyxy.long().unbind(1)  # rounded towards zero
    starts = torch.stack([left - 1, top - 1], 1).clamp(min=0)
    ends = torch.stack([right.clamp(max=width), bottom.clamp(max=height)], 1)
    is_inside = (ends > starts).all(1)
    found, windows = found[is_inside], torch.cat([starts, ends], 1)[is_inside]
    return found, crop_windows(tables, found.image_numbers, windows, side)


def _moved(boxes: torch.Tensor, corrections: torch.Tensor) -> torch.Tensor:
    """Move the edges of boxes (N, 4) by shares (N, 4) of their size."""
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + corrections * sizes.repeat(1, 2)


def _squared(boxes: torch.Tensor) -> torch.Tensor:
    """Widen boxes (N, 4) to squares around the same centres."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    longer = sizes.amax(1, keepdim=True)
    starts = boxes[:, :2] + sizes * 0.5 - longer * 0.5
    return torch.cat([starts, starts + longer], 1)


def _surest_per_image(found: Boxes) -> torch.Tensor:
    """Return which boxes stay when those that overlap a surer one of their frame go."""
    kept = [torch.zeros_like(found.image_numbers[:0])]
    for image in sorted(set(found.image_numbers.tolist())):
        # One frame at a time: set side by side, as batched_nms does, boxes would be rounded.
        of_image = (found.image_numbers == image).nonzero()[:, 0]
        same = torch.zeros_like(of_image)
        kept.append(of_image[batched_nms(found.boxes_xyxy[of_image], found.scores[of_image], same, _OVERLAP)])
    return torch.cat(kept)


def _faces(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray) -> list[Face]:
    """Return the faces of one frame, largest first, without those inside a surer one."""
    kept = _surest_inside(boxes, scores)
    boxes, scores, points = boxes[kept], scores[kept], points[kept]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return [Face(boxes[k], float(scores[k]), points[k]) for k in np.argsort(areas)[::-1]]


def _surest_inside(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Return which boxes stay when those go that share 0.7 of the smaller of the two with a surer
    one, surest first."""
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
