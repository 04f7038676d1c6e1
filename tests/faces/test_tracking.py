from __future__ import annotations

import numpy as np
import pytest

from deepfake_detect.faces import Tracker, confirmed_tracks, crop_face, main_track, track_faces
from deepfake_detect.faces.torch_detector import MtcnnDetector
from deepfake_detect.faces.tracking import _assigned
from deepfake_detect.records import CropGeometry, Face, Frame


def face_at(x: float, y: float, size: float = 60) -> Face:
    box = np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2], np.float32)
    return Face(box, 1.0, np.zeros((5, 2), np.float32))


def test_two_people_keep_their_numbers_whatever_the_order_of_detection() -> None:
    tracker = Tracker()
    assert tracker.update([face_at(100, 100), face_at(400, 100)]) == [0, 1]
    assert tracker.update([face_at(390, 105), face_at(120, 95)]) == [1, 0]
    assert tracker.update([face_at(150, 95), face_at(380, 110)]) == [0, 1]


def test_a_person_is_known_again_after_a_short_absence_and_not_after_a_long_one() -> None:
    tracker = Tracker()
    tracker.update([face_at(100, 100)])
    for _ in range(5):
        assert tracker.update([]) == []
    assert tracker.update([face_at(110, 100)]) == [0]
    for _ in range(6):
        tracker.update([])
    assert tracker.update([face_at(110, 100)]) == [1]


@pytest.mark.parametrize("num_hidden", [0, 1, 3])
@pytest.mark.parametrize("step", [12.0, 25.0])
def test_people_who_cross_keep_their_numbers(num_hidden: int, step: float) -> None:
    """Two faces pass each other; while they meet, one hides the other."""
    rng = np.random.default_rng(0)
    tracker, seen = Tracker(), []
    frames = range(-10, 11)
    for number in frames:
        left, right = (face_at(500 + sign * step * number + rng.normal(0, 1), 300) for sign in (1, -1))
        is_hidden = abs(number) <= num_hidden // 2 and num_hidden > 0
        track_ids = tracker.update([left] if is_hidden else [right, left])
        seen.append(track_ids[-1:] if is_hidden else track_ids[::-1])
    assert seen[0] == [1, 0]
    assert all(ids == [1, 0] for ids in seen if len(ids) == 2)


def test_a_person_who_turns_back_is_still_the_same() -> None:
    tracker = Tracker()
    for x in (100, 130, 160, 190, 160, 130, 100):
        assert tracker.update([face_at(x, 100)]) == [0]


def test_a_face_elsewhere_or_of_another_size_is_another_person() -> None:
    tracker = Tracker()
    tracker.update([face_at(100, 100)])
    assert tracker.update([face_at(300, 100)]) == [1]
    assert tracker.update([face_at(100, 100, size=250)]) == [2]


def test_the_main_person_is_the_one_seen_largest_and_longest() -> None:
    brief_large = [(0, face_at(0, 0, 100))]
    long_medium = [(1, face_at(0, 0, 60))] * 4
    assert main_track(brief_large + long_medium) == 1
    assert main_track(brief_large) == 0
    assert main_track([]) is None


def test_a_track_is_a_person_when_one_of_its_faces_is_sure() -> None:
    assert confirmed_tracks([(0, 0.75), (0, 0.97), (1, 0.8), (2, 0.9)]) == {0, 2}


def test_following_keeps_every_frame_and_cuts_from_the_right_one(portrait: np.ndarray) -> None:
    blank = np.zeros((200, 320, 3), np.uint8)
    frames = [Frame(portrait, 0, 0.0), Frame(blank, 7, 0.28), Frame(portrait[:, ::-1].copy(), 9, 0.36)]
    followed = list(track_faces(frames, detector=MtcnnDetector(), geometry=CropGeometry()))
    assert [(f.frame_index, f.time_seconds, len(f.faces)) for f in followed] == [
        (0, 0.0, 1),
        (7, 0.28, 0),
        (9, 0.36, 1),
    ]
    for frame, source in zip(followed, frames, strict=True):
        for one in frame.faces:
            np.testing.assert_array_equal(one.crop, crop_face(source.image, one.face, CropGeometry()))


@pytest.mark.parametrize("shape", [(2, 2), (3, 7), (7, 3), (12, 12)])
def test_the_assignment_costs_no_more_than_scipys(shape: tuple[int, int]) -> None:
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    for _ in range(20):
        distances = rng.exponential(2.0, shape)  # some out of reach
        costs = np.minimum(distances, 10.0)
        pairs = _assigned(distances)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == min(shape)
        rows, columns = linear_sum_assignment(costs)
        assert sum(costs[pair] for pair in pairs) == pytest.approx(costs[rows, columns].sum())
