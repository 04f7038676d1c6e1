"""Crops of the study of forged regions: pairs of fake and original, what was changed, windows, blends."""

from __future__ import annotations

import csv
import io
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.evaluation.corruptions import h264
from deepfake_detect.faces.crops import best_similarity
from deepfake_detect.forgery import cross_blend, nearest_landmarks, self_blend

HELD_OUT = frozenset({"055", "147", "252", "266", "828", "830"})
"""Videos whose people no head is trained on, as target or as source: three pairs of swapped faces."""
SAME_PERSON = {"986": "648"}
STORED_MARGIN = 1.6
FAMILIES = {"Deepfakes": "swap", "FaceSwap": "swap", "Face2Face": "reenactment", "blend": "blend"}
ORIGINAL, BLEND = "original", "blend"
# Face2Face clips that show the face elsewhere than the original does at the same frame.
_SHIFTED = {"033_097", "210_241", "241_210", "266_252", "469_481", "830_828", "392_339"}
GRID = 56  # positions down and across at which regions are compared
_SIDE = 256  # pixels in which fake and original are compared
_SMOOTHING = 0.016  # sigma over the side: more than the blocks of the codec, less than an eye
_LEAST_CHANGE = 7.0  # gray levels after smoothing; compression alone stays below outside of faces
_CLOSING = 0.06  # over the side: holes where the new skin has the color of the old
_LEAST_AREA = 0.01
_CRF = 23
_SEAM = 12  # pixels over which a half becomes the other


@dataclass(frozen=True, eq=False)
class Crop:
    """A face crop with margin 1.6.

    Attributes:
        coded: JPEG.
        landmarks_xy: float (68, 2), fractions of the side.
        method: ``original``, a method of FaceForensics++, or ``blend``.
        original: JPEG of the original at the same frame and position, of fakes that have one.
    """

    coded: bytes
    landmarks_xy: np.ndarray
    method: str
    target: str
    source: str
    frame: int
    original: bytes | None = None

    @property
    def person(self) -> str:
        return SAME_PERSON.get(self.target, self.target)

    @property
    def clip(self) -> str:
        return f"{self.method}/{self.target}_{self.source}"

    @property
    def people(self) -> frozenset[str]:
        """Whose faces it was made of."""
        named = {self.target, self.source} - {""}
        return frozenset(SAME_PERSON.get(video, video) for video in named)

    def image(self) -> np.ndarray:
        """Return RGB uint8 (256, 256, 3)."""
        return decoded(self.coded)

    def region(self) -> np.ndarray | None:
        """Return what was changed, bool (256, 256); ``None`` where that is unknown or next to nothing."""
        if self.method == ORIGINAL:
            return np.zeros((_SIDE, _SIDE), bool)
        if self.original is None:
            return None
        region = changed_region(self.image(), decoded(self.original))
        return region if region.mean() >= _LEAST_AREA else None


def decoded(coded: bytes) -> np.ndarray:
    """Return RGB uint8 (256, 256, 3)."""
    image = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR_RGB)
    way = cv2.INTER_AREA if image.shape[0] > _SIDE else cv2.INTER_LINEAR
    return cv2.resize(image, (_SIDE, _SIDE), interpolation=way)


def read_crops(folder: Path) -> list[Crop]:
    """Return all crops of a folder with crops.tar, labels.csv and landmarks68.npz."""
    with tarfile.open(folder / "crops.tar") as tar:
        coded = {Path(member.name).name: tar.extractfile(member) for member in tar if member.isfile()}
        images = {name: io.BytesIO(file.read()).getvalue() for name, file in coded.items() if file}
    with np.load(folder / "landmarks68.npz") as stored:
        landmarks = dict(zip(stored["names"].tolist(), stored["xy"].astype(np.float32), strict=True))
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    originals = {(row["target_id"], row["frame"]): row for row in rows if row["method"] == ORIGINAL}
    return [_crop(row, images, landmarks, originals) for row in rows]


def _crop(
    row: Mapping[str, str],
    images: Mapping[str, bytes],
    landmarks: Mapping[str, np.ndarray],
    originals: Mapping[tuple[str, str], Mapping[str, str]],
) -> Crop:
    same = originals.get((row["target_id"], row["frame"]))
    is_shifted = row["method"] == "Face2Face" and row["video"] in _SHIFTED
    is_fake = row["method"] != ORIGINAL
    return Crop(
        images[row["name"]],
        landmarks[row["name"]],
        row["method"],
        row["target_id"],
        row["source_id"],
        int(row["frame"]),
        images[same["name"]] if same is not None and is_fake and not is_shifted else None,
    )


def changed_region(fake: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Return where two images (S, S, 3) differ by more than compression: bool (S, S).

    The difference is smoothed, compared with a fixed number of gray levels, and closed; the largest
    connected part is kept.
    """
    side = len(fake)
    difference = cv2.absdiff(fake, original).astype(np.float32).mean(2)
    smooth = cv2.GaussianBlur(difference, (0, 0), _SMOOTHING * side)
    width = round(_CLOSING * side) // 2 * 2 + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    closed = cv2.morphologyEx((smooth > _LEAST_CHANGE).astype(np.uint8), cv2.MORPH_CLOSE, disk)
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return np.zeros((side, side), bool)
    largest: np.ndarray = numbers == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return largest


@dataclass(frozen=True)
class Window:
    """Which square of a crop a detector reads.

    Attributes:
        fraction: Side over that of the crop.
        x, y: Center, in fractions of the side.
        is_mirrored: Left and right exchanged.
    """

    fraction: float
    x: float = 0.5
    y: float = 0.5
    is_mirrored: bool = False

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return the square of an image (S, S, ...)."""
        side = len(image)
        size = round(self.fraction * side)
        left, top = (min(max(round(at * side - size / 2), 0), side - size) for at in (self.x, self.y))
        square = image[top : top + size, left : left + size]
        return square[:, ::-1] if self.is_mirrored else square


@dataclass(frozen=True, eq=False)
class View:
    """A crop as a detector sees it."""

    crop: Crop
    window: Window

    def image(self) -> np.ndarray:
        """Return RGB uint8 (S, S, 3)."""
        return np.ascontiguousarray(self.window.cut(self.crop.image()))

    def region(self) -> np.ndarray:
        """Return how much of each position was changed, float32 (56, 56); NaN where unknown."""
        region = self.crop.region()
        return np.full((GRID, GRID), np.nan, np.float32) if region is None else self.on_grid(region)

    def on_grid(self, image: np.ndarray) -> np.ndarray:
        """Return what the window shows of an image (256, 256): float32 (56, 56), by area."""
        return small(self.window.cut(image))


def small(image: np.ndarray) -> np.ndarray:
    """Return a map (S, S) as float32 (56, 56), by area."""
    return cv2.resize(image.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)


def moved(fraction: float, rng: np.random.Generator) -> Window:
    """Return a window of another size and position, mirrored half of the time."""
    x, y = 0.5 + rng.uniform(-0.06, 0.06, 2)
    return Window(fraction * rng.uniform(0.85, 1.2), x, y, bool(rng.integers(2)))


def face_depth(landmarks_xy: np.ndarray) -> np.ndarray:
    """Return how far inside the convex hull of the landmarks each pixel is, float32 (256, 256).

    Below 0 outside, in fractions of the side.
    """
    hull = cv2.convexHull((landmarks_xy * _SIDE).astype(np.float32))
    inside = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.fillConvexPoly(inside, np.round(hull).astype(np.int32), 1)
    depths = [cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (inside, 1 - inside)]
    depth: np.ndarray = (depths[0] - depths[1]) / _SIDE
    return depth


def mean_region(crops: Iterable[Crop], onto: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of what was changed, float32 (256, 256); each face moved onto landmarks if given."""
    total, count = np.zeros((_SIDE, _SIDE), np.float32), 0
    for crop in crops:
        region = crop.region()
        if region is not None:
            total += region if onto is None else moved_onto(region, crop.landmarks_xy, onto)
            count += 1
    return total / count


def moved_onto(image: np.ndarray, landmarks_xy: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Return an image (S, S) rotated, scaled and shifted so that its landmarks match others: float32."""
    side = len(image)
    matrix = best_similarity(landmarks_xy * side, onto * side)
    return cv2.warpAffine(image.astype(np.float32), matrix, (side, side), flags=cv2.INTER_LINEAR)


def thinned(crops: Iterable[Crop], frames: int) -> list[Crop]:
    """Return as many crops of each clip, evenly over its frames."""
    clips: dict[str, list[Crop]] = defaultdict(list)
    for crop in crops:
        clips[crop.clip].append(crop)
    chosen = []
    for clip in clips.values():
        ordered = sorted(clip, key=lambda crop: crop.frame)
        numbers = np.linspace(0, len(ordered) - 1, min(frames, len(ordered))).round().astype(int)
        chosen += [ordered[number] for number in numbers]
    return chosen


def blends(originals: Sequence[Crop], *, seed: int) -> list[Crop]:
    """Return one blend of each original, in turn with its own face and with that of another person.

    They are encoded again as the forgeries of FaceForensics++ c23 were.
    """
    rng = np.random.default_rng(seed)
    bank = _SIDE * np.stack([crop.landmarks_xy for crop in originals])
    made = []
    for number, crop in enumerate(originals):
        image, points = crop.image(), bank[number]
        if number % 2:
            others = (originals[near] for near in nearest_landmarks(points, bank, k=len(bank)))
            other = next(one for one in others if one.person != crop.person)
            fake, _ = cross_blend(image, points, other.image(), other.landmarks_xy * _SIDE, rng=rng)
        else:
            fake, _ = self_blend(image, points, rng=rng)
        made.append(replace(crop, coded=_as_png(h264(fake, _CRF)), method=BLEND, original=crop.coded))
    return made


def halves(fakes: Sequence[Crop], *, seed: int) -> list[Crop]:
    """Return fakes of which one half of the face, to a side, above or below, is the original's."""
    rng = np.random.default_rng(seed)
    made = []
    for crop in fakes:
        if crop.original is not None:
            weight = _half(crop.landmarks_xy.mean(0), rng)[..., None]
            mixed = weight * crop.image() + (1 - weight) * decoded(crop.original)
            made.append(replace(crop, coded=_as_png(np.rint(mixed).astype(np.uint8))))
    return made


def _half(center_xy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return 1 on one side of a point and 0 on the other, soft in between: float (256, 256)."""
    axis, sign = int(rng.integers(2)), rng.choice([-1, 1])
    beyond = (np.arange(_SIDE) + 0.5) / _SIDE - center_xy[axis]
    ramp = np.clip(0.5 + sign * beyond * _SIDE / _SEAM, 0, 1)
    return np.tile(ramp, (_SIDE, 1)) if axis == 0 else np.tile(ramp[:, None], (1, _SIDE))


def _as_png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
