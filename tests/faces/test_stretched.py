"""Faces as tensors, against facenet-pytorch: the same boxes and the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import extract_face as their_extract_face
from PIL import Image

import deepfake_detect as dfd
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.faces import CascadeOptions, MtcnnDetector, extract_face, face_tensors, select_faces
from deepfake_detect.records import Face, Frame

KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "pil": Image.fromarray,
    "array": lambda pixels: pixels,
    "tensor": lambda pixels: torch.from_numpy(pixels.copy()),
}
SELECTIONS = ("largest", "probability", "center_weighted_size", "largest_over_threshold")


def crowd(portrait: np.ndarray) -> np.ndarray:
    """Three heads of different sizes and sharpness, the largest one in a corner."""
    image = np.full((420, 520, 3), 128, np.uint8)
    for (top, left), side in (((0, 0), 200), ((140, 210), 150), ((310, 400), 90)):
        image[top : top + side, left : left + side] = cv2.resize(portrait[30:270, 100:340], (side, side))
    return image


def photos(real_data: Callable[[str], Path]) -> list[np.ndarray]:
    """Frames of real clips, and a photo of a crowd, at most 720 pixels wide."""
    images = [cv2.imread(str(real_data("videos/multiface.jpg")))]
    for name in ("facenet_pytorch_example", "short_hamilton_clip", "003_000"):
        reader = cv2.VideoCapture(str(real_data(f"videos/{name}.mp4")))
        images += [reader.read()[1] for _ in range(2)]
    shrunk = [
        cv2.resize(image, None, fx=s, fy=s) for image in images for s in (min(1, 720 / image.shape[1]),)
    ]
    return [np.ascontiguousarray(image[..., ::-1]) for image in shrunk]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("margin", [0, 16, 59])
def test_pixels_are_those_of_facenet_pytorch(portrait: np.ndarray, kind: str, margin: int) -> None:
    image = KINDS[kind](crowd(portrait))
    theirs = MTCNN(image_size=112, margin=margin, keep_all=True)(image)
    ours = face_tensors(image, image_size=112, margin=margin, selection="all")
    assert ours.shape == (3, 3, 112, 112)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_face_that_a_rule_selects_is_that_of_facenet_pytorch(
    portrait: np.ndarray, selection: Any
) -> None:
    image = Image.fromarray(crowd(portrait))
    theirs = MTCNN(selection_method=selection, post_process=False)(image)
    assert torch.equal(face_tensors(image, selection=selection, standardize=False), theirs)


def test_real_photos_give_the_boxes_and_pixels_of_facenet_pytorch(real_data: Callable[[str], Path]) -> None:
    images = photos(real_data)
    theirs = MTCNN(keep_all=True, margin=16)
    found = face_tensors(images, margin=16, selection="all")
    assert max(0 if faces is None else len(faces) for faces in found) >= 5
    for image, faces in zip(images, found, strict=True):
        expected = theirs(image)
        assert (faces is None) == (expected is None)
        if expected is not None:
            assert torch.equal(faces, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"min_face": 8, "thresholds": (0.6, 0.7, 0.7), "factor": 0.709},
        {"min_face": 15, "thresholds": (0.8, 0.6, 0.95), "factor": 0.5},
        {"min_face": 40, "thresholds": (0.3, 0.5, 0.5), "factor": 0.85},
    ],
)
def test_thresholds_steps_and_tiny_faces_are_those_of_facenet_pytorch(
    portrait: np.ndarray, options: dict[str, Any]
) -> None:
    small = cv2.resize(crowd(portrait), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    for image in (crowd(portrait), np.ascontiguousarray(small)):
        boxes, scores = MTCNN(
            min_face_size=options["min_face"],
            thresholds=list(options["thresholds"]),
            factor=options["factor"],
        ).detect(image)
        faces = MtcnnDetector(mode="exact", **options).detect(image)
        assert len(faces) == (0 if boxes is None else len(boxes))
        if boxes is not None:
            np.testing.assert_allclose([face.box_xyxy for face in faces], boxes.astype(float), atol=0.01)
            np.testing.assert_allclose([face.score for face in faces], scores.astype(float), atol=1e-4)


def test_images_of_all_kinds_and_sizes_go_in_at_once(portrait: np.ndarray) -> None:
    planes = torch.from_numpy(portrait.copy()).permute(2, 0, 1)
    blank = np.zeros((40, 70, 3), np.uint8)
    images = [Image.fromarray(portrait), portrait, planes, blank, Frame(portrait, 0, 0.0)]
    found = face_tensors(images)
    assert found[3] is None
    assert [one.shape for one in found if one is not None] == [(3, 160, 160)] * 4
    assert torch.equal(found[1], found[4])
    assert torch.equal(found[2], face_tensors(planes.permute(1, 2, 0)))
    batch = face_tensors(torch.stack([planes, planes]), standardize=False, selection="all")
    assert [one.shape for one in batch] == [(1, 3, 160, 160)] * 2
    assert (
        dfd.detect_faces(planes)[0][0].box_xyxy.tolist() == dfd.detect_faces(portrait)[0][0].box_xyxy.tolist()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_past_the_border_is_cut_off_as_there(portrait: np.ndarray, kind: str) -> None:
    image = KINDS[kind](portrait)
    for box in ([-20.5, 30.2, 90.7, 600.1], [300.0, -5.0, 530.9, 200.0]):
        array = np.float32(box)
        theirs = their_extract_face(image, array, 80, 10)
        assert torch.equal(extract_face(image, array, image_size=80, margin=10), theirs)


def test_what_is_out_of_range_is_an_error(portrait: np.ndarray) -> None:
    for options, message in (
        ({"margin": 160}, "margin: is 160; must be 0 to 159, below image_size"),
        ({"image_size": 0}, "image_size: is 0; must be 1 or more pixels"),
        ({"selection": "first"}, "selection: is 'first'; must be one of largest, probability"),
        ({"min_face": 7}, "min_face: is 7; must be 8 or more pixels"),
        ({"thresholds": (0.6, 0.7, 1)}, "thresholds: is 0.6, 0.7, 1; must be three numbers above 0"),
        ({"factor": 1}, "factor: is 1; must be 0.2 to 0.95"),
    ):
        with pytest.raises(OptionError, match=message):
            face_tensors(portrait, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="box_xyxy: .* has no pixel of the image; the image has 512 x 512"):
        extract_face(portrait, [600, 0, 700, 90])
    with pytest.raises(ImageError, match=r"has the shape \(3, 9\)"):
        extract_face(np.zeros((3, 9), np.uint8), [0, 0, 1, 1])
    with pytest.raises(OptionError, match="mode: dense takes no thresholds and factor"):
        MtcnnDetector(mode="dense", factor=0.5)
    with pytest.raises(OptionError, match="selection: is 'x'"):
        select_faces([], "x", size=(1, 1))  # type: ignore[arg-type]
    assert CascadeOptions().thresholds == (0.6, 0.7, 0.7)


def test_no_face_is_selected_of_none_or_of_unlikely_ones() -> None:
    unlikely = Face(np.float32([0, 0, 9, 9]), 0.8, np.zeros((5, 2), np.float32))
    assert select_faces([], "largest", size=(9, 9)) == []
    assert select_faces([unlikely], "largest_over_threshold", size=(9, 9)) == []
    assert select_faces([unlikely], "all", size=(9, 9)) == [unlikely]
