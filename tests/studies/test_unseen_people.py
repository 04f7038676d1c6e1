"""The study of unseen people: who is held out, forgeries made from reals, damage, pairs, the loss."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.studies import unseen_people as study
from benchmarks.studies import unseen_people_crops as data
from benchmarks.studies import unseen_people_final as final
from benchmarks.studies import unseen_people_forgeries as forgeries
from benchmarks.studies.unseen_people_batches import MADE, TRACELESS, PairStream, Plan
from benchmarks.studies.unseen_people_damage import sampled_damage, without_traces
from deepfake_detect.models.config import PlattCalibration
from deepfake_detect.records import FAKE, REAL

_SIDE = 128


def _arc(num: int, center: tuple[float, float], radii: tuple[float, float], start: float, end: float) -> list:
    angles = np.linspace(start, end, num)
    return [(center[0] + radii[0] * math.cos(at), center[1] + radii[1] * math.sin(at)) for at in angles]


@cache
def landmarks() -> np.ndarray:
    """68 points of a face that fills half of its crop, fractions of the side."""
    turn = 2 * math.pi
    points = [
        *_arc(17, (0.5, 0.45), (0.25, 0.33), math.pi, 0),  # jaw
        *_arc(5, (0.39, 0.38), (0.08, 0.04), math.pi, turn),
        *_arc(5, (0.61, 0.38), (0.08, 0.04), math.pi, turn),
        *[(0.5, 0.42 + 0.04 * step) for step in range(4)],
        *[(0.46 + 0.02 * step, 0.57) for step in range(5)],
        *_arc(6, (0.4, 0.43), (0.045, 0.02), math.pi, 2.6 * math.pi),
        *_arc(6, (0.6, 0.43), (0.045, 0.02), math.pi, 2.6 * math.pi),
        *_arc(12, (0.5, 0.66), (0.08, 0.04), math.pi, 2.8 * math.pi),
        *_arc(8, (0.5, 0.66), (0.05, 0.015), math.pi, 2.7 * math.pi),
    ]
    return np.float32(points)


def texture(seed: int, side: int = _SIDE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 220, (12, 12, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def face(seed: int) -> forgeries.FaceCrop:
    return forgeries.FaceCrop(texture(seed), landmarks() * _SIDE)


def crop(seed: int, dataset: str, person: str, **changes: object) -> data.Crop:
    coded = cv2.imencode(".png", cv2.cvtColor(texture(seed), cv2.COLOR_RGB2BGR))[1].tobytes()
    values = {"method": data.ORIGINAL, "label": REAL, "split": "train", "landmarks": landmarks(), **changes}
    return data.Crop(dataset=dataset, person=person, coded=coded, **values)  # type: ignore[arg-type]


def few_crops() -> list[data.Crop]:
    crops = []
    for number, dataset in enumerate((data.FFPP, data.DFDC, data.LFW)):
        reals = [crop(10 * number + one, dataset, f"{dataset}{one}") for one in range(3)]
        crops += reals
        if dataset != data.LFW:
            method = "Deepfakes" if dataset == data.FFPP else dataset
            crops += [
                crop(50 + one, dataset, real.person, method=method, label=FAKE, original=real)
                for one, real in enumerate(reals)
            ]
    return crops


def test_no_person_is_in_two_folds() -> None:
    people = [person for fold in data.FOLDS for person in fold]
    assert len(set(people)) == len(people)
    assert any({"648", "986"} <= set(fold) for fold in data.FOLDS)  # one person, filmed twice


@pytest.mark.parametrize(("person", "source", "is_known"), [
    ("033", "097", True), ("055", "147", False), ("033", "055", False), ("055", "033", False),
])  # fmt: skip
def test_a_fold_hides_a_fake_if_either_of_its_people_is_in_it(
    person: str, source: str, is_known: bool
) -> None:
    assert study._is_known(crop(0, data.FFPP, person, source=source), 0) is is_known


_MADE = {
    "self-blended": lambda one, rng: forgeries.self_blended(one, rng),
    "own, autoencoded": lambda one, rng: forgeries.autoencoded(one, rng),
    "another's, autoencoded": lambda one, rng: forgeries.autoencoded(one, rng, face(7)),
    "swapped": lambda one, rng: forgeries.swapped(one, rng, face(7)),
    "open mouth": lambda one, rng: forgeries.reenacted(one, rng),
    "another's expression": lambda one, rng: forgeries.reenacted(one, rng, face(7)),
}


@pytest.mark.parametrize("kind", _MADE)
def test_a_forgery_changes_the_face_and_nothing_at_the_border(kind: str) -> None:
    changed = []
    for seed in range(8):
        real, fake = _MADE[kind](face(seed), np.random.default_rng(seed))
        difference = np.abs(real.astype(int) - fake).max(2)
        assert not difference[:4].any()
        assert not difference[:, :4].any()
        changed.append(difference[40:90, 40:88].mean())
    assert np.median(changed) > 1


def test_a_warp_moves_a_point_to_its_target() -> None:
    image = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    cv2.circle(image, (50, 60), 4, (255, 255, 255), -1)
    points = np.float64([(10, 10), (118, 10), (10, 118), (118, 118), (50, 60)])
    moved = forgeries.warped(image, points, points + np.float64([(0, 0)] * 4 + [(8, -6)]))
    rows, columns = np.nonzero(moved[..., 0] > 128)
    assert columns.mean() == pytest.approx(58, abs=1.5)
    assert rows.mean() == pytest.approx(54, abs=1.5)


def test_colors_move_to_the_target_s() -> None:
    source, target = np.full((64, 64, 3), 60, np.uint8), np.full((64, 64, 3), 160, np.uint8)
    mask = np.ones((64, 64), np.float32)
    matched = forgeries.color_matched(
        source, target, mask, np.random.default_rng(0), amount=1, with_spread=False
    )
    assert matched.mean() == pytest.approx(160, abs=3)


def test_both_images_of_a_pair_are_damaged_alike() -> None:
    for seed in range(30):
        damage = sampled_damage(np.random.default_rng(seed), 64)
        first, second = damage(texture(0)), damage(texture(0))
        assert first.shape == (64, 64, 3)
        assert (first == second).all()


def test_no_detail_is_left_without_traces() -> None:
    (blurred,) = without_traces((texture(0),), np.random.default_rng(0))
    assert blurred.shape == (_SIDE, _SIDE, 3)
    assert cv2.Laplacian(blurred, cv2.CV_32F).var() < 0.02 * cv2.Laplacian(texture(0), cv2.CV_32F).var()


def test_batches_hold_what_the_plan_says_and_nothing_of_others() -> None:
    plan = Plan(64, {data.FFPP: 2, data.DFDC: 1, MADE: 2}, {data.DFDC: 0.5, data.LFW: 0.5}, traceless=0)
    images, kinds = next(iter(PairStream(few_crops(), plan, seed=0)))
    assert images.shape == (10, 64, 64, 3)
    assert kinds == [data.FFPP, data.FFPP, data.DFDC, MADE, MADE]
    hidden = Plan(64, {data.FFPP: 4, data.DFDC: 1}, {}, traceless=1)
    assert next(iter(PairStream(few_crops(), hidden, seed=0)))[1] == [TRACELESS] * 4 + [data.DFDC]


def test_another_s_face_is_never_one_s_own() -> None:
    crops = [crop(one, data.LFW, "twice") for one in range(4)] + [crop(9, data.LFW, "other")]
    bank = PairStream(crops, Plan(64, {}, {}), seed=0).banks[data.LFW]
    other = bank.other(crops[0], np.random.default_rng(0))
    assert (other.image == texture(9)).all()


class _Told(nn.Module):
    """Returns logits that it was given."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(images)]


def test_the_loss_is_smallest_for_what_the_pairs_are() -> None:
    images, kinds = torch.zeros(4, 8, 8, 3, dtype=torch.uint8), [data.FFPP, TRACELESS]
    unused = _Told([0.0])
    right = study._loss(_Told([-3.0, 0.0, 3.0, 0.0]), unused, images, kinds)
    for wrong in ([3.0, 0.0, -3.0, 0.0], [-3.0, 3.0, 3.0, 0.0], [-3.0, 0.0, -3.0, 0.0]):
        assert study._loss(_Told(wrong), unused, images, kinds) > right


def test_half_of_dfdc_s_target_is_what_the_teacher_says() -> None:
    images, kinds = torch.zeros(2, 8, 8, 3, dtype=torch.uint8), [data.DFDC]
    doubting, sure = (_Told(logits) for logits in ([0.0, 0.0], [-9.0, 9.0]))
    guess = _Told([-4.0, 4.0])
    assert study._loss(guess, sure, images, kinds) < study._loss(guess, doubting, images, kinds)


def test_the_rate_warms_up_and_ends_at_the_floor() -> None:
    rates = [study._rate_at(step, 700) for step in range(701)]
    assert rates[0] < 0.02
    assert max(rates) == pytest.approx(1, abs=0.05)
    assert rates[-1] == pytest.approx(0.05)


def scored(logits: list[float], labels: list[int], clips: list[str] | None = None) -> final.Scored:
    names = clips or [str(number) for number in range(len(labels))]
    return final.Scored(np.array(logits), np.array(labels), np.array(names))


def test_every_set_weighs_the_same_in_the_calibration() -> None:
    many = scored([-2.0, 2.0, -1.0, 1.0] * 50, [0, 1, 0, 1] * 50)
    shifted = scored([0.0, 4.0], [0, 1])  # as heavy as the other, which has a hundred times as many
    line = final._line([many, shifted])
    assert line.slope > 0
    assert 0.3 < -line.intercept / line.slope < 1.7  # between the middles of both sets


def test_a_clip_s_probability_is_the_mean_of_its_frames() -> None:
    one = scored([0.0, 50.0, -50.0], [1, 1, 0], ["fake", "fake", "real"])
    labels, probabilities = final._clips(one, PlattCalibration(1.0, 0.0))
    assert labels.tolist() == [1, 0]
    assert probabilities == pytest.approx([0.75, 0.0])


def test_limits_accuse_few_reals_of_every_set() -> None:
    rng = np.random.default_rng(0)
    easy = np.array([0] * 200), rng.uniform(0, 0.4, 200)
    hard = np.array([0] * 200 + [1] * 200), np.r_[rng.uniform(0, 0.7, 200), rng.uniform(0.5, 1, 200)]
    low, high = final._limits([easy, hard])
    assert (hard[1][:200] >= high).mean() <= 0.02
    assert 0.6 < high < 0.75
    assert low < high
    assert ((hard[1] > low) & (hard[1] < high)).mean() <= 0.22
