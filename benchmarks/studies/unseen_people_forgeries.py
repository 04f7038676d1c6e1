"""Forgeries made from reals, with the traces that the methods of FaceForensics++ leave.

Each function takes a square RGB uint8 crop of a real face, its 68 landmarks in pixels, a random generator
and, where another person's face is used, that face with its landmarks. It returns the real and the fake,
which differ in and around the face only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from deepfake_detect.faces.crops import best_similarity

_BROWS, _CHIN, _BROW_CENTER, _UPPER_LIP, _LOWER_LIP = slice(17, 27), 8, 27, 51, 57
_INNER, _MOUTH, _LOWER_JAW = slice(17, 68), slice(48, 68), slice(6, 11)
_LOW_MOUTH = np.r_[55:60, 65:68]
_STEADY = np.r_[0, 16, 27:36, 36, 39, 42, 45]  # points that expressions leave where they are
_ENOUGH = np.r_[0:17:2, 17:27:2, 27, 30, 31, 35, 36:48, 48:60:2, 62, 66]  # for a smooth warp
_SPLINE_CELLS = 28
_OUTLINES = ("brows", "forehead", "inner", "lower")


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A square RGB uint8 crop and its 68 landmarks, float (68, 2) in pixels."""

    image: np.ndarray
    landmarks_xy: np.ndarray

    @property
    def width(self) -> float:
        """From ear to ear, in pixels."""
        return float(np.linalg.norm(self.landmarks_xy[0] - self.landmarks_xy[16]))


Pair = tuple[np.ndarray, np.ndarray]


def self_blended(face: FaceCrop, rng: np.random.Generator) -> Pair:
    """Blend a recolored, slightly moved copy of the face into itself (arXiv:2204.08376)."""
    changed = recolored(face.image, rng, rng.uniform(0.3, 1.3))
    if rng.random() < 0.85:
        changed = with_other_detail(changed, rng)
    source, target = (changed, face.image) if rng.random() < 0.5 else (face.image, changed)
    center = tuple(map(float, face.landmarks_xy.mean(0)))
    matrix = cv2.getRotationMatrix2D(center, rng.uniform(-3, 3), rng.uniform(0.95, 1.05))
    matrix[:, 2] += rng.uniform(-0.035, 0.035, 2) * face.width
    mask = soft_mask(
        outline(face.landmarks_xy, _sampled_outline(rng, (0.4, 0.25, 0.25, 0.1))), face.image, rng
    )
    return target, blended(target, _moved(source, matrix), mask * rng.choice([0.5, 0.75, 1, 1, 1, 1]))


def autoencoded(face: FaceCrop, rng: np.random.Generator, other: FaceCrop | None = None) -> Pair:
    """Paste a face as an autoencoder of 48 to 128 pixels paints it, like Deepfakes; own or another's."""
    source = _jittered(face, rng) if other is None else onto(face, other, with_shape=rng.random() < 0.3)
    side = rng.choice([48, 64, 64, 80, 96, 128])
    factor = face.width * 1.15 / side * rng.uniform(0.9, 1.6)
    if factor > 1.02:
        source = coarsened(source, rng, factor * 0.95, factor * 1.05)
    if rng.random() < 0.7:
        source = cv2.GaussianBlur(source, (0, 0), rng.uniform(0.5, 1.3) * face.width / 100)
    if rng.random() < 0.25:
        source = sharpened(source, rng)
    is_box = rng.random() < 0.25
    polygon = (
        _box(face, rng) if is_box else outline(face.landmarks_xy, _sampled_outline(rng, (0.5, 0.2, 0.3, 0)))
    )
    mask = soft_mask(polygon, face.image, rng, is_deformed=not is_box)
    source = color_matched(source, face.image, mask, rng, amount=rng.uniform(0.5, 1), with_spread=True)
    return face.image, blended(face.image, recolored(source, rng, 0.5), mask)


def swapped(face: FaceCrop, rng: np.random.Generator, other: FaceCrop) -> Pair:
    """Warp another person's face onto this one's landmarks, with a narrow seam, like FaceSwap."""
    points = face.landmarks_xy + rng.normal(size=(68, 2)) * face.width * 0.006
    points = points + rng.normal(size=2) * face.width * 0.012
    source = onto(FaceCrop(face.image, points), other, with_shape=rng.random() < 0.85)
    polygon = outline(face.landmarks_xy, _sampled_outline(rng, (0.6, 0.1, 0.3, 0)))
    mask = soft_mask(polygon, face.image, rng, feather=_log_uniform(rng, 0.01, 0.06), is_deformed=_coin(rng))
    with_spread = rng.random() < 0.6
    source = color_matched(source, face.image, mask, rng, amount=rng.uniform(0.6, 1), with_spread=with_spread)
    if rng.random() < 0.4:
        source = with_other_detail(source, rng)
    return face.image, blended(face.image, source, mask * rng.choice([0.85, 1, 1]))


def reenacted(face: FaceCrop, rng: np.random.Generator, other: FaceCrop | None = None) -> Pair:
    """Move mouth, jaw and brows, at random or towards another's expression, like Face2Face."""
    points = _with_expression(face, other, rng) if other is not None else _with_open_mouth(face, rng)
    points = points + rng.normal(size=points.shape) * face.width * 0.004
    source = warped(face.image, face.landmarks_xy[_ENOUGH], points[_ENOUGH])
    kind = rng.random()
    if kind < 0.4:
        source = coarsened(source, rng, 1.05, 2.0)
    elif kind < 0.7:
        source = cv2.GaussianBlur(source, (0, 0), rng.uniform(0.3, 1) * face.width / 100)
    elif kind < 0.8:
        source = cv2.bilateralFilter(source, 5, rng.uniform(10, 40), 3)
    if rng.random() < 0.6:
        source = recolored(source, rng, rng.uniform(0.15, 0.5))
    polygon = outline(
        points if _coin(rng) else face.landmarks_xy, _sampled_outline(rng, (0.45, 0.1, 0.2, 0.25))
    )
    mask = soft_mask(polygon, face.image, rng, feather=_log_uniform(rng, 0.01, 0.08), is_deformed=_coin(rng))
    return face.image, blended(face.image, source, mask)


def partly_replaced(
    real: np.ndarray, fake: np.ndarray, landmarks_xy: np.ndarray, rng: np.random.Generator
) -> Pair:
    """Keep a forgery only within an outline of the face; around it is the original."""
    mask = soft_mask(outline(landmarks_xy, _sampled_outline(rng, (0.4, 0.25, 0.25, 0.1))), real, rng)
    return real, blended(real, fake, mask * rng.choice([0.5, 0.75, 1, 1]))


def outline(landmarks_xy: np.ndarray, kind: str) -> np.ndarray:
    """Return the convex outline (N, 2) of what is replaced: up to brows, forehead, inner or lower face."""
    points = landmarks_xy
    if kind == "forehead":
        up = (landmarks_xy[_BROW_CENTER] - landmarks_xy[_CHIN]) * 0.25
        points = np.concatenate([points, landmarks_xy[_BROWS] + up])
    elif kind == "inner":
        inner = landmarks_xy[_INNER]
        points = inner.mean(0) + (inner - inner.mean(0)) * 1.12
    elif kind == "lower":
        points = landmarks_xy[np.r_[2:15, 29:36, 48:68]]
    hull: np.ndarray = cv2.convexHull(points.astype(np.float32))[:, 0]
    return hull


def soft_mask(
    polygon_xy: np.ndarray,
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    feather: float | None = None,
    is_deformed: bool = True,
) -> np.ndarray:
    """Return the polygon as weights, float32 (S, S); ``feather`` is the seam's width over the face's."""
    mask = np.zeros(image.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, np.rint(polygon_xy * 8).astype(np.int32), 1.0, shift=3)
    size = np.sqrt(max(1.0, cv2.contourArea(polygon_xy.astype(np.float32))))
    if is_deformed:
        shift = _smooth_noise(mask.shape, rng) * size * 0.03
        mask = cv2.remap(mask, *_maps(shift), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    sigma = max(0.4, size * (_log_uniform(rng, 0.008, 0.09) if feather is None else feather))
    if _coin(rng):  # narrower, so that the seam stays within the face
        width = 2 * int(max(1, sigma)) + 1
        mask = cv2.erode(mask, np.ones((width, width), np.uint8))
    return np.clip(cv2.GaussianBlur(mask, (0, 0), sigma), 0, 1)


def blended(target: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return their mean, with the mask as the weight of the source."""
    weight = np.ascontiguousarray(mask, np.float32)
    return cv2.blendLinear(np.ascontiguousarray(source), np.ascontiguousarray(target), weight, 1 - weight)


def recolored(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Change brightness, contrast and gamma, at times each channel, hue and saturation."""
    gain, gamma = 1 + rng.uniform(-0.12, 0.12) * strength, np.exp(rng.uniform(-0.12, 0.12) * strength)
    offsets = np.full(3, rng.uniform(-12, 12) * strength)
    if rng.random() < 0.4:
        offsets += rng.uniform(-18, 18, 3) * strength
    levels = (np.arange(256)[:, None] - 128) * gain + 128 + offsets
    image = looked_up(image, 255 * (np.clip(levels, 0, 255) / 255) ** gamma)
    if rng.random() < 0.6:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16)
        hsv[..., 0] = (hsv[..., 0] + rng.integers(-6, 7)) % 180
        hsv[..., 1] = np.clip(hsv[..., 1] * (1 + rng.uniform(-0.3, 0.3) * strength), 0, 255)
        image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    return image


def looked_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return an image through a table of levels, (256,) or (256, 3)."""
    return cv2.LUT(image, np.clip(table.reshape(1, 256, -1), 0, 255).astype(np.uint8))


def coarsened(image: np.ndarray, rng: np.random.Generator, low: float = 1.2, high: float = 4.0) -> np.ndarray:
    """Downscale by a factor from ``low`` to ``high`` and upscale again."""
    side = max(8, round(len(image) / _log_uniform(rng, low, high)))
    ways = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=ways[rng.integers(3)])


def sharpened(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    soft, amount = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 2.0)), rng.uniform(0.3, 1.2)
    return cv2.addWeighted(image, 1 + amount, soft, -amount, 0)


def with_other_detail(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.random()
    if kind < 0.45:
        return coarsened(image, rng)
    if kind < 0.7:
        return sharpened(image, rng)
    if kind < 0.85:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6) * len(image) / 200)
    return image


def color_matched(
    source: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
    *,
    amount: float,
    with_spread: bool,
) -> np.ndarray:
    """Move the source's mean inside the mask, and its spread, towards the target's, in RGB or Lab."""
    inside = (mask > 0.3).astype(np.uint8)
    if inside.sum() < 30:
        return source
    in_lab = _coin(rng)
    images = [cv2.cvtColor(one, cv2.COLOR_RGB2LAB) if in_lab else one for one in (source, target)]
    (mean, spread), (to_mean, to_spread) = (cv2.meanStdDev(one, mask=inside) for one in images)
    gain = np.clip(to_spread / np.maximum(2, spread), 0.5, 2)[:, 0] if with_spread else np.ones(3)
    levels = np.arange(256)[:, None]
    matched = (levels - mean[:, 0]) * gain + to_mean[:, 0]
    moved = looked_up(images[0], levels + amount * (matched - levels))
    return cv2.cvtColor(moved, cv2.COLOR_LAB2RGB) if in_lab else moved


def onto(face: FaceCrop, other: FaceCrop, *, with_shape: bool) -> np.ndarray:
    """Return another's face where this one is: turned, scaled and shifted, or warped point by point."""
    if with_shape:
        return warped(
            other.image, other.landmarks_xy[_ENOUGH], face.landmarks_xy[_ENOUGH], face.image.shape[:2]
        )
    matrix = best_similarity(other.landmarks_xy[_INNER], face.landmarks_xy[_INNER])
    return _moved(other.image, matrix, face.image.shape[:2])


def warped(
    image: np.ndarray, from_xy: np.ndarray, to_xy: np.ndarray, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return an image whose points moved, by a thin plate spline computed on a coarse grid."""
    height, width = size or image.shape[:2]
    spline = RBFInterpolator(to_xy, from_xy - to_xy, smoothing=1e-3, kernel="thin_plate_spline")
    centers = (np.arange(_SPLINE_CELLS) + 0.5) / _SPLINE_CELLS
    grid = np.stack(np.meshgrid(centers * width, centers * height), -1).reshape(-1, 2)
    shift = spline(grid).reshape(_SPLINE_CELLS, _SPLINE_CELLS, 2).astype(np.float32)
    maps = _maps(cv2.resize(shift, (width, height), interpolation=cv2.INTER_LINEAR))
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _with_expression(face: FaceCrop, other: FaceCrop, rng: np.random.Generator) -> np.ndarray:
    points = face.landmarks_xy.astype(np.float64)
    matrix = best_similarity(other.landmarks_xy[_STEADY], points[_STEADY])
    theirs = other.landmarks_xy @ matrix[:, :2].T + matrix[:, 2]
    part = np.r_[_MOUTH] if rng.random() < 0.6 else np.r_[5:12, _BROWS, _MOUTH]
    limit = 0.12 * face.width
    points[part] += rng.uniform(0.3, 0.9) * np.clip(theirs[part] - points[part], -limit, limit)
    return points


def _with_open_mouth(face: FaceCrop, rng: np.random.Generator) -> np.ndarray:
    points = face.landmarks_xy.astype(np.float64)
    down = points[_LOWER_LIP] - points[_UPPER_LIP]
    down = down / (np.linalg.norm(down) + 1e-6)
    across = np.array([down[1], -down[0]])
    opening = down * rng.uniform(-0.03, 0.08) * face.width
    points[_LOW_MOUTH] += opening
    points[_LOWER_JAW] += 0.6 * opening
    mouth = points[_MOUTH]
    points[_MOUTH] += ((mouth - mouth.mean(0)) @ across)[:, None] * across * rng.uniform(-0.05, 0.05)
    points[_BROWS] -= down * rng.uniform(-0.02, 0.03) * face.width
    return points


def _box(face: FaceCrop, rng: np.random.Generator) -> np.ndarray:
    center, half = face.landmarks_xy[_INNER].mean(0), face.width * rng.uniform(0.32, 0.48)
    corners = np.array([(-1, -1.1), (1, -1.1), (1, 1.1), (-1, 1.1)])
    return (center + half * corners).astype(np.float32)


def _jittered(face: FaceCrop, rng: np.random.Generator) -> np.ndarray:
    maps = _maps(_smooth_noise(face.image.shape[:2], rng) * face.width * 0.015)
    return cv2.remap(face.image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _moved(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    height, width = size or image.shape[:2]
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def _smooth_noise(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    cells = int(rng.integers(4, 9))
    noise = rng.normal(size=(cells, cells, 2)).astype(np.float32)
    return cv2.resize(noise, size[1::-1], interpolation=cv2.INTER_CUBIC)


def _maps(shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel comes from, for a shift (H, W, 2)."""
    rows, columns = np.mgrid[: shift.shape[0], : shift.shape[1]].astype(np.float32)
    x, y = shift.astype(np.float32).transpose(2, 0, 1)
    return columns + x, rows + y


def _sampled_outline(rng: np.random.Generator, probabilities: tuple[float, ...]) -> str:
    return str(rng.choice(_OUTLINES, p=probabilities))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _coin(rng: np.random.Generator) -> bool:
    return bool(rng.random() < 0.5)
