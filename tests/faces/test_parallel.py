from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from deepfake_detect.faces.parallel import in_batches, map_in_threads


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(num_threads: int) -> None:
    release = [threading.Event() for _ in range(6)]
    release[0].set()

    def work(number: int) -> int:
        assert release[number].wait(10)
        if number + 1 < len(release):
            release[number + 1].set()
        return number

    assert list(map_in_threads(work, range(6), num_threads=num_threads)) == list(range(6))


def test_torch_has_one_thread_inside_and_as_many_as_before_outside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        inside = list(map_in_threads(lambda _: torch.get_num_threads(), range(8), num_threads=2))
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert inside == [1] * 8
        assert torch.get_num_threads() == 3
        assert later == [3]
    finally:
        torch.set_num_threads(before)


def test_no_more_items_are_taken_than_are_worked_on() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while True:  # without end
            taken += 1
            yield taken

    results = map_in_threads(lambda item: item, items(), num_threads=2)
    for number in range(1, 8):
        assert next(results) == number
        assert taken <= number + 2
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("faces")]


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_an_error_comes_after_the_results_before_it(num_threads: int) -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise ValueError("no more items")

    results = map_in_threads(lambda item: 6 // item, items(), num_threads=num_threads)
    assert [next(results) for _ in range(3)] == [6, 3, 2]
    with pytest.raises(ValueError, match="no more items"):
        next(results)
    results = map_in_threads(lambda item: 6 // item, [2, 0, 1], num_threads=num_threads)
    assert next(results) == 3
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_batch_in_the_making_is_not_lost_to_an_error() -> None:
    def items() -> Iterator[int]:
        yield from (1, 3, 5)
        raise ValueError("no more items")

    batches = in_batches(items(), size=2, alike=lambda item: item % 2)
    assert [next(batches), next(batches)] == [[1, 3], [5]]
    with pytest.raises(ValueError, match="no more items"):
        next(batches)
    assert list(in_batches([], size=2, alike=bool)) == []
