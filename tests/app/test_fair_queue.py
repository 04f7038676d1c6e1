from __future__ import annotations

import random

import pytest

from deepfake_detect.app.fair_queue import FairQueue, Owner


def taken(queue: FairQueue[str]) -> list[str]:
    return [queue.take() for _ in range(len(queue))]


def test_one_who_sends_fifty_makes_another_wait_for_one() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(50):
        queue.put(Owner("10.0.0.1", "a"), f"many{number}")
    queue.put(Owner("10.0.0.2", "b"), "one")
    assert queue.position("one") == 2
    order = taken(queue)
    assert order[:3] == ["many0", "one", "many1"]
    assert order[2:] == [f"many{number}" for number in range(1, 50)]


def test_many_cookies_gain_nothing_over_another_address() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(20):
        queue.put(Owner("10.0.0.1", f"cookie{number}"), f"x{number}")
    queue.put(Owner("10.0.0.2", ""), "y")
    assert queue.position("y") == 2


def test_the_browsers_of_an_address_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("a1", "a2", "a3"):
        queue.put(Owner("10.0.0.1", "a"), name)
    queue.put(Owner("10.0.0.1", "b"), "b1")
    assert taken(queue) == ["a1", "b1", "a2", "a3"]


def test_who_comes_back_stands_behind_those_who_wait() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.put(Owner("1", ""), "a1")
    queue.put(Owner("2", ""), "b1")
    assert queue.take() == "a1"
    queue.put(Owner("1", ""), "a2")
    assert taken(queue) == ["b1", "a2"]


def test_items_leave_out_of_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.put(Owner("1", ""), "a")
    queue.put(Owner("2", ""), "b")
    assert queue.discard("a")
    assert not queue.discard("a")
    assert (queue.position("a"), queue.position("b"), len(queue)) == (0, 1, 1)
    queue.take()
    with pytest.raises(IndexError, match="the queue is empty"):
        queue.take()


def test_the_place_told_is_the_place_had() -> None:
    draw = random.Random(0)
    queue: FairQueue[str] = FairQueue()
    for number in range(40):
        queue.put(Owner(draw.choice("123"), draw.choice("ab")), str(number))
    places = {str(number): queue.position(str(number)) for number in range(40)}
    order = taken(queue)
    assert places == {item: place for place, item in enumerate(order, start=1)}
