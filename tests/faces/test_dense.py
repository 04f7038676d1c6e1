from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import deepfake_detect as dfd
from deepfake_detect.faces import dense
from deepfake_detect.faces.dense import DenseDetector
from deepfake_detect.faces.networks import load_networks
from deepfake_detect.records import Face

_KEY_INTERVAL = 8
_SEARCHES = ("search_everywhere", "search_near")


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    shared = np.maximum(0, np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).prod()
    return float(shared / ((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def overlaps(faces: Sequence[Face], others: Sequence[Face]) -> list[float]:
    """For each face, its largest overlap with one of the others."""
    return [max((overlap(one.box_xyxy, two.box_xyxy) for two in others), default=0.0) for one in faces]


def scene(portrait: np.ndarray, *positions: tuple[int, int, int], brightness: float = 1.0) -> np.ndarray:
    """A frame of 320 x 480 with heads at (left, top, side), on gray."""
    image = np.full((320, 480, 3), 128, np.uint8)
    for left, top, side in positions:
        head = cv2.resize(portrait[30:270, 100:340], (side, side), interpolation=cv2.INTER_AREA)
        width = min(side, 480 - left)
        image[top : top + side, left : left + width] = head[:, :width]
    return (image * brightness).astype(np.uint8)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the searches made, in order."""
    made: list[str] = []
    for name in _SEARCHES:
        real = getattr(dense, name)

        def record(*args: object, real: object = real, name: str = name, **kwargs: object) -> object:
            made.append(name)
            return real(*args, **kwargs)  # type: ignore[operator]

        monkeypatch.setattr(dense, name, record)
    return made


def follow(frames: Sequence[np.ndarray]) -> list[list[Face]]:
    """Faces of one run of frames: only the first is a key frame."""
    follower = DenseDetector(load_networks(torch.device("cpu")), smallest=28.2, min_face=36)
    return [follower.find([frame])[0] for frame in frames]


def test_a_moving_and_growing_face_is_found_as_in_each_frame_alone(
    portrait: np.ndarray, searches: list[str]
) -> None:
    frames = [scene(portrait, (20 + 9 * k, 30 + 2 * k, 150 + 4 * k)) for k in range(10)]
    followed = follow(frames)
    for faces, alone in zip(followed, dfd.detect_faces(frames, min_face=36), strict=True):
        assert len(faces) == len(alone) == 1
        assert overlaps(alone, faces)[0] >= 0.9
    assert searches == ["search_near", "search_everywhere"] + ["search_near"] * 9


def test_faces_at_the_border_and_as_large_as_the_frame_are_followed(
    portrait: np.ndarray, searches: list[str]
) -> None:
    for positions in (((300, 0, 180), (0, 110, 210)), ((100, 0, 320),)):
        frames = [scene(portrait, *positions)] * 3
        found = follow(frames)
        assert [len(faces) for faces in found] == [len(positions)] * 3
        for faces in found[1:]:
            assert min(overlaps(found[0], faces)) >= 0.9
    assert searches.count("search_everywhere") == 2


def test_a_lost_face_has_the_frame_searched_everywhere_once(
    portrait: np.ndarray, searches: list[str]
) -> None:
    left, right = (20, 40, 110), (290, 40, 110)
    followed = follow(
        [scene(portrait, *positions) for positions in ([left], [right], [right], [], [], [right])]
    )
    assert [len(faces) for faces in followed] == [1, 1, 1, 0, 0, 1]
    near, everywhere = "search_near", "search_everywhere"
    # Jumped; gone; and found again without a key frame where it was last seen.
    assert searches == [near, everywhere, near, everywhere, near, near, everywhere, near, near]


def test_a_cut_has_the_frame_searched_everywhere(portrait: np.ndarray, searches: list[str]) -> None:
    empty, other_shot = np.full((320, 480, 3), 20, np.uint8), scene(portrait, (250, 40, 200))
    followed = follow([empty, empty, other_shot, other_shot])
    assert [len(faces) for faces in followed] == [0, 0, 1, 1]
    near, everywhere = "search_near", "search_everywhere"
    assert searches == [near, everywhere, near, near, everywhere, near]


def test_a_face_that_enters_is_found_within_a_key_interval(portrait: np.ndarray) -> None:
    first, second = (20, 40, 110), (290, 40, 110)
    for enters in (8, 9, 13, 15):
        frames = [scene(portrait, *([first] if k < enters else [first, second])) for k in range(24)]
        counts = [len(faces) for faces in dfd.detect_faces(frames, mode="dense")]
        assert counts[enters - 1] == 1
        assert counts[enters + _KEY_INTERVAL - 1 :] == [2] * (24 - enters - _KEY_INTERVAL + 1)


def test_a_face_that_shrinks_below_the_smallest_is_let_go(portrait: np.ndarray) -> None:
    frames = [scene(portrait, (100, 40, 160 - 12 * k)) for k in range(12)]
    found = dfd.detect_faces(frames, mode="dense", min_face=50)
    assert [len(faces) for faces in found[:3] + found[-3:]] == [1, 1, 1, 0, 0, 0]
    sides = [(face.box_xyxy[2:] - face.box_xyxy[:2]).max() for faces in found for face in faces]
    assert min(sides) >= 50


def test_in_large_frames_faces_of_80_pixels_are_followed_all_the_same(portrait: np.ndarray) -> None:
    head = cv2.resize(portrait[30:270, 100:340], (210, 210), interpolation=cv2.INTER_AREA)  # face of 95
    frame = np.full((1080, 1440, 3), 128, np.uint8)
    frame[400:610, 600:810] = head
    assert [len(faces) for faces in dfd.detect_faces([frame] * 3, mode="dense")] == [1] * 3
    assert dfd.detect_faces([frame]) == [[]]


def test_frames_of_another_size_start_anew(portrait: np.ndarray) -> None:
    frames = [portrait, portrait, portrait[::2, ::2], portrait[::2, ::2], portrait[:300]]
    assert [len(faces) for faces in dfd.detect_faces(frames, mode="dense")] == [1] * 5


def test_threads_find_what_one_thread_finds(portrait: np.ndarray) -> None:
    frames = [scene(portrait, (20 + 5 * k, 40, 150)) for k in range(20)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = dfd.detect_faces(frames, mode="dense")
        torch.set_num_threads(3)
        together = dfd.detect_faces(frames, mode="dense")
    finally:
        torch.set_num_threads(before)
    for faces, others in zip(alone, together, strict=True):
        assert [face.box_xyxy.tolist() for face in faces] == [face.box_xyxy.tolist() for face in others]


@pytest.mark.parametrize("name", ["003_000", "short_hamilton_clip", "facenet_pytorch_example"])
def test_real_clips_agree_with_each_frame_alone(real_data: Callable[[str], Path], name: str) -> None:
    clip = cv2.VideoCapture(str(real_data(f"videos/{name}.mp4")))
    frames = [cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2RGB) for _ in range(32)]
    clip.release()
    followed = dfd.detect_faces(frames, mode="dense", min_face=80)
    alone = dfd.detect_faces(frames, min_face=80)
    best = [overlaps(faces, others) for faces, others in zip(alone, followed, strict=True)]
    assert np.median([overlap for of_frame in best for overlap in of_frame]) >= 0.95
    is_missed = "".join("x" if any(overlap < 0.5 for overlap in of_frame) else " " for of_frame in best)
    assert max(map(len, is_missed.split(" "))) < _KEY_INTERVAL


@pytest.mark.needs_cuda
def test_a_gpu_follows_the_same_faces(portrait: np.ndarray) -> None:
    frames = [scene(portrait, (20 + 9 * k, 30, 150)) for k in range(10)]
    on_cpu, on_gpu = (dfd.detect_faces(frames, mode="dense", device=device) for device in ("cpu", "cuda"))
    for faces, others in zip(on_cpu, on_gpu, strict=True):
        assert min(overlaps(faces, others)) >= 0.99
