"""Face detection in its three modes beside facenet-pytorch, and how far the faces agree.

    python benchmarks/bench_faces.py CLIP_OR_PICTURE [...] [--frames 16] [--run 64] [--rounds 5]
        [--threads N] [--json FILE]

The named alternatives are facenet-pytorch's `MTCNN(keep_all=True).detect(frame)`, and the same with
`min_face_size` set to the smallest face that the default mode looks for. Clips are taken in their
own size and, where they are larger than 720p, shrunk to that as well.

    speed        exact and default mode on --frames evenly spaced frames given together, default
                 mode also frame by frame; dense mode on the first --run frames, where
                 facenet-pytorch is timed on every eighth
    agreement    of exact and default mode on those frames with facenet-pytorch's default, in
                 default mode for faces of the smallest size or larger; of dense mode with default
                 mode on each frame of the run alone
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from benchmarks.measuring import add_json_option, record, time_in_turn  # noqa: E402
from deepfake_detect import Face, detect_faces  # noqa: E402
from deepfake_detect.faces import MtcnnDetector, default_min_face  # noqa: E402

_PICTURES = {".jpg", ".jpeg", ".png"}
_SMALLER_HEIGHT = 720
_EVERY = 8  # of the frames of a run, facenet-pytorch is timed on each so many-th
_LARGE_FACE = 80.0


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one clip in one size: some evenly spaced, and the first in a run (maybe none)."""

    name: str
    spaced: list[np.ndarray]
    run: list[np.ndarray]


def main() -> int:
    arguments = _parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    inputs = [
        {
            "input": frames.name,
            "width": frames.spaced[0].shape[1],
            "height": frames.spaced[0].shape[0],
            "ways": _speed(frames, arguments.rounds),
            "agreement": _agreement(frames),
        }
        for path in arguments.files
        for frames in _in_sizes(path, arguments.frames, arguments.run)
    ]
    packages = ("torch", "facenet-pytorch", "onnxruntime", "opencv-python-headless")
    record("faces", arguments, {"inputs": inputs}, packages=packages)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--run", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch; by default as many as it chooses")
    add_json_option(parser, "faces")
    return parser.parse_args()


def _in_sizes(path: Path, num_spaced: int, num_run: int) -> Iterator[Frames]:
    spaced, run = _read(path, num_spaced, num_run)
    height, width = spaced[0].shape[:2]
    yield Frames(path.name, spaced, run)
    if min(height, width) > _SMALLER_HEIGHT:
        factor = _SMALLER_HEIGHT / min(height, width)
        smaller = [[_shrunk(image, factor) for image in images] for images in (spaced, run)]
        yield Frames(path.name, *smaller)


def _read(path: Path, num_spaced: int, num_run: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    if path.suffix.lower() in _PICTURES:
        return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)], []
    clip = cv2.VideoCapture(str(path))
    step = max(1, int(clip.get(cv2.CAP_PROP_FRAME_COUNT)) // num_spaced)
    spaced, run, number = [], [], 0
    while clip.grab():
        if number < num_run or number % step == 0:
            image = cv2.cvtColor(clip.retrieve()[1], cv2.COLOR_BGR2RGB)
            spaced += [image] if number % step == 0 else []
            run += [image] if number < num_run else []
        number += 1
    return spaced[:num_spaced], run


def _shrunk(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _speed(frames: Frames, num_rounds: int) -> dict[str, list[float]]:
    """Time every way; return the seconds a frame of each round."""
    height, width = frames.spaced[0].shape[:2]
    original = MTCNN(keep_all=True)
    larger = MTCNN(keep_all=True, min_face_size=default_min_face(height, width))
    alone = MtcnnDetector()
    spaced, run, some = frames.spaced, frames.run, frames.run[::_EVERY]
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "facenet-pytorch": (lambda: [original.detect(image) for image in spaced], len(spaced)),
        "facenet-pytorch, our smallest face": (
            lambda: [larger.detect(image) for image in spaced],
            len(spaced),
        ),
        "exact": (lambda: detect_faces(spaced, mode="exact"), len(spaced)),
        "default": (lambda: detect_faces(spaced), len(spaced)),
        "default, frame by frame": (lambda: [alone.detect(image) for image in spaced], len(spaced)),
    }
    if run:
        ways["facenet-pytorch, run"] = (lambda: [original.detect(image) for image in some], len(some))
        ways["dense"] = (lambda: detect_faces(run, mode="dense"), len(run))
    timings = time_in_turn({name: way for name, (way, _) in ways.items()}, num_rounds=num_rounds)
    return {
        name: [round(seconds / ways[name][1], 5) for seconds in timing.seconds]
        for name, timing in timings.items()
    }


def _agreement(frames: Frames) -> dict[str, dict[str, Any]]:
    original = MTCNN(keep_all=True)
    truth = [_original_faces(original, image) for image in frames.spaced]
    height, width = frames.spaced[0].shape[:2]
    min_face = default_min_face(height, width)
    large = [[face for face in faces if _side(face) >= min_face] for faces in truth]
    found = {
        "exact": _compare(truth, detect_faces(frames.spaced, mode="exact")),
        "default": _compare(large, detect_faces(frames.spaced)),
    }
    if frames.run:
        alone, followed = detect_faces(frames.run), detect_faces(frames.run, mode="dense")
        missed = {"frames_in_a_row_without_a_large_face": _longest_miss(alone, followed)}
        found["dense"] = _compare(alone, followed) | missed
    return found


def _original_faces(original: MTCNN, image: np.ndarray) -> list[Face]:
    boxes, scores, landmarks = original.detect(image, landmarks=True)
    if boxes is None:
        return []
    return [
        Face(box.astype(np.float32), float(score), points.astype(np.float32))
        for box, score, points in zip(boxes, scores, landmarks, strict=True)
    ]


def _compare(truth: Sequence[Sequence[Face]], found: Sequence[Sequence[Face]]) -> dict[str, Any]:
    """Tell how the faces found agree with the true ones, each beside the one it overlaps most."""
    pairs = [pair for faces, others in zip(truth, found, strict=True) for pair in _pairs(faces, others)]
    overlaps = np.array([overlap for *_, overlap in pairs])
    met = [(face, other) for face, other, overlap in pairs if overlap > 0.5]
    corners = [float(np.abs(face.box_xyxy - other.box_xyxy).max()) for face, other in met]
    marks = [float(np.abs(face.landmarks_xy - other.landmarks_xy).max()) for face, other in met]
    scores = [abs(face.score - other.score) for face, other in met]
    return {
        "faces": len(pairs),
        "found": sum(map(len, found)),
        "recall": round(float((overlaps >= 0.9).mean()), 4) if pairs else 0.0,
        "median_iou": round(float(np.median(overlaps)), 4) if pairs else 0.0,
        "corner_px": round(max(corners, default=0.0), 4),
        "landmark_px": round(max(marks, default=0.0), 4),
        "score": round(max(scores, default=0.0), 6),
        "is_same_order": _same_order(truth, found),
    }


def _pairs(faces: Sequence[Face], others: Sequence[Face]) -> Iterator[tuple[Face, Face, float]]:
    """Yield each face with the other that it overlaps most, and how much (itself and 0 without)."""
    for face in faces:
        overlaps = [_overlap(face.box_xyxy, other.box_xyxy) for other in others]
        best = int(np.argmax(overlaps)) if overlaps else -1
        yield face, others[best] if overlaps else face, overlaps[best] if overlaps else 0.0


def _same_order(truth: Sequence[Sequence[Face]], found: Sequence[Sequence[Face]]) -> bool:
    return all(
        len(faces) == len(others)
        and all(
            _overlap(face.box_xyxy, other.box_xyxy) > 0.999 for face, other in zip(faces, others, strict=True)
        )
        for faces, others in zip(truth, found, strict=True)
    )


def _longest_miss(alone: Sequence[Sequence[Face]], followed: Sequence[Sequence[Face]]) -> int:
    """Return for how many frames in a row a large face of the frame alone is not among those followed."""
    is_missed = [
        any(_side(face) >= _LARGE_FACE and overlap < 0.5 for face, _, overlap in _pairs(faces, others))
        for faces, others in zip(alone, followed, strict=True)
    ]
    return max((len(list(same)) for missed, same in groupby(is_missed) if missed), default=0)


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    shared = np.maximum(0, np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).prod()
    return float(shared / ((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def _side(face: Face) -> float:
    return float((face.box_xyxy[2:] - face.box_xyxy[:2]).max())


if __name__ == "__main__":
    sys.exit(main())
