"""The study of forged regions: what was changed, windows, the head, figures by person, tables."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
import torch

from benchmarks.studies import forged_region_data as data
from benchmarks.studies import forged_region_measures as measures
from benchmarks.studies.forged_region_head import Examples, RegionHead, predict, train_head
from benchmarks.studies.forged_region_page import tables_of

# Brows, jaw and nose of a face in the middle, enough for an outline.
_FACE_XY = np.float32([[0.3, 0.35], [0.7, 0.35], [0.5, 0.5], [0.35, 0.65], [0.65, 0.65], [0.5, 0.75]])


def noise(seed: int, spread: float = 4.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(120, spread, (256, 256, 3)).clip(0, 255).astype(np.uint8)


@cache
def coded_noise(seed: int) -> bytes:
    coded: bytes = cv2.imencode(".png", noise(seed))[1].tobytes()
    return coded


def crop(method: str = data.ORIGINAL, target: str = "001", frame: int = 0, source: str = "") -> data.Crop:
    return data.Crop(coded_noise(frame), _FACE_XY, method, target, source, frame)


def disk(x: int = 128, y: int = 128, radius: int = 50) -> np.ndarray:
    return cv2.circle(np.zeros((256, 256), np.uint8), (x, y), radius, 1, -1).astype(bool)


def examples(regions: np.ndarray, methods: list[str], maps: torch.Tensor) -> Examples:
    views = [data.View(crop(method), data.Window(0.5)) for method in methods]
    return Examples(views, [maps], torch.zeros(len(views), 4), torch.from_numpy(regions))


def test_noise_is_no_change_and_a_hole_in_the_change_is_closed() -> None:
    original = noise(0)
    fake = noise(1)
    assert not data.changed_region(fake, original).any()
    fake[disk()] += 40
    fake[disk(radius=4)] -= 40
    fake[disk(20, 20, 8)] += 40  # something else, smaller
    region = data.changed_region(fake, original)
    assert measures.overlaps(region[None], disk()[None])[0] > 0.75
    assert region[128, 128]
    assert not region[20, 20]


def test_windows_stay_inside_and_mirror() -> None:
    image = np.arange(100 * 100).reshape(100, 100)
    assert data.Window(0.5).cut(image).tolist() == image[25:75, 25:75].tolist()
    assert data.Window(0.5, x=0.1, y=0.9).cut(image).tolist() == image[50:, :50].tolist()
    assert data.Window(1, is_mirrored=True).cut(image).tolist() == image[:, ::-1].tolist()
    windows = [data.moved(0.5, np.random.default_rng(seed)) for seed in range(20)]
    assert {window.is_mirrored for window in windows} == {True, False}
    assert all(0.42 < window.fraction < 0.61 and 0.43 < window.x < 0.57 for window in windows)


def test_a_real_has_no_changed_region_and_that_of_an_unaligned_fake_is_unknown() -> None:
    assert not data.View(crop(), data.Window(0.5)).region().any()
    assert np.isnan(data.View(crop("Face2Face"), data.Window(0.5)).region()).all()


def test_depth_is_positive_inside_the_landmarks() -> None:
    depth = data.face_depth(_FACE_XY)
    assert depth[128, 128] > 0.1
    assert depth[10, 10] < -0.2


def test_regions_move_with_the_landmarks() -> None:
    moved = data.moved_onto(disk(), _FACE_XY, _FACE_XY + np.float32([0.1, -0.05]))
    assert measures.overlaps(moved[None] > 0.5, disk(154, 115)[None])[0] > 0.9


def test_crops_are_thinned_evenly_over_the_frames_of_each_clip() -> None:
    crops = [crop(target=target, frame=frame) for target in ("001", "002") for frame in range(9, -1, -1)]
    assert [(one.target, one.frame) for one in data.thinned(crops, 3)] == [
        (target, frame) for target in ("001", "002") for frame in (0, 4, 9)
    ]


def test_blends_are_of_the_own_face_and_of_another_persons() -> None:
    made = data.blends([crop(target="001", frame=1), crop(target="002", frame=2)], seed=0)
    assert [one.method for one in made] == [data.BLEND] * 2
    assert all(one.original is not None and one.image().shape == (256, 256, 3) for one in made)


def test_of_a_half_forged_face_the_other_half_is_the_originals() -> None:
    fake, original = noise(0), noise(0)
    fake[disk(radius=90)] += 40
    coded = [cv2.imencode(".png", image)[1].tobytes() for image in (fake, original)]
    whole = data.Crop(coded[0], _FACE_XY, "Deepfakes", "001", "002", 0, coded[1])
    regions = [data.halves([whole], seed=seed)[0].region() for seed in range(16)]
    assert all(0.4 < region.sum() / whole.region().sum() < 0.65 for region in regions)
    assert len({region.tobytes() for region in regions}) == 4  # either side, above, below
    assert data.halves([crop("Face2Face")], seed=0) == []


def test_pixel_auc_and_iou_of_known_maps() -> None:
    region = np.zeros((2, 4, 4), bool)
    region[0, :2] = True
    maps = np.where(region, 0.9, 0.1)
    aucs = measures.pixel_aucs(maps, region)
    assert aucs[0] == 1
    assert np.isnan(aucs[1])
    assert measures.overlaps(maps > 0.5, region).tolist() == [1, 0]
    marked = np.ones_like(region)
    assert measures.overlaps(marked, region).tolist() == [0.5, 0]
    assert 0.1 < measures.best_threshold(maps[:1], region[:1]) <= 0.9


def test_intervals_resample_people() -> None:
    values, people = np.array([0.0, 0.0, 1.0, 1.0, 0.5, np.nan]), ["a", "a", "b", "b", "c", "d"]
    found = measures.by_person(values, people)
    assert (found["value"], found["n"], found["people"]) == (0.5, 5, 3)
    assert 0 <= found["low"] < 0.5 < found["high"] <= 1
    assert measures.by_person(values[:4], people[:4])["low"] is None  # of two
    assert measures.by_person(values[5:], people[5:])["value"] is None


def test_no_person_is_in_two_folds_and_each_sample_is_predicted_by_others() -> None:
    people = [frozenset(names) for names in ("ab", "b", "bc", "de", "f", "g")]
    folds = measures.folds_of(people, 3)
    assert folds[0] == folds[1] == folds[2]
    assert len(set(folds.tolist())) == 3
    values = np.arange(6.0)
    held = measures.out_of_fold(
        folds, lambda chosen: lambda features: features + values[chosen].max(), values[:, None]
    )
    assert held[:, 0].tolist() == [number + values[folds != folds[number]].max() for number in range(6)]


def test_families_are_measured_by_what_is_named_and_how_surely() -> None:
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.9, 0.1]])
    found = measures.family_figures(probabilities, np.array(["a", "b", "a"]), ["a", "b"], ["x", "y", "z"])
    assert found["accuracy"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["recall"]["b"]["value"] == 0
    assert found["log_loss"]["value"] == pytest.approx(-np.log([0.8, 0.4, 0.9]).mean(), abs=1e-4)
    keys, means = measures.mean_by(["x", "y", "x"], probabilities)
    assert keys == ["x", "y"]
    assert means.round(2).tolist() == [[0.85, 0.15], [0.6, 0.4]]


def test_a_head_learns_where_a_map_is_high() -> None:
    rng = np.random.default_rng(0)
    regions = np.zeros((24, data.GRID, data.GRID), np.float32)
    for region in regions:
        x, y = rng.integers(0, 36, 2)
        region[y : y + 20, x : x + 20] = 1
    signal = torch.nn.functional.avg_pool2d(torch.from_numpy(regions)[:, None], 4)
    maps = torch.cat([signal, torch.rand(24, 3, 14, 14)], 1).half()
    seen = examples(regions, ["Deepfakes"] * 24, maps)
    chosen = np.arange(24) < 16
    head = train_head(seen.where(chosen), epochs=40)
    aucs = measures.pixel_aucs(predict(head, seen.where(~chosen)), seen.where(~chosen).changed)
    assert aucs.min() > 0.8


def test_logits_are_as_fine_as_the_finest_map() -> None:
    logits = RegionHead([4, 8], width=8)([torch.rand(2, 4, 28, 28), torch.rand(2, 8, 7, 7)])
    assert logits.shape == (2, 28, 28)


def test_examples_are_joined_and_chosen_with_all_they_hold() -> None:
    regions = np.stack([np.zeros((56, 56), np.float32), np.full((56, 56), np.nan, np.float32)])
    one = examples(regions, [data.ORIGINAL, "Face2Face"], torch.rand(2, 3, 7, 7).half())
    both = one + one
    assert len(both) == 4
    assert both.is_forged.tolist() == [False, True] * 2
    located = both.where(both.is_located)
    assert located.methods.tolist() == [data.ORIGINAL] * 2
    assert len(located.maps[0]) == len(located.pooled) == 2


def test_figures_become_tables() -> None:
    figure = {"value": 0.75, "low": 0.6, "high": 0.85}
    both = {"auc": figure, "iou": {**figure, "low": None}}
    one = {
        "threshold": 0.5,
        "all": both,
        "Deepfakes": both,
        "marked_of_real": figure,
        "marked_of_forged": figure,
    }
    kind = {"accuracy": figure, "recall": {"swap": figure}, "log_loss": figure, "calibration_error": 0.1}
    figures = {
        "detector": "name 1",
        "margin": 0.85,
        "trained_on": "reals",
        "cross_validated": {"reals": one},
        "maps": {"whole": {"head": one, "Grad-CAM": one}, "halves": {"head": one}},
        "differences": {"whole": {"Grad-CAM": both}, "halves": {"Grad-CAM": both}},
        "family": {"per_crop": kind, "per_clip": kind, "regions": kind, "without_looking": kind},
    }
    text = tables_of(figures)
    assert "| head | 0.750 [0.60, 0.85] | 0.750 | 0.750 | 0.750 [0.60, 0.85] | 0.750 [0.60, 0.85] |" in text
    assert f"| detector's features, per clip{3 * ' | 0.750 [0.60, 0.85]'} | 0.100 |" in text
