"""The cascade against facenet-pytorch's own, face for face."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN

import deepfake_detect as dfd
from deepfake_detect.faces import cascade
from deepfake_detect.faces.cascade import Boxes, run_onet, run_rnet, search_everywhere
from deepfake_detect.faces.integral import integral_images
from deepfake_detect.faces.networks import load_networks
from deepfake_detect.records import Face

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def original() -> MTCNN:
    return MTCNN(keep_all=True)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of corresponding boxes (N, 4)."""
    shared = np.maximum(0, np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2]))
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1)
    shared_areas = shared.prod(1)
    ratios: np.ndarray = shared_areas / (areas - shared_areas)
    return ratios


def assert_same_faces(faces: list[Face], image: np.ndarray, original: MTCNN) -> int:
    """Check boxes, scores, landmarks and order; return how many faces there are."""
    boxes, scores, landmarks = original.detect(image, landmarks=True)
    if boxes is None:
        assert faces == []
        return 0
    assert len(faces) == len(boxes)
    assert overlaps(np.stack([face.box_xyxy for face in faces]), boxes.astype(np.float64)).min() >= 0.999
    np.testing.assert_allclose([face.score for face in faces], scores.astype(float), atol=1e-4)
    points = np.stack([face.landmarks_xy for face in faces])
    np.testing.assert_allclose(points, landmarks.astype(np.float64), atol=0.01)
    return len(faces)


def tiled(portrait: np.ndarray, rows: int, columns: int, side: int) -> np.ndarray:
    """An image of one head many times."""
    head = cv2.resize(portrait[30:270, 100:340], (side, side), interpolation=cv2.INTER_AREA)
    image: np.ndarray = np.tile(head, (rows, columns, 1))
    return image


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def test_faces_are_those_of_facenet_pytorch(portrait: np.ndarray, original: MTCNN) -> None:
    images = [scaled(portrait, factor) for factor in (1, 0.71, 0.5, 0.33, 0.2)]
    images += [np.rot90(portrait).copy(), portrait[:, 150:300], portrait[60:181], portrait[:, ::-1].copy()]
    images += [tiled(portrait, 4, 5, 120), tiled(portrait, 2, 3, 61), tiled(portrait, 3, 2, 240)]
    counts = [
        assert_same_faces(faces, image, original)
        for faces, image in zip(dfd.detect_faces(images, mode="exact"), images, strict=True)
    ]
    assert counts[0] == 1
    assert max(counts) == 20


def test_very_many_faces_are_all_found(portrait: np.ndarray, original: MTCNN) -> None:
    shade = np.linspace(0.6, 1, 720)[:, None, None] * np.linspace(1, 0.7, 720)[:, None]
    crowd = (tiled(portrait, 12, 12, 60) * shade).astype(np.uint8)  # no two of a size, to the last digit
    (faces,) = dfd.detect_faces(crowd, mode="exact")
    assert assert_same_faces(faces, crowd, original) > 127


def test_a_image_without_a_face_gives_none(original: MTCNN) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    for image in (noise, np.zeros((90, 90, 3), np.uint8), noise[:19]):
        assert dfd.detect_faces(image, mode="exact") == [[]]


def test_a_smallest_face_means_what_it_means_there(portrait: np.ndarray) -> None:
    image = tiled(portrait, 2, 3, 120)
    for min_face in (12, 33.3, 60):
        (faces,) = dfd.detect_faces(image, mode="exact", min_face=min_face)
        assert_same_faces(faces, image, MTCNN(keep_all=True, min_face_size=min_face))


@torch.inference_mode()
def test_frames_together_give_what_each_gives_alone(portrait: np.ndarray) -> None:
    frames = [portrait, np.zeros_like(portrait), portrait[:, ::-1], tiled(portrait, 4, 4, 128)]
    tables = integral_images(torch.from_numpy(np.stack(frames)))
    networks = load_networks(CPU)
    together = search_everywhere(tables, networks, smallest=20.0)
    assert [len(faces) for faces in together] == [1, 0, 1, 16]
    for table, faces in zip(tables, together, strict=True):
        (alone,) = search_everywhere(table[None], networks, smallest=20.0)
        for one, other in zip(faces, alone, strict=True):
            np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=1e-3)
            np.testing.assert_allclose(one.landmarks_xy, other.landmarks_xy, atol=1e-3)


@torch.inference_mode()
def test_a_box_outside_the_frame_is_no_face(portrait: np.ndarray) -> None:
    """facenet-pytorch would make no crop for it and continue with fewer outputs than boxes."""
    table = integral_images(torch.from_numpy(portrait.copy())[None])
    networks = load_networks(CPU)
    face = [170.0, 60.0, 280.0, 170.0]
    boxes = torch.tensor([[-90.0, 20.0, -10.0, 100.0], face, [600.0, 20.0, 700.0, 120.0]])
    found = run_rnet(Boxes(boxes, torch.ones(3), torch.zeros(3, dtype=torch.int64)), table, networks.rnet)
    assert len(found) == 1
    outside = Boxes(boxes[:1], torch.ones(1), torch.zeros(1, dtype=torch.int64))
    assert run_onet(outside, table, networks.onet) == [[]]


def test_of_two_nested_faces_the_one_with_the_higher_score_stays() -> None:
    boxes = np.float32([[0, 0, 99, 99], [20, 20, 59, 59], [200, 0, 299, 99], [60, 60, 139, 139]])
    assert cascade._nms_by_smaller_area(boxes, np.float32([0.8, 0.9, 0.7, 0.75])) == [1, 3, 2]
    assert cascade._nms_by_smaller_area(boxes, np.float32([0.9, 0.8, 0.7, 0.75])) == [0, 3, 2]


def clip_frames(path: Path, count: int) -> Iterator[np.ndarray]:
    """Every fourth frame of a clip."""
    clip = cv2.VideoCapture(str(path))
    for number in range(4 * count):
        if not number % 4:
            yield cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2RGB)
        else:
            clip.grab()
    clip.release()


def real_frames(real_data: Callable[[str], Path]) -> Iterator[np.ndarray]:
    """112 frames and photographs of several sizes, with 0 to 20 faces."""
    clips = {"short_hamilton_clip": 0.75, "003_000": 0.6, "0017_fake": 0.5, "aajsqyyjni": 0.3}
    for name, factor in clips.items():
        for frame in clip_frames(real_data(f"videos/{name}.mp4"), 20):
            yield scaled(frame, factor)
    crowd = cv2.cvtColor(cv2.imread(str(real_data("videos/multiface.jpg"))), cv2.COLOR_BGR2RGB)
    yield from (crowd, scaled(crowd, 0.5), np.tile(scaled(crowd, 0.4), (2, 2, 1)))
    with tarfile.open(real_data("lfw/lfw_2000.tar")) as archive:
        images = (member for member in archive if member.name.endswith(".jpg"))
        for _ in range(28):
            data = archive.extractfile(next(images))
            assert data is not None
            pixels = np.frombuffer(data.read(), np.uint8)
            yield cv2.cvtColor(cv2.imdecode(pixels, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    yield from clip_frames(real_data("videos/facenet_pytorch_example.mp4"), 1)


def test_faces_of_real_frames_are_those_of_facenet_pytorch(
    real_data: Callable[[str], Path], original: MTCNN
) -> None:
    frames = list(real_frames(real_data))
    counts = [
        assert_same_faces(faces, frame, original)
        for faces, frame in zip(dfd.detect_faces(frames, mode="exact"), frames, strict=True)
    ]
    assert len(frames) >= 100
    assert len({frame.shape for frame in frames}) >= 8
    assert min(counts) == 0
    assert max(counts) >= 20
