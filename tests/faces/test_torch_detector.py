from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deepfake_detect as dfd
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.faces import MtcnnDetector, default_min_face
from deepfake_detect.faces.torch_detector import DetectionMode
from deepfake_detect.records import Face, Frame


def iou(box: np.ndarray, other: np.ndarray) -> float:
    overlap = np.maximum(0, np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]))
    area = np.prod(overlap)
    return float(area / (np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - area))


def test_a_real_face_is_found_where_it_is(portrait: np.ndarray) -> None:
    (faces,) = dfd.detect_faces([portrait])
    assert len(faces) == 1
    face = faces[0]
    assert face.box_xyxy.shape == (4,)
    assert face.box_xyxy.dtype == np.float32
    assert face.landmarks_xy.shape == (5, 2)
    assert face.score > 0.99
    # Measured in the image by eye.
    assert iou(face.box_xyxy, np.array([178, 65, 270, 172])) > 0.7
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks_xy
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def longer_side(face: Face) -> float:
    return float((face.box_xyxy[2:] - face.box_xyxy[:2]).max())


def heads(portrait: np.ndarray, sides: list[int]) -> np.ndarray:
    """Heads of several sizes in a row, on gray."""
    image = np.full((max(sides), sum(sides), 3), 128, np.uint8)
    left = 0
    for side in sides:
        head = Image.fromarray(portrait[30:270, 100:340]).resize((side, side), Image.Resampling.BOX)
        image[:side, left : left + side] = np.asarray(head)
        left += side
    return image


@pytest.mark.parametrize("min_face", [None, 20, 30, 45, 80])
def test_every_face_of_the_smallest_size_and_larger_is_found_and_no_other(
    portrait: np.ndarray, min_face: float | None
) -> None:
    image = heads(portrait, [600, 300, 200, 150, 110, 80])
    (exact,) = dfd.detect_faces(image, mode="exact")
    (found,) = dfd.detect_faces(image, min_face=min_face)
    wanted = [face for face in exact if longer_side(face) >= (60 if min_face is None else min_face)]
    assert len(found) == len(wanted)
    for face, other in zip(found, wanted, strict=True):
        assert iou(face.box_xyxy, other.box_xyxy) > 0.99


def test_a_smallest_face_below_the_usual_one_finds_smaller_faces(portrait: np.ndarray) -> None:
    image = heads(portrait, [120, 36, 36])
    assert [len(dfd.detect_faces(image, min_face=side)[0]) for side in (12, 20)] == [3, 1]


def test_frames_of_many_sizes_with_zero_to_twenty_faces_in_one_call(portrait: np.ndarray) -> None:
    head = portrait[30:270, 100:340]
    crowd = np.tile(head, (4, 5, 1))
    frames = [
        np.zeros((90, 160, 3), np.uint8),
        portrait,
        crowd,
        portrait[::2, ::2],
        np.zeros((8, 8, 3), np.uint8),
    ]
    found = dfd.detect_faces(frames)
    assert [len(faces) for faces in found] == [0, 1, 20, 1, 0]


def test_one_frame_without_a_face_among_others(portrait: np.ndarray) -> None:
    blank = np.full_like(portrait, 128)
    assert [len(faces) for faces in dfd.detect_faces([portrait, blank, portrait])] == [1, 0, 1]


def test_every_type_of_image_gives_the_same_face(portrait: np.ndarray) -> None:
    kinds = [
        portrait,
        Image.fromarray(portrait),
        torch.from_numpy(portrait.copy()),
        portrait / 255.0,
        Frame(portrait, 0, 0.0),
    ]
    boxes = [dfd.detect_faces([kind])[0][0].box_xyxy for kind in kinds]
    for box in boxes[1:]:
        np.testing.assert_array_equal(box, boxes[0])
    batch = dfd.detect_faces(torch.from_numpy(np.stack([portrait, portrait])))
    assert [len(faces) for faces in batch] == [1, 1]
    assert len(dfd.detect_faces(portrait)) == 1


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((10, 10), np.uint8), r"frame 1: has the shape \(10, 10\).*grayscale"),
        (np.zeros((10, 10, 4), np.uint8), r"frame 1: has the shape \(10, 10, 4\)"),
        (np.zeros((10, 10, 3), np.int32), "frame 1: has the dtype int32"),
        (np.full((10, 10, 3), 255.0), r"frame 1: .*outside \[0, 1\]; divide"),
        ("clip.mp4", "frame 1: is a str"),
    ],
)
def test_an_error_names_the_frame_that_is_not_rgb(frame: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        dfd.detect_faces([np.zeros((10, 10, 3), np.uint8), frame])


def test_a_path_is_an_error_that_names_read_frames() -> None:
    for nothing in ("clip.mp4", Path("clip.mp4"), None, 5):
        with pytest.raises(ImageError, match="frames: is a .*read_frames reads a path"):
            dfd.detect_faces(nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("min_face", [0, 11.9, float("nan"), -5])
def test_a_face_too_small_for_the_networks_is_an_error(min_face: float) -> None:
    with pytest.raises(OptionError, match=f"min_face: is {min_face}; must be 12 or more pixels"):
        dfd.detect_faces([], min_face=min_face)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (360, 640), (1080, 1920), (2160, 3840)])
def test_the_default_size_is_a_tenth_of_the_frame(height: int, width: int) -> None:
    assert default_min_face(height, width) == max(20, min(height, width) / 10)


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(OptionError, match="mode: is 'fast'; must be one of default, exact, dense"):
        dfd.detect_faces([], mode="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["default", "exact", "dense"])
def test_frames_are_taken_as_they_are_needed(portrait: np.ndarray, mode: DetectionMode) -> None:
    taken = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:  # without end
            taken += 1
            yield portrait[::2, ::2]

    found = MtcnnDetector(mode=mode).detect_each(frames())
    run = {"exact": 1, "default": 2, "dense": 4 * 8}[mode]
    for _ in range(2 * run):
        assert len(next(found)) == 1
    assert taken <= run * (torch.get_num_threads() + 3)


@pytest.mark.parametrize("mode", ["default", "dense"])
def test_a_wrong_frame_comes_after_the_faces_of_those_before(
    portrait: np.ndarray, mode: DetectionMode
) -> None:
    found = MtcnnDetector(mode=mode).detect_each([portrait, portrait, "clip.mp4"])
    assert [len(next(found)), len(next(found))] == [1, 1]
    with pytest.raises(ImageError, match="frame 2: is a str"):
        next(found)


def test_threads_find_what_one_thread_finds(portrait: np.ndarray) -> None:
    frames = [portrait[:, left : left + 400] for left in range(0, 112, 16)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = dfd.detect_faces(frames)
        torch.set_num_threads(3)
        together = dfd.detect_faces(frames)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for faces, others in zip(alone, together, strict=True):
        assert [face.box_xyxy.tolist() for face in faces] == [face.box_xyxy.tolist() for face in others]


@pytest.mark.needs_cuda
def test_the_gpu_finds_the_same_faces(portrait: np.ndarray) -> None:
    """In batches of eight, the last one smaller, over a change of size."""
    frames = [portrait] * 11 + [portrait[:, ::-1]] + [portrait[:300]] * 2 + [np.zeros_like(portrait)]
    on_cpu, on_gpu = (dfd.detect_faces(frames, device=device) for device in ("cpu", "cuda"))
    assert [len(faces) for faces in on_gpu] == [len(faces) for faces in on_cpu]
    for faces, others in zip(on_cpu, on_gpu, strict=True):
        for face, other in zip(faces, others, strict=True):
            np.testing.assert_allclose(face.box_xyxy, other.box_xyxy, atol=0.1)
