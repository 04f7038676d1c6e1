#!/usr/bin/env python3
"""Make `examples/demo.mp4`, the clip that `make demo` scores: half pristine, half forged.

    python examples/make_demo.py

Source: `skimage.data.astronaut()`, NASA's portrait of the astronaut Eileen Collins, which is in the
public domain and ships with scikit-image (one of this project's `test` extras). It is the only
picture used.

The pristine half animates the portrait like a handheld interview: the camera sways and zooms, the
head leans and turns, the eyes blink, the mouth moves as in speech, and the sensor adds noise.

The forged half goes on in the same way, but its face is swapped for another recording of the same face, so
that no one else's is used: the frame of four seconds before, mirrored, lit from the wrong side. The swap is
the library's `cross_blend`, the published recipe of Face X-ray (Li et al. 2020, arXiv:1912.13458), with its
own defaults but for the blend ratio: a swap replaces the face, so it is 1. In each frame the mirrored face is
rotated, scaled and shifted onto the five landmarks that MTCNN finds there (so it trembles with them), gets
the colors of the face that it covers, and is blended in through a deformed, softened outline of the face. The
recipe's random numbers are those of seed 0, the same in each frame. Neither the recipe nor the seed was
chosen by what a detector sees.

All that moves is drawn from one random generator, so the same seed gives the same clip again on the
same machine with the same versions of the libraries.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from skimage import data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from deepfake_detect import Face, cross_blend, detect_faces  # noqa: E402
from deepfake_detect.forgery import CrossBlendConfig  # noqa: E402
from deepfake_detect.video import VideoWriter  # noqa: E402

WIDTH, HEIGHT = 640, 360
FRAMES_PER_SECOND = 25
NUM_FRAMES = 8 * FRAMES_PER_SECOND
FIRST_FORGED = NUM_FRAMES // 2

# Where things are in the portrait, in its pixels (x, y).
VIEW_CENTER, VIEW_WIDTH = (246.0, 139.0), 456.0
NECK = (226.0, 186.0)
HEAD, HEAD_RADII = (226.0, 92.0), (82.0, 98.0)
EYES = ((202.5, 101.5), (247.5, 103.5))
EYE_HALF_WIDTH, LID_ABOVE, LID_BELOW, BROW_ABOVE = 12.0, 3.2, 2.6, 10.0
MOUTH, MOUTH_HALF_WIDTH = (224.3, 149.0), 19.0
TEETH_EDGE_BEND = 8.5  # the corners of the smile lie this much higher than its middle
MOUTH_INSIDE = (58, 22, 22)

NOISE = 1.0  # standard deviation in gray levels
SWAP = CrossBlendConfig(blend_ratios=(1.0,))
SWAP_MARGIN = 1.6  # side of the square that is blended, over the longer side of the face box


@dataclass(frozen=True)
class Pose:
    """How one frame is seen. Lengths are in pixels of the portrait, angles in radians."""

    zoom: float
    shift: tuple[float, float]
    tilt: float
    lean: float
    turn: tuple[float, float]
    mouth: float
    smile: float
    blink: float
    exposure: float


def main() -> None:
    folder = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=folder / "demo.mp4", help="default: beside this script")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    poses = make_poses(rng)
    portrait = data.astronaut()
    frames = [with_noise(render(portrait, pose), rng) for pose in poses]
    frames[FIRST_FORGED:] = forge(frames[FIRST_FORGED:], frames[:FIRST_FORGED], seed=arguments.seed)
    with VideoWriter(arguments.out, width=WIDTH, height=HEIGHT, frames_per_second=FRAMES_PER_SECOND) as video:
        for frame in frames:
            video.write(frame)
    print(f"{arguments.out}: {NUM_FRAMES} frames, forged from frame {FIRST_FORGED} on")


# Motion ----------------------------------------------------------------------------------------------


def make_poses(rng: np.random.Generator) -> list[Pose]:
    """Draw how camera, head and face move over the clip."""
    zoom = 1 + wave(rng, period=7.0, size=0.025)
    # A hand sways slowly and trembles a little on top.
    shift_x = wave(rng, period=4.0, size=4.0) + wave(rng, period=0.6, size=0.25)
    shift_y = wave(rng, period=3.4, size=2.5) + wave(rng, period=0.5, size=0.25)
    tilt = wave(rng, period=5.0, size=0.007)
    lean = wave(rng, period=3.2, size=0.022)
    turn_x, turn_y = wave(rng, period=2.8, size=3.4), wave(rng, period=2.2, size=2.2)
    mouth, smile, blink = speech(rng), wave(rng, period=1.6, size=1.0), blinks(rng)
    exposure = 1 + wave(rng, period=6.0, size=0.012)
    return [
        Pose(
            zoom[i],
            (shift_x[i], shift_y[i]),
            tilt[i],
            lean[i],
            (turn_x[i], turn_y[i]),
            mouth[i],
            smile[i],
            blink[i],
            exposure[i],
        )
        for i in range(NUM_FRAMES)
    ]


def wave(rng: np.random.Generator, *, period: float, size: float) -> np.ndarray:
    """Return a smooth wandering for each frame, within -size and size; ``period`` in seconds."""
    seconds = np.arange(NUM_FRAMES) / FRAMES_PER_SECOND
    total = np.zeros(NUM_FRAMES)
    # Three tones whose periods share no multiple, so that the motion does not seem to repeat.
    for share, ratio in ((0.55, 1.0), (0.3, 0.618), (0.15, 0.414)):
        total += share * np.sin(2 * np.pi * (seconds / (period * ratio) + rng.random()))
    return size * total


def speech(rng: np.random.Generator) -> np.ndarray:
    """Return how far the mouth is open in each frame: syllables in phrases, with pauses between."""
    syllables = np.maximum(0, 0.25 + wave(rng, period=0.42, size=1.0))
    phrases = np.clip(0.7 + wave(rng, period=2.4, size=1.3), 0, 1)
    return np.convolve(4.2 * syllables * phrases, (0.25, 0.5, 0.25), mode="same")


def blinks(rng: np.random.Generator) -> np.ndarray:
    """Return how far the eyes are closed in each frame, 0 to 1: a blink each two seconds or so."""
    closed = np.zeros(NUM_FRAMES)
    course = (0.35, 0.85, 1.0, 0.8, 0.45, 0.15)  # eyes close faster than they open
    first = int(rng.integers(15, 30))
    while first + len(course) < NUM_FRAMES:
        closed[first : first + len(course)] = course
        first += int(rng.integers(42, 66))
    return closed


# The pristine picture --------------------------------------------------------------------------------


def render(portrait: np.ndarray, pose: Pose) -> np.ndarray:
    """Return one frame as float32 RGB, without noise."""
    columns, rows = np.meshgrid(np.arange(WIDTH, dtype=np.float64), np.arange(HEIGHT, dtype=np.float64))
    scale = VIEW_WIDTH / WIDTH / pose.zoom
    x, y = (columns - (WIDTH - 1) / 2) * scale, (rows - (HEIGHT - 1) / 2) * scale
    cos, sin = np.cos(pose.tilt), np.sin(pose.tilt)
    x, y = cos * x - sin * y, sin * x + cos * y
    x, y = x + VIEW_CENTER[0] + pose.shift[0], y + VIEW_CENTER[1] + pose.shift[1]
    return pose.exposure * sample(portrait, *still_head(x, y, pose), pose)


def still_head(x: np.ndarray, y: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Return where points of the moving head lie in the portrait."""
    radius = np.hypot((x - HEAD[0]) / HEAD_RADII[0], (y - HEAD[1]) / HEAD_RADII[1])
    # The lean ends softly outside the hair, so that the backdrop and the suit stay where they are.
    lean = pose.lean * smooth_step((1.5 - radius) / 0.5)
    from_neck_x, from_neck_y = x - NECK[0], y - NECK[1]
    x, y = x + lean * from_neck_y, y - lean * from_neck_x
    # A turning head moves what is near to the camera (the nose) more than its outline.
    depth = np.maximum(0, 1 - radius**2) ** 1.5
    return x - pose.turn[0] * depth, y - pose.turn[1] * depth


def sample(portrait: np.ndarray, x: np.ndarray, y: np.ndarray, pose: Pose) -> np.ndarray:
    """Take the portrait's colors at points of the face at rest, with the pose's expression."""
    x = x - pose.smile * (bump(x, y, 205, 141, 9, 8) - bump(x, y, 243, 142, 9, 8))
    y, gap = open_mouth(x, y, pose.mouth)
    picture = colors(portrait, x, y)
    picture += gap[..., None] * (np.float32(MOUTH_INSIDE) - picture)
    if pose.blink > 0:
        rows, cover = close_eyes(x, y, pose.blink)
        picture += cover[..., None] * (colors(portrait, x, rows) - picture)
    return picture


def colors(portrait: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    maps = x.astype(np.float32), y.astype(np.float32)
    # The view stays inside the portrait; the reflection is for seeds with larger motion.
    return cv2.remap(portrait.astype(np.float32), *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def open_mouth(x: np.ndarray, y: np.ndarray, drop: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower the jaw by ``drop``; return the rows to sample and how far the dark inside shows."""
    across = (x - MOUTH[0]) / MOUTH_HALF_WIDTH
    teeth_edge = MOUTH[1] - TEETH_EDGE_BEND * across**2
    below = np.maximum(0, y - MOUTH[1])
    # Widest at the chin, nothing at the collar.
    jaw = np.maximum(0, 1 - (across / (1 + 0.035 * below)) ** 2) * smooth_step((46 - below) / 26)
    lowered = drop * jaw
    gap = smooth_step(y - teeth_edge + 0.5) * smooth_step(teeth_edge + lowered - y + 0.5)
    # Rows inside the gap are hidden by it: they may come from anywhere near the edge.
    rows = np.where(y > teeth_edge, np.maximum(y - lowered, teeth_edge), y)
    return rows, gap * np.minimum(1, lowered)


def close_eyes(x: np.ndarray, y: np.ndarray, closed: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw the lids over the eyes; return the rows to sample for them and where they cover."""
    rows, cover = y, np.zeros_like(y)
    for eye_x, eye_y in EYES:
        arch = np.maximum(0, 1 - ((x - eye_x) / EYE_HALF_WIDTH) ** 2)
        brow, lid = eye_y - BROW_ABOVE, eye_y - LID_ABOVE * arch
        # The skin below the brow stretches, and the lashes at its edge come down with it.
        moved = lid + closed * (LID_ABOVE + LID_BELOW) * arch
        skin = np.minimum(lid, brow + (y - brow) * (lid - brow) / (moved - brow))
        here = (arch > 0) & (y > brow)
        rows = np.where(here, skin, rows)
        cover = np.where(here, smooth_step(moved - y + 0.5), cover)
    return rows, cover


def with_noise(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add what a sensor adds: the same grain in all colors, as cameras smooth color more."""
    grain = cv2.GaussianBlur(rng.standard_normal(picture.shape[:2]), (0, 0), 0.6)
    return to_bytes(picture + (NOISE / grain.std() * grain)[..., None])


# The forgery -----------------------------------------------------------------------------------------


def forge(frames: list[np.ndarray], earlier: list[np.ndarray], *, seed: int) -> list[np.ndarray]:
    """Swap the face of each frame for the mirrored one of an earlier frame."""
    mirrored = [np.ascontiguousarray(frame[:, ::-1]) for frame in earlier]
    found = zip(frames, detect_faces(frames), mirrored, detect_faces(mirrored), strict=True)
    return [swap(frame, faces[0], source, others[0], seed=seed) for frame, faces, source, others in found]


def swap(frame: np.ndarray, face: Face, source: np.ndarray, other: Face, *, seed: int) -> np.ndarray:
    """Return the frame with the face of another frame blended in."""
    rows, columns, landmarks = square_around(face)
    source_rows, source_columns, source_landmarks = square_around(other)
    forged = frame.copy()
    forged[rows, columns], _ = cross_blend(
        frame[rows, columns],
        landmarks,
        source[source_rows, source_columns],
        source_landmarks,
        rng=seed,
        config=SWAP,
    )
    return forged


def square_around(face: Face) -> tuple[slice, slice, np.ndarray]:
    """Return rows and columns of a square inside the frame around a face, and the landmarks (5, 2) in it."""
    left, top, right, bottom = face.box_xyxy
    side = min(HEIGHT, round(float(max(right - left, bottom - top)) * SWAP_MARGIN))
    first_x = int(np.clip(round(float(left + right - side) / 2), 0, WIDTH - side))
    first_y = int(np.clip(round(float(top + bottom - side) / 2), 0, HEIGHT - side))
    inside = slice(first_y, first_y + side), slice(first_x, first_x + side)
    return *inside, face.landmarks_xy - np.float32([first_x, first_y])


# Small tools -----------------------------------------------------------------------------------------


def bump(
    x: np.ndarray, y: np.ndarray, center_x: float, center_y: float, width: float, height: float
) -> np.ndarray:
    """Return a round hill of height 1."""
    return np.exp(-0.5 * (((x - center_x) / width) ** 2 + ((y - center_y) / height) ** 2))


def smooth_step(value: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and a smooth rise between."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def to_bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
