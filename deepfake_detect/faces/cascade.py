"""The MTCNN cascade (Zhang et al. 2016, arXiv:1604.02878): frames -> proposals -> refined -> faces.

    the frame at many scales         --P-Net--> proposals: 12 x 12 windows that may be faces
    24 x 24 crops of the proposals   --R-Net--> refined boxes; most proposals are dropped
    48 x 48 crops of those           --O-Net--> faces with landmarks

Thresholds, overlaps, rounding and their order are those of facenet-pytorch 2.5.3, so the faces are the
same. Pixels reach the networks in another way (integral, mosaic) and P-Net runs in another way
(networks), with the same results.

All functions take frames of one size together, on one device. The runtime of the networks is unknown
here: tables, boxes and outputs are torch tensors, or numpy arrays for other runtimes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.faces.arrays import (
    Array,
    as_float32,
    as_int64,
    as_numpy,
    concat,
    device_of,
    indices_of,
    is_on_gpu,
    namespace,
    nms,
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
_OVERLAP_WITHIN_SCALE, _OVERLAP = 0.5, 0.7
_ROUNDING_OF_LOG_ODDS = 1e-3
_LOWEST_FACTOR, _HIGHEST_FACTOR = 0.2, 0.95
_RNET_SIDE, _ONET_SIDE = 24, 48


@dataclass(frozen=True)
class CascadeOptions:
    """How the cascade searches.

    Attributes:
        thresholds: P(face) from which a box passes P-Net, R-Net and O-Net, each above 0 and below 1.
        factor: Ratio of one scale of the frame to the one before, 0.2 to 0.95.

    Raises:
        OptionError: A value is out of range.
    """

    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    factor: float = PYRAMID_FACTOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", tuple(self.thresholds))  # a list, as facenet-pytorch takes it
        if len(self.thresholds) != 3 or not all(0 < threshold < 1 for threshold in self.thresholds):
            cause = f"is {', '.join(f'{threshold:g}' for threshold in self.thresholds)}"
            raise OptionError("thresholds", cause, "must be three numbers above 0 and below 1")
        if not _LOWEST_FACTOR <= self.factor <= _HIGHEST_FACTOR:
            allowed = f"must be {_LOWEST_FACTOR:g} to {_HIGHEST_FACTOR:g}"
            raise OptionError("factor", f"is {self.factor:g}", allowed)


USUAL = CascadeOptions()
"""Those of facenet-pytorch's defaults."""


class PNet(Protocol[Array]):
    """P-Net, run over every window of a mosaic."""

    def features(self, pixels: Array, seams: Array) -> Array:
        """Return float32 (B, cells, F) of pixels (B, 3, H, W), cells row by row.

        Args:
            pixels: float32, channels last in memory; H and W even.
            seams: int64 (S,): indices into the first layer's (H - 2) * (W - 2) outputs that pooling
                windows must ignore.
        """
        ...

    def log_odds(self, features: Array) -> Array:
        """Return log(P(face) / P(no face)) of features (..., F)."""
        ...

    def heads(self, features: Array) -> tuple[Array, Array]:
        """Return P(face) (N,) and box regression offsets (N, 4) of features (N, F)."""
        ...


class CropNetwork(Protocol[Array]):
    """R-Net or O-Net."""

    def __call__(self, crops: Array) -> tuple[Array, ...]:
        """Return P(face) (N,), box regression offsets (N, 4) and, from O-Net, landmarks (N, 10) of
        crops float32 (N, 3, side, side), channels last in memory.
        """
        ...


class Networks(Protocol[Array]):
    """The three networks in some runtime."""

    @property
    def runtime(self) -> str: ...

    @property
    def pnet(self) -> PNet[Array]: ...

    @property
    def rnet(self) -> CropNetwork[Array]: ...

    @property
    def onet(self) -> CropNetwork[Array]: ...

    def frames(self, images: Sequence[np.ndarray]) -> Array:
        """Return RGB uint8 arrays (H, W, 3) of one size as the networks take them, (B, H, W, 3)."""
        ...


@dataclass(frozen=True, eq=False)
class Windows(Generic[Array]):
    """Windows in which P-Net may have found a face."""

    image_numbers: Array  # int64 (N,), index of the frame
    scale_numbers: Array  # int64 (N,), index of the frame's scale
    boxes_xyxy: Array  # float32 (N, 4), the window in integer pixels of the frame
    features: Array  # float32 (N, F), inputs of P-Net's heads


@dataclass(frozen=True, eq=False)
class Boxes(Generic[Array]):
    """Square boxes that may be faces."""

    boxes_xyxy: Array  # float32 (N, 4) in pixels of the frame
    scores: Array  # float32 (N,), P(face) of the last network that ran
    image_numbers: Array  # int64 (N,), index of the frame

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: Array) -> Boxes[Array]:
        return Boxes(self.boxes_xyxy[chosen], self.scores[chosen], self.image_numbers[chosen])


def search_everywhere(
    tables: Array, networks: Networks[Array], *, smallest: float, options: CascadeOptions = USUAL
) -> list[list[Face]]:
    """Return the faces of each frame, largest first.

    Args:
        tables: Integral images of the frames (B, H + 1, W + 1, 3), on the networks' device.
        networks: P-Net, R-Net and O-Net.
        smallest: Side in pixels of P-Net's smallest window.
        options: How to search.
    """
    height, width = tables.shape[1] - 1, tables.shape[2] - 1
    scales = frame_scales(height, width, smallest=smallest, factor=options.factor)
    if not scales:
        return [[] for _ in tables]
    plan: MosaicPlan[Array] = mosaic_plan(
        height, width, scales, is_whole=is_on_gpu(tables), device=device_of(tables)
    )
    windows = likely_windows(tables, plan, networks.pnet, options.thresholds[0])
    return faces_of(windows, tables, networks, options)


def faces_of(
    windows: Windows[Array], tables: Array, networks: Networks[Array], options: CascadeOptions = USUAL
) -> list[list[Face]]:
    """Return the faces of each frame, largest first, that the networks find in windows."""
    of_pnet, of_rnet, of_onet = options.thresholds
    proposals = run_pnet(windows, networks.pnet, of_pnet)
    refined = run_rnet(proposals, tables, networks.rnet, of_rnet)
    return run_onet(refined, tables, networks.onet, of_onet)


def longer_side(face: Face) -> float:
    """Return the longer side of a face's box in pixels, to which a minimum face size applies."""
    left, top, right, bottom = face.box_xyxy.tolist()
    return float(max(right - left, bottom - top))


def likely_windows(
    tables: Array, plan: MosaicPlan[Array], network: PNet[Array], threshold: float = USUAL.thresholds[0]
) -> Windows[Array]:
    """Return the windows of frames that may pass P-Net's threshold."""
    num_columns = plan.num_cell_columns
    parts: list[tuple[Array, Array, Array, Array]] = []
    for strip in plan.strips:
        features = network.features(strip_pixels(tables, strip, plan.width), strip.seams)
        images, cells = likely_cells(features, network, threshold)
        features = features[images, cells]
        cells = cells + strip.first_cell_row * num_columns
        tiles = plan.cell_tiles[cells]
        is_inside = tiles >= 0
        parts.append((images[is_inside], tiles[is_inside], cells[is_inside], features[is_inside]))
    images, tiles, cells, features = (concat([part[n] for part in parts]) for n in range(4))
    columns = cells % num_columns - plan.lefts[tiles]
    rows = cells // num_columns - plan.tops[tiles]
    return Windows(images, tiles, cell_boxes(columns, rows, plan.scales[tiles]), features)


def likely_cells(
    features: Array, network: PNet[Array], threshold: float = USUAL.thresholds[0]
) -> tuple[Array, Array]:
    """Return frame and cell, int64 (N,) each, of features (B, cells, F) that may pass."""
    least = math.log(threshold / (1 - threshold)) - _ROUNDING_OF_LOG_ODDS
    images, cells = namespace(features).where(network.log_odds(features) >= least)
    return images, cells


def cell_boxes(columns: Array, rows: Array, scales: Array) -> Array:
    """Return the windows of the frame, float32 (N, 4) in integer pixels, that cells of scaled frames see."""
    floor = namespace(scales).floor
    starts = CELL_STRIDE * as_float32(namespace(columns).stack([columns, rows], 1))
    scales = scales[:, None]
    return concat([floor((starts + 1) / scales), floor((starts + CELL_SIZE) / scales)], 1)


def run_pnet(
    windows: Windows[Array], network: PNet[Array], threshold: float = USUAL.thresholds[0]
) -> Boxes[Array]:
    """Return P-Net's proposals after box regression and NMS, within each scale and over all scales."""
    scores, offsets = network.heads(windows.features)
    passed = scores >= threshold
    boxes, images = windows.boxes_xyxy[passed], windows.image_numbers[passed]
    scores, offsets = scores[passed], offsets[passed]
    groups = (images << 8) + windows.scale_numbers[passed]  # a frame has fewer than 256 scales
    kept = nms(boxes, scores, groups, _OVERLAP_WITHIN_SCALE)
    kept = kept[nms(boxes[kept], scores[kept], images[kept], _OVERLAP)]
    boxes = boxes[kept]
    sizes = boxes[:, 2:] - boxes[:, :2]
    moved = boxes + offsets[kept] * concat([sizes, sizes], 1)
    return Boxes(_squared(moved), scores[kept], images[kept])


def run_rnet(
    proposals: Boxes[Array],
    tables: Array,
    network: CropNetwork[Array],
    threshold: float = USUAL.thresholds[1],
) -> Boxes[Array]:
    """Return the proposals that R-Net accepts, after NMS and box regression."""
    proposals, crops = _crops(proposals, tables, _RNET_SIDE)
    if not len(proposals):
        return proposals
    scores, offsets = network(crops)
    passed = scores > threshold
    found = Boxes(proposals.boxes_xyxy[passed], scores[passed], proposals.image_numbers[passed])
    kept = _nms_per_image(found)
    boxes = _moved(found.boxes_xyxy[kept], offsets[passed][kept])
    return Boxes(_squared(boxes), found.scores[kept], found.image_numbers[kept])


def run_onet(
    refined: Boxes[Array], tables: Array, network: CropNetwork[Array], threshold: float = USUAL.thresholds[2]
) -> list[list[Face]]:
    """Return the faces that O-Net accepts, for each frame, largest first."""
    refined, crops = _crops(refined, tables, _ONET_SIDE)
    if not len(refined):
        return [[] for _ in tables]
    scores, offsets, landmarks = network(crops)
    passed = scores > threshold
    boxes = refined.boxes_xyxy[passed]
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    relative = namespace(landmarks).moveaxis(
        landmarks[passed].reshape(-1, 2, 5), 1, 2
    )  # to the box, (N, 5, 2)
    points = sizes[:, None] * relative + boxes[:, None, :2] - 1
    moved = _moved(boxes, offsets[passed])
    found = (moved, scores[passed], points, refined.image_numbers[passed])
    boxes_xyxy, probabilities, landmarks_xy, images = (as_numpy(one) for one in found)
    return [
        _faces(boxes_xyxy[images == image], probabilities[images == image], landmarks_xy[images == image])
        for image in range(len(tables))
    ]


def _crops(found: Boxes[Array], tables: Array, side: int) -> tuple[Boxes[Array], Array]:
    """Return the boxes that lie at least partly in their frames, and crops of those parts."""
    height, width = tables.shape[1] - 1, tables.shape[2] - 1
    corners = as_int64(found.boxes_xyxy)
    starts = (corners[:, :2] - 1).clip(min=0)
    stack = namespace(corners).stack
    ends = stack([corners[:, 2].clip(max=width), corners[:, 3].clip(max=height)], 1)
    fits = ends > starts
    is_inside = fits[:, 0] & fits[:, 1]
    found, windows = found[is_inside], concat([starts, ends], 1)[is_inside]
    return found, crop_windows(tables, found.image_numbers, windows, side)


def _moved(boxes: Array, offsets: Array) -> Array:
    """Move the edges of boxes (N, 4) by offsets (N, 4) in units of their size."""
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    moved: Array = boxes + offsets * concat([sizes, sizes], 1)
    return moved


def _squared(boxes: Array) -> Array:
    """Widen boxes (N, 4) to squares around the same centers."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    longer = namespace(sizes).maximum(sizes[:, :1], sizes[:, 1:])
    starts = boxes[:, :2] + sizes * 0.5 - longer * 0.5
    return concat([starts, starts + longer], 1)


def _nms_per_image(found: Boxes[Array]) -> Array:
    """Return the boxes that remain after NMS within each frame."""
    kept = [found.image_numbers[:0]]
    for image in sorted(set(found.image_numbers.tolist())):
        # One frame at a time: torchvision moves the boxes of several groups apart, which rounds them.
        of_image = indices_of(found.image_numbers == image)
        same = found.image_numbers[of_image] * 0
        kept.append(of_image[nms(found.boxes_xyxy[of_image], found.scores[of_image], same, _OVERLAP)])
    return concat(kept)


def _faces(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray) -> list[Face]:
    """Return the faces of one frame, largest first, after a last NMS."""
    kept = _nms_by_smaller_area(boxes, scores)
    boxes, scores, points = boxes[kept], scores[kept], points[kept]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return [Face(boxes[k], float(scores[k]), points[k]) for k in np.argsort(areas)[::-1]]


def _nms_by_smaller_area(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Return the boxes that remain after NMS by intersection over the smaller of the two areas."""
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
