#!/usr/bin/env python3
"""Make a miniature dataset out of `demo.mp4`, so that the notebooks run anywhere.

    python examples/make_miniature.py FaceForensics++ --pairs 4 2 2

Folders, names and splits are those of FaceForensics++ c23; with `--plain` the folders are `val/real` and
so on. `--pairs` is the number of pairs of people in train, val and test; a pair has two originals and two
fakes. The content is made up: every "person" is the demo's portrait in another disguise (turned, mirrored,
stretched, in other colors), a video is four frames, and a fake is the original with a face of low resolution,
as early face swaps had it. What is trained on these videos or measured with them means nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from deepfake_detect import detect_faces  # noqa: E402
from deepfake_detect.data.layouts.ffpp import official_split_pairs  # noqa: E402
from deepfake_detect.video import VideoWriter, read_frames  # noqa: E402

SPLITS = ("train", "val", "test")
WIDTH, HEIGHT, FRAMES_PER_SECOND = 320, 180, 25
NUM_FRAMES = 4
# Of reals and of fakes: a plain one, and that of FaceForensics++.
FOLDERS = (
    ("{}/real", "original_sequences/youtube/c23/videos"),
    ("{}/fake", "manipulated_sequences/Deepfakes/c23/videos"),
)
MAX_TURN_DEGREES = 20
LOW_RESOLUTION = (1.5, 3.5)  # of a fake's face, the original's is this many times as high


def make_miniature(root: Path, *, num_pairs: Sequence[int] = (4, 2, 2), plain: bool = False) -> int:
    """Write the videos of so many pairs in train, val and test; return their number."""
    frames = [frame.image for frame in read_frames(ROOT / "examples" / "demo.mp4")]
    frames = frames[: len(frames) // 2]  # the others are forged
    people = list(_people(num_pairs))
    generators = [np.random.default_rng(number) for number in range(len(people))]
    reals = []
    for rng in generators:
        start = int(rng.integers(len(frames) - NUM_FRAMES))
        reals.append(_disguised(frames[start : start + NUM_FRAMES], rng))
    faces = detect_faces([images[0] for images in reals], device="cpu")
    for (split, target, source), images, found, rng in zip(people, reals, faces, generators, strict=True):
        real, fake = (root / (folder.format(split) if plain else official) for folder, official in FOLDERS)
        _write(real / f"{target}.mp4", images)
        _write(fake / f"{target}_{source}.mp4", _forged(images, found[0].box_xyxy, rng))
    return 2 * len(people)


def _people(num_pairs: Sequence[int]) -> Iterator[tuple[str, str, str]]:
    """Yield split, target and source of each fake."""
    for split, number in zip(SPLITS, num_pairs, strict=True):
        pairs = [pair for one, *pair in official_split_pairs() if one == split]
        for first, second in pairs[:number]:
            yield from ((split, first, second), (split, second, first))


def _disguised(images: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return images in one disguise."""
    is_mirrored = rng.random() < 0.5
    angle = rng.uniform(-MAX_TURN_DEGREES, MAX_TURN_DEGREES)
    move = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle, rng.uniform(0.9, 1.1))
    move[0] *= rng.uniform(0.85, 1.15)
    contrast, shift = rng.uniform(0.85, 1.15), rng.uniform(-12, 12, 3)
    disguised = []
    for image in images:
        small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        small = cv2.flip(small, 1) if is_mirrored else small
        moved = cv2.warpAffine(small, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)
        lab = cv2.cvtColor(moved, cv2.COLOR_RGB2LAB) * contrast + shift
        disguised.append(cv2.cvtColor(lab.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB))
    return disguised


def _forged(images: Sequence[np.ndarray], box_xyxy: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return images with the face in low resolution, which is at the same place in all of them."""
    left, top, right, bottom = box_xyxy
    center, axes = ((left + right) / 2, (top + bottom) / 2), (0.9 * (right - left), 0.9 * (bottom - top))
    mask = cv2.ellipse(np.zeros((HEIGHT, WIDTH), np.float32), (center, axes, 0), 1, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 4)[..., None]
    side = rng.uniform(*LOW_RESOLUTION)
    forged = []
    for image in images:
        coarse = cv2.resize(image, None, fx=1 / side, fy=1 / side, interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        forged.append((mask * coarse + (1 - mask) * image).astype(np.uint8))
    return forged


def _write(path: Path, images: Sequence[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, frames_per_second=FRAMES_PER_SECOND) as writer:
        for image in images:
            writer.write(image)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the videos and print their number."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, help="folder to write")
    parser.add_argument("--pairs", type=int, nargs=3, default=(4, 2, 2), metavar=SPLITS)
    parser.add_argument("--plain", action="store_true", help="folders train/real, train/fake and so on")
    arguments = parser.parse_args(argv)
    number = make_miniature(arguments.root, num_pairs=arguments.pairs, plain=arguments.plain)
    print(f"{number} videos")
    return 0


if __name__ == "__main__":
    sys.exit(main())
