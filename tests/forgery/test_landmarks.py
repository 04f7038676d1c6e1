from __future__ import annotations

import cv2
import numpy as np
import pytest

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.faces import crop_face
from deepfake_detect.faces.crops import best_similarity
from deepfake_detect.forgery import crop_landmarks, find_landmarks, nearest_landmarks
from deepfake_detect.forgery.landmarks import (
    check_landmark_batch,
    check_landmarks,
    face_polygon,
    normalized_landmarks,
    transform_points,
)
from deepfake_detect.records import CropGeometry, Face


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("stored_side", [None, 224])
def test_landmarks_of_the_frame_land_on_the_crops_features(
    portrait: np.ndarray, aligned: bool, stored_side: int | None
) -> None:
    # White spots painted on the landmarks are where the translated landmarks say.
    points = np.float32([(205, 109), (247, 107), (227, 135), (210, 154), (246, 152)])
    frame = np.zeros_like(portrait)
    for x, y in points:
        frame[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 255
    box, geometry = [150.0, -30.0, 290.0, 191.0], CropGeometry(margin=1.3, aligned=aligned)
    crop = crop_face(frame, Face(np.float32(box), 1.0, points), geometry)
    if stored_side:
        crop = cv2.resize(crop, (stored_side, stored_side), interpolation=cv2.INTER_AREA)
    row = {"box_xyxy": box, "landmarks_xy": points.reshape(-1).tolist()}
    moved = crop_landmarks(row, crop_size=crop.shape[:2], geometry=geometry)
    assert moved is not None
    assert moved.shape == (5, 2)
    for x, y in moved:
        spot = crop[round(float(y)) - 4 : round(float(y)) + 5, round(float(x)) - 4 : round(float(x)) + 5, 0]
        rows, columns = np.nonzero(spot > 60)
        np.testing.assert_allclose((columns.mean() - 4, rows.mean() - 4), 0, atol=1.0)


def test_a_row_without_landmarks_has_none() -> None:
    for row in (
        {"box_xyxy": None, "landmarks_xy": None},
        {"box_xyxy": [0, 0, 9, 9], "landmarks_xy": None},
    ):
        assert crop_landmarks(row, crop_size=(9, 9), geometry=CropGeometry()) is None


def test_the_outline_of_five_holds_the_features_and_keeps_to_the_face(five: np.ndarray) -> None:
    polygon = face_polygon(five).astype(np.float32)
    for point in five:
        assert cv2.pointPolygonTest(polygon, point.tolist(), True) > 12
    width, height = polygon.max(0) - polygon.min(0)
    # MTCNN's own box of this face is 118 x 149 pixels of the crop.
    assert 0.85 < width / 118 < 1.15
    assert 0.8 < height / 149 < 1.15


def test_the_outline_turns_and_grows_with_the_face(five: np.ndarray) -> None:
    angle = np.radians(30)
    matrix = 1.5 * np.array([(np.cos(angle), -np.sin(angle), 0), (np.sin(angle), np.cos(angle), 9)])
    moved = face_polygon(transform_points(five, matrix))
    expected = transform_points(face_polygon(five), matrix)
    assert cv2.contourArea(np.float32(moved)) == pytest.approx(
        cv2.contourArea(np.float32(expected)), rel=1e-3
    )
    np.testing.assert_allclose(moved.mean(0), expected.mean(0), atol=1.0)


def test_a_turned_head_is_narrower_where_the_nose_points(five: np.ndarray) -> None:
    turned = five.copy()
    turned[2, 0] -= 12
    before, after = face_polygon(five), face_polygon(turned)
    assert after[:, 0].min() > before[:, 0].min() + 5
    assert after[:, 0].max() > before[:, 0].max() + 1


def test_more_landmarks_give_their_convex_hull() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 180, (68, 2))
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    np.testing.assert_allclose(
        np.unique(face_polygon(points).round(3), axis=0), np.unique(hull.round(3), axis=0), atol=2e-3
    )


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (None, "landmarks_xy: is None: there is no face"),
        (np.zeros((4, 2)), r"landmarks_xy: has the shape \(4, 2\); pass \(K, 2\)"),
        (np.zeros((5, 3)), r"has the shape \(5, 3\)"),
        ("face", "is not an array of numbers"),
        (np.ones((5, 2)) * 1j, "is not an array of numbers"),
        (np.full((5, 2), np.nan), "values that are not finite, or beyond 1,000,000 pixels; skip this"),
        (np.random.default_rng(0).normal(0, 1e300, (68, 2)), "beyond 1,000,000 pixels"),
        (np.full((5, 2), 40.0), "has collapsed to a point or a line"),
        (np.arange(10.0).reshape(5, 2) * 9, "has collapsed to a point or a line"),
    ],
)
def test_bad_landmarks_are_refused(landmarks: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check_landmarks(landmarks)


def test_bad_landmarks_of_a_batch_are_named(five: np.ndarray) -> None:
    batch = np.stack([five, five, five])
    with pytest.raises(OptionError, match=r"of shape \(3, 5, 2\) for 2 images"):
        check_landmark_batch(batch, 2)
    with pytest.raises(OptionError, match="of shape .* for 1 image"):
        check_landmark_batch([None], 1)
    for ragged in ([[1], [2, 3]], "face", batch * 1j):
        with pytest.raises(OptionError, match="landmarks_xy: is not an array of numbers"):
            check_landmark_batch(ragged, 2)
    batch[1, 3, 0] = np.inf
    with pytest.raises(OptionError, match=r"landmarks_xy\[1\]: contains values that are not finite"):
        check_landmark_batch(batch, 3)
    batch[1] = 7
    with pytest.raises(OptionError, match=r"landmarks_xy\[1\]: has collapsed"):
        check_landmark_batch(batch, 3)


def test_the_nearest_are_those_of_the_slow_twin(five: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    bank = five + rng.normal(0, 6, (50, 5, 2))
    bank = bank * rng.uniform(0.5, 3, (50, 1, 1)) + rng.uniform(-99, 99, (50, 1, 2))
    own = normalized_landmarks(five)
    distances = [((normalized_landmarks(other) - own) ** 2).sum() for other in bank]
    assert nearest_landmarks(five, bank, k=7).tolist() == np.argsort(distances)[:7].tolist()
    for k in (0, 51):
        with pytest.raises(OptionError, match=f"k: is {k} of 50 faces"):
            nearest_landmarks(five, bank, k=k)
    with pytest.raises(OptionError, match="bank_xy: has 6 landmarks per face, not 5"):
        nearest_landmarks(five, rng.uniform(0, 99, (3, 6, 2)), k=1)


def test_the_best_similarity_undoes_a_move(five: np.ndarray) -> None:
    matrix = np.array([(0.0, -2.0, 5.0), (2.0, 0.0, -7.0)])
    np.testing.assert_allclose(best_similarity(five, transform_points(five, matrix)), matrix, atol=1e-9)


def test_the_detector_finds_the_face_a_crop_was_cut_around(crop: np.ndarray, five: np.ndarray) -> None:
    tight = crop[30:194, 30:194]
    blank = np.zeros((60, 90, 3), np.uint8)
    found = list(find_landmarks([crop, blank, tight, cv2.resize(crop, (150, 150))], device="cpu"))
    assert found[1] is None
    for points, expected in ((found[0], five), (found[2], five - 30), (found[3], five * 150 / 224)):
        assert points is not None
        np.testing.assert_allclose(points, expected, atol=5)


def test_of_two_faces_the_central_one_counts(crop: np.ndarray, five: np.ndarray) -> None:
    wide = np.zeros((240, 240, 3), np.uint8)
    wide[10:234, 10:234] = crop
    small = cv2.resize(crop, (70, 70), interpolation=cv2.INTER_AREA)
    wide[:70, :70] = small
    found = next(find_landmarks([wide], device="cpu"))
    assert found is not None
    np.testing.assert_allclose(found, five + 10, atol=6)


def test_what_is_no_crop_is_refused() -> None:
    with pytest.raises(ImageError, match="images: is a str; pass RGB crops"):
        next(find_landmarks("face.png"))
    with pytest.raises(ImageError, match=r"crop 1: has the shape \(9, 9\)"):
        list(find_landmarks([np.zeros((90, 90, 3), np.uint8), np.zeros((9, 9), np.uint8)], device="cpu"))
