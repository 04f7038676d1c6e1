"""What the tests of the extraction share: running it, and looking at what it left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake_detect.data.layouts import Selection, read_layout
from deepfake_detect.extraction import ExtractionConfig, ExtractionReport, extract_videos
from deepfake_detect.records import DatasetVideo
from deepfake_detect.video import VideoWriter

CONFIG = ExtractionConfig(num_frames=4)
WIDTH, HEIGHT = 360, 240
# Where the two people of two_people_clip are: left, top, right, bottom in pixels.
LARGE, SMALL = (0, 0, 240, 240), (245, 60, 355, 170)


def videos_of(tree: Path, *, methods: tuple[str, ...] | None = None) -> Sequence[DatasetVideo]:
    return read_layout(tree, selection=Selection(methods=methods, compressions=("c23",)))[2].videos


def extract(tree: Path, out: Path, config: ExtractionConfig = CONFIG, **options: Any) -> ExtractionReport:
    return extract_videos(videos_of(tree), out, config, show_progress=False, **options)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def two_people_clip(path: Path, portrait: np.ndarray, *, num_frames: int = 8) -> Path:
    """Write a clip of the portrait twice, large on the left and small on the right."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for left, top, right, bottom in (LARGE, SMALL):
        face = cv2.resize(portrait[30:270, 100:340], (right - left, bottom - top))
        frame[top:bottom, left:right] = face
    return write_frames(path, [frame] * num_frames)


def mask_clip(
    path: Path, box_xyxy: tuple[int, int, int, int] | None, *, num_frames: int = 8, scale: float = 1.0
) -> Path:
    """Write a mask of that clip, white in the middle of a box, or all black; ``scale`` is of its size."""
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    if box_xyxy is not None:
        left, top, right, bottom = box_xyxy
        inset = (right - left) // 4
        mask[top + inset : bottom - inset, left + inset : right - inset] = 255
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    return write_frames(path, [cv2.resize(mask, size)] * num_frames)


def write_frames(path: Path, frames: Sequence[np.ndarray]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width=width, height=height, frames_per_second=5) as writer:
        for frame in frames:
            writer.write(frame)
    return path
