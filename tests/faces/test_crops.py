from __future__ import annotations

import cv2
import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.errors import OptionError
from deepfake_detect.faces import crop_face, crop_side
from deepfake_detect.records import CropGeometry, Face


def face_at(*box: float) -> Face:
    return Face(np.array(box, np.float32), 1.0, np.zeros((5, 2), np.float32))


def ramp(height: int, width: int) -> np.ndarray:
    """Every pixel encodes its position: red is x, green is y."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width)
    image[..., 1] = np.arange(height)[:, None]
    return image


def test_the_square_is_centered_and_margin_times_the_longer_side() -> None:
    crop = crop_face(ramp(200, 240), face_at(100, 80, 120, 120), CropGeometry(margin=1.5))
    assert crop.shape == (60, 60, 3)
    assert (crop[0, 0, 0], crop[0, 0, 1]) == (80, 70)
    assert (crop[-1, -1, 0], crop[-1, -1, 1]) == (139, 129)


@pytest.mark.parametrize("box", [(-10, -10, 30, 30), (190, 150, 260, 230), (90, -40, 130, 20)])
def test_past_the_border_the_image_is_mirrored_and_the_face_keeps_its_position(
    box: tuple[float, ...],
) -> None:
    image, geometry = ramp(200, 240), CropGeometry(margin=1.3)
    crop = crop_face(image, face_at(*box), geometry)
    side = crop_side(face_at(*box), geometry)
    assert crop.shape == (side, side, 3)
    # A slow twin: pad far around by mirroring, then cut.
    padded = cv2.copyMakeBorder(image, 150, 150, 150, 150, cv2.BORDER_REFLECT_101)
    left = round((box[0] + box[2] - side) / 2) + 150
    top = round((box[1] + box[3] - side) / 2) + 150
    np.testing.assert_array_equal(crop, padded[top : top + side, left : left + side])


def test_a_wide_crop_narrowed_is_the_narrow_crop(portrait: np.ndarray) -> None:
    from deepfake_detect.data.transforms import center_crop

    face = dfd.detect_faces([portrait])[0][0]
    wide = crop_face(portrait, face, CropGeometry(margin=2.6))
    narrow = crop_face(portrait, face, CropGeometry(margin=1.3))
    narrowed = center_crop(wide, 0.5)
    height = min(len(narrow), len(narrowed))
    difference = np.abs(narrow[:height, :height].astype(int) - narrowed[:height, :height])
    shifted = np.abs(narrow[8:height, :height].astype(int) - narrowed[: height - 8, :height])
    assert difference.mean() < shifted.mean() / 3  # at most a pixel of rounding apart


def test_alignment_levels_the_eyes(portrait: np.ndarray) -> None:
    matrix = cv2.getRotationMatrix2D((223, 140), 25, 1.0)
    turned = cv2.warpAffine(portrait, matrix, (512, 512), borderMode=cv2.BORDER_REFLECT_101)
    face = dfd.detect_faces([turned])[0][0]
    slope = face.landmarks_xy[1] - face.landmarks_xy[0]
    assert abs(np.degrees(np.arctan2(slope[1], slope[0]))) > 15
    crop = crop_face(turned, face, CropGeometry(margin=2.0, aligned=True))
    again = dfd.detect_faces([crop])[0][0]
    levelled = again.landmarks_xy[1] - again.landmarks_xy[0]
    assert abs(np.degrees(np.arctan2(levelled[1], levelled[0]))) < 6
    center = (again.box_xyxy[:2] + again.box_xyxy[2:]) / 2 / len(crop)
    np.testing.assert_allclose(center, 0.5, atol=0.06)


@pytest.mark.parametrize("margin", [0.49, 4.1, float("nan")])
def test_a_margin_out_of_range_is_an_error(margin: float) -> None:
    with pytest.raises(OptionError, match=f"margin: is {margin}; must be 0.5 to 4 times"):
        crop_face(ramp(50, 50), face_at(10, 10, 20, 20), CropGeometry(margin=margin))


def test_a_box_keeps_its_proportions_and_may_be_padded() -> None:
    face = face_at(100, 80, 120, 120)
    box = crop_face(ramp(200, 240), face, CropGeometry(margin=1.5, shape="box"))
    assert box.shape == (60, 30, 3)
    assert (box[0, 0, 0], box[0, 0, 1]) == (95, 70)
    padded = crop_face(ramp(200, 240), face, CropGeometry(margin=1.5, shape="padded"))
    assert padded.shape == (60, 60, 3)
    np.testing.assert_array_equal(padded[:, 15:45], box)
    assert not padded[:, :15].any()
    assert not padded[:, 45:].any()


def test_past_the_border_a_crop_is_cut_or_black() -> None:
    image, face = ramp(200, 240) + 1, face_at(-10, 10, 30, 50)  # 40 x 40, a quarter outside
    cut = crop_face(image, face, CropGeometry(margin=1.0, border="cut"))
    assert cut.shape == (40, 30, 3)
    np.testing.assert_array_equal(cut, image[10:50, :30])
    black = crop_face(image, face, CropGeometry(margin=1.0, border="black"))
    np.testing.assert_array_equal(black[:, 10:], image[10:50, :30])
    assert not black[:, :10].any()
    outside = face_at(-90, -90, -50, -50)
    assert crop_face(image, outside, CropGeometry(border="cut")).size
    assert not crop_face(image, outside, CropGeometry(border="black")).any()


def test_the_template_of_insightface_is_where_the_landmarks_come_to_lie() -> None:
    template = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655)])
    template = np.vstack([template, [(70.7299, 92.2041)]])
    angle, scale = np.radians(20), 1.4
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    image = np.zeros((300, 300, 3), np.uint8)
    points = (template - 56) @ turn.T + 150
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 5, (255, 255, 255), -1)
    face = Face(np.float32([80, 80, 220, 220]), 1.0, points.astype(np.float32))
    geometry = CropGeometry(margin=1.3, aligned=True, template="arcface", border="black", side=224)
    crop = crop_face(image, face, geometry)
    assert crop.shape == (224, 224, 3)
    wanted = ((template / 112 - 0.5) / 1.3 + 0.5) * 224
    for x, y in wanted:
        assert crop[round(y), round(x)].min() > 200
    native = crop_face(image, face, CropGeometry(margin=1.3, aligned=True, template="arcface"))
    assert native.shape[0] == pytest.approx(112 * 1.3 * scale, abs=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"aligned": True, "side": 8}, "side: is 8; must be 16 to 1024 pixels"),
        ({"aligned": True, "shape": "box"}, "aligned: is for square crops that are not cut"),
        ({"aligned": True, "border": "cut"}, "aligned: is for square crops that are not cut"),
        ({"template": "arcface"}, "template: and `side` are for aligned crops"),
        ({"side": 224}, "template: and `side` are for aligned crops"),
        ({"narrowest": 1.4}, "narrowest: is 1.4; must be 0.5 to the margin, 1.3"),
    ],
)
def test_parts_of_a_geometry_that_contradict_one_another(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        crop_face(ramp(50, 50), face_at(10, 10, 20, 20), CropGeometry(**wrong))  # type: ignore[arg-type]


def test_files_of_before_there_were_shapes_read_back_the_same() -> None:
    from deepfake_detect.io.plain import from_plain

    assert CropGeometry(1.5, aligned=True).to_dict() == {"margin": 1.5, "aligned": True}
    geometry = CropGeometry(1.25, shape="box", border="cut")
    assert from_plain(CropGeometry, geometry.to_dict()) == geometry
    assert repr(geometry) == "CropGeometry(margin=1.25, aligned=False, shape='box', border='cut')"
