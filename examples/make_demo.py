#!/usr/bin/env python3
"""Make `examples/demo.mp4`, the clip that `make demo` scores: half pristine, half forged.

    python examples/make_demo.py

Source: `skimage.data.astronaut()`, NASA's portrait of the astronaut Eileen Collins, which is in the
public domain and ships with scikit-image (one of this project's `test` extras). It is the only
picture used.

The pristine half animates the portrait like a handheld interview: the camera sways and zooms, the
head leans and turns, the eyes blink, the mouth moves as in speech, and the sensor adds noise.

The forged half goes on in the same way, but its face is swapped in the manner of the early
autoencoder face swaps. The face put in is a disguise of the same face, so nobody else's face is used:

1. the portrait's face is mirrored (so its light falls from the wrong side), given other proportions
   (closer and larger eyes, a broader nose, a narrower jaw, a smaller smile) and other colors;
2. it is brought down to the 64 x 64 pixels that such a network put out, with no more detail than
   32 x 32 hold; it follows the mouth only half and never blinks;
3. in each frame it is fitted to the five landmarks that MTCNN finds there (so it trembles with
   them), enlarged again, and blended in from brows to chin with a feathered mask whose outline
   flickers a little.

All that moves is drawn from one random generator, so the same seed gives the same clip again on the
same machine with the same versions of the libraries.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from skimage import data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from deepfake_detect import detect_faces  # noqa: E402
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
NETWORK_SIDE = 64
NETWORK_DETAIL = 32
COLOR_SHIFT = (1.0, 0.955, 0.95)  # of RGB: a skin pinker and a little darker than the neck
OVERSAMPLING = 4  # sampled finer than the network's pixels, then averaged, as a resize would
# Eyes, nose and mouth corners in the network's square, in pixels of it.
NETWORK_LANDMARKS = np.array([(19.5, 18), (44.5, 18), (32, 33.5), (21, 42), (43, 42)], float)


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
    frames[FIRST_FORGED:] = forge(frames[FIRST_FORGED:], poses[FIRST_FORGED:], portrait, rng)
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


def forge(
    frames: list[np.ndarray], poses: list[Pose], portrait: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Swap the face of each frame for the disguised one."""
    source = similarity(detect_faces(portrait)[0][0].landmarks_xy, NETWORK_LANDMARKS)
    forged = []
    for frame, faces, pose in zip(frames, detect_faces(frames), poses, strict=True):
        target = similarity(faces[0].landmarks_xy, NETWORK_LANDMARKS)
        swapped = disguise(portrait, source, replace(pose, mouth=0.5 * pose.mouth, blink=0.0))
        swapped *= pose.exposure * (1 + 0.01 * rng.standard_normal())
        forged.append(blend(frame, swapped, face_mask(rng), target))
    return forged


def disguise(portrait: np.ndarray, source: np.ndarray, pose: Pose) -> np.ndarray:
    """Return the disguised face as the network would: float32 (64, 64, 3)."""
    side = NETWORK_SIDE * OVERSAMPLING
    steps = (np.arange(side) + 0.5) / OVERSAMPLING - 0.5
    u, v = np.meshgrid(steps, steps)
    u, v = other_proportions(u, v)
    u = NETWORK_SIDE - 1 - u
    backwards = cv2.invertAffineTransform(source)
    x, y = (row[0] * u + row[1] * v + row[2] for row in backwards)
    fine = sample(portrait, x, y, pose)
    small = cv2.resize(fine, (NETWORK_DETAIL, NETWORK_DETAIL), interpolation=cv2.INTER_AREA)
    # Such networks did not fill their own pixels.
    soft = cv2.resize(small, (NETWORK_SIDE, NETWORK_SIDE), interpolation=cv2.INTER_CUBIC)
    flat = soft.mean(axis=(0, 1)) + 0.88 * (soft - soft.mean(axis=(0, 1)))
    return flat * np.float32(COLOR_SHIFT)


def other_proportions(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where points of the disguised face lie in the real one, in the network's pixels."""
    (left, right, nose, *_), mouth = NETWORK_LANDMARKS, NETWORK_LANDMARKS[3:].mean(axis=0)
    for eye, inwards in ((left, 1.0), (right, -1.0)):
        there = bump(u, v, eye[0], eye[1], 7, 6)
        u = u - there * (1.6 * inwards + 0.10 * (u - eye[0]))
        v = v - 0.16 * there * (v - eye[1])
    u = u - 0.16 * bump(u, v, nose[0], nose[1], 7, 7) * (u - nose[0])
    there = bump(u, v, mouth[0], mouth[1], 14, 6)
    u, v = u + 0.22 * there * (u - mouth[0]), v + 0.15 * there * (v - mouth[1])
    # A narrower jaw and a longer chin.
    low = smooth_step((v - mouth[1] + 6) / 20)
    return u + 0.07 * low * (u - mouth[0]), v - 1.2 * low


def face_mask(rng: np.random.Generator) -> np.ndarray:
    """Return where the face goes in, 0 to 1, in the network's pixels times OVERSAMPLING."""
    side = NETWORK_SIDE * OVERSAMPLING
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    across, down = np.cos(angles), np.sin(angles)
    # From the brows to the chin; narrower at the chin than at the temples.
    x = 31.5 + np.where(down > 0, 21.5, 24.0) * across
    y = 33.0 + np.where(down > 0, 25.5, 20.5) * down
    # Old tools drew the outline anew from each frame's landmarks, hence its unrest.
    outline = np.stack([x, y], axis=1) + 0.55 * rng.standard_normal((len(angles), 2))
    mask = np.zeros((side, side), np.float32)
    points = np.round((outline + 0.5) * OVERSAMPLING).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points), 1.0)
    return cv2.GaussianBlur(mask, (0, 0), 1.7 * OVERSAMPLING)


def blend(frame: np.ndarray, face: np.ndarray, mask: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Enlarge the network's face into the frame, through the mask."""
    backwards = cv2.invertAffineTransform(target)
    size = (frame.shape[1], frame.shape[0])
    large = cv2.warpAffine(face, backwards, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    # The mask's pixels are OVERSAMPLING times finer, counted from their centers.
    finer = np.array([[1, 0, 0.5], [0, 1, 0.5]]) / OVERSAMPLING - np.array([[0, 0, 0.5], [0, 0, 0.5]])
    shares = cv2.warpAffine(mask, backwards @ np.vstack([finer, (0, 0, 1)]), size)[..., None]
    return to_bytes(frame + shares * (large - frame))


# Small tools -----------------------------------------------------------------------------------------


def similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Return the turn, scale and shift (2, 3) that brings points nearest to others."""
    x, y, one, nought = points[:, 0], points[:, 1], np.ones(len(points)), np.zeros(len(points))
    equations = np.concatenate([np.stack([x, -y, one, nought], 1), np.stack([y, x, nought, one], 1)])
    a, b, shift_x, shift_y = np.linalg.lstsq(equations, onto.T.ravel(), rcond=None)[0]
    return np.array([[a, -b, shift_x], [b, a, shift_y]])


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
