"""What a real and its fake go through alike before a network sees them: resized, coded, recolored, covered.

Both images of a pair get the same steps, so that only the forgery distinguishes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.studies.unseen_people_forgeries import looked_up
from deepfake_detect.evaluation.corruptions import jpeg
from deepfake_detect.video.still import through_h264

Step = Callable[[np.ndarray], np.ndarray]
_INTACT = 0.35  # of the pairs are only turned, mirrored and resized
_NO_TRACE = (18, 40)  # sides in pixels at which no trace of a forgery is left


@dataclass(frozen=True)
class Damage:
    """Steps sampled once, for both images of a pair.

    Attributes:
        steps: In this order, before resizing to the network's input.
        side: Of the input, in pixels.
        covers: Steps after it.
        is_mirrored: Left and right exchanged.
    """

    steps: tuple[Step, ...]
    side: int
    covers: tuple[Step, ...]
    is_mirrored: bool

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return RGB uint8 (side, side, 3)."""
        for step in self.steps:
            image = step(image)
        image = resized(image, self.side)
        if self.is_mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
        for cover in self.covers:
            image = cover(image)
        return image


def sampled_damage(rng: np.random.Generator, side: int) -> Damage:
    """Draw the steps of a pair."""
    turn = [_turning(rng)] if rng.random() < 0.4 else []
    is_mirrored = bool(rng.integers(2))
    if rng.random() < _INTACT:
        return Damage(tuple(turn), side, (), is_mirrored)
    chances: tuple[tuple[float, Callable[[np.random.Generator], Step]], ...] = (
        (0.4, _shrinking),
        (0.18, _blurring),
        (0.1, _noise),
        (0.75, _coding),
        (0.5, _lighting),
        (0.3, _tinting),
        (0.3, _saturating),
        (0.06, lambda _: _grayed),
    )
    steps = [make(rng) for chance, make in chances if rng.random() < chance]
    covers = [_covering(rng) for _ in range(rng.integers(1, 4))] if rng.random() < 0.15 else []
    return Damage((*turn, *steps), side, tuple(covers), is_mirrored)


def without_traces(images: tuple[np.ndarray, ...], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Downscale images until only person and scene can be recognized, and upscale them again."""
    small = int(rng.integers(*_NO_TRACE))
    return tuple(resized(resized(image, small), len(image), cv2.INTER_CUBIC) for image in images)


def resized(image: np.ndarray, side: int, enlarge: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Return a square image with another side: by area if smaller, else by ``enlarge``."""
    way = cv2.INTER_AREA if side < len(image) else enlarge
    return np.ascontiguousarray(
        image if side == len(image) else cv2.resize(image, (side, side), interpolation=way)
    )


def _turning(rng: np.random.Generator) -> Step:
    degrees, stretch = rng.uniform(-8, 8), np.exp(rng.uniform(-0.06, 0.06))

    def turned(image: np.ndarray) -> np.ndarray:
        side = len(image)
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1.03)
        matrix[0, :2] *= stretch
        matrix[0, 2] += side / 2 * (1 - stretch)
        return cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)

    return turned


def _shrinking(rng: np.random.Generator) -> Step:
    side = int(np.exp(rng.uniform(np.log(80), np.log(200))))
    return lambda image: resized(image, min(side, len(image)))


def _blurring(rng: np.random.Generator) -> Step:
    sigma = rng.uniform(0.3, 2.2) / 224
    return lambda image: cv2.GaussianBlur(image, (0, 0), sigma * len(image))


def _noise(rng: np.random.Generator) -> Step:
    sigma, seed = rng.uniform(1, 8), int(rng.integers(1 << 30))

    def noisy(image: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    return noisy


def _coding(rng: np.random.Generator) -> Step:
    """As a key frame of H.264 or as JPEG, equally likely."""
    crf, quality = int(rng.integers(18, 36)), int(rng.integers(35, 96))
    return (
        (lambda image: through_h264(image, crf=crf))
        if rng.random() < 0.5
        else (lambda image: jpeg(image, quality))
    )


def _lighting(rng: np.random.Generator) -> Step:
    gain, offset = 1 + rng.uniform(-0.25, 0.25), rng.uniform(-20, 20)
    levels = np.clip((np.arange(256) - 128) * gain + 128 + offset, 0, 255) / 255
    table = 255 * levels ** np.exp(rng.uniform(-0.25, 0.25))
    return lambda image: looked_up(image, table)


def _tinting(rng: np.random.Generator) -> Step:
    table = np.arange(256)[:, None] + rng.uniform(-12, 12, 3)
    return lambda image: looked_up(image, table)


def _saturating(rng: np.random.Generator) -> Step:
    factor = 1 + rng.uniform(-0.4, 0.3)
    return lambda image: cv2.addWeighted(image, factor, _grayed(image), 1 - factor, 0)


def _grayed(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _covering(rng: np.random.Generator) -> Step:
    left, top, width, height = *rng.uniform(0, 1, 2), *rng.uniform(0.08, 0.28, 2)
    level = int(rng.integers(256))

    def covered(image: np.ndarray) -> np.ndarray:
        x, y, right, bottom = (round(at * len(image)) for at in (left, top, left + width, top + height))
        image[y:bottom, x:right] = level
        return image

    return covered
