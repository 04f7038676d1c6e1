from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deepfake_detect as dfd
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.faces import default_min_face
from deepfake_detect.records import Frame


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
    # Read off the picture by eye.
    assert iou(face.box_xyxy, np.array([178, 65, 270, 172])) > 0.7
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks_xy
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_boxes_are_those_of_facenet_pytorch(portrait: np.ndarray) -> None:
    from facenet_pytorch import MTCNN

    boxes, scores, points = MTCNN(keep_all=True).detect(portrait, landmarks=True)
    (faces,) = dfd.detect_faces([portrait], min_face=20)
    assert len(faces) == len(boxes)
    for face, box, score, landmarks in zip(faces, boxes, scores, points, strict=True):
        np.testing.assert_allclose(face.box_xyxy, box.astype(np.float32), atol=1e-3)
        np.testing.assert_allclose(face.landmarks_xy, landmarks.astype(np.float32), atol=1e-3)
        assert face.score == pytest.approx(float(score), abs=1e-6)


def test_the_default_leaves_out_small_faces_and_moves_no_other(portrait: np.ndarray) -> None:
    large = np.asarray(Image.fromarray(portrait).resize((1024, 1024)))
    (every,) = dfd.detect_faces([large], min_face=20)
    (default,) = dfd.detect_faces([large])
    for face in default:
        assert max(iou(face.box_xyxy, other.box_xyxy) for other in every) > 0.99


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


def test_every_kind_of_picture_gives_the_same_face(portrait: np.ndarray) -> None:
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
        (np.zeros((10, 10), np.uint8), r"frame 1: has the shape \(10, 10\).*greyscale"),
        (np.zeros((10, 10, 4), np.uint8), r"frame 1: has the shape \(10, 10, 4\)"),
        (np.zeros((10, 10, 3), np.int32), "frame 1: has the dtype int32"),
        (np.full((10, 10, 3), 255.0), r"frame 1: .*outside \[0, 1\]; divide"),
        ("clip.mp4", "frame 1: is a str"),
    ],
)
def test_what_is_no_rgb_picture_is_refused_by_number(frame: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        dfd.detect_faces([np.zeros((10, 10, 3), np.uint8), frame])


def test_a_path_is_refused_with_the_way_to_frames() -> None:
    for nothing in ("clip.mp4", Path("clip.mp4"), None, 5):
        with pytest.raises(ImageError, match="frames: is a .*read_frames reads a path"):
            dfd.detect_faces(nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("min_face", [0, 11.9, float("nan"), -5])
def test_a_face_too_small_for_the_networks_is_refused(min_face: float) -> None:
    with pytest.raises(OptionError, match=f"min_face: is {min_face} px"):
        dfd.detect_faces([], min_face=min_face)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (360, 640), (1080, 1920), (2160, 3840)])
def test_the_default_size_is_a_tenth_of_the_frame(height: int, width: int) -> None:
    assert default_min_face(height, width) == max(20, min(height, width) / 10)


@pytest.mark.needs_cuda
def test_the_gpu_finds_the_same_faces(portrait: np.ndarray) -> None:
    on_cpu, on_gpu = (dfd.detect_faces([portrait], device=device)[0] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(on_cpu[0].box_xyxy, on_gpu[0].box_xyxy, atol=0.1)
