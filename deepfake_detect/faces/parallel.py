"""One frame per thread, each with one torch thread.

On a CPU this is faster than all threads on one frame: small layers do not divide well, and each would
end with a wait for all threads.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_THREAD_NAME = "faces"


def map_in_threads(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, num_threads: int
) -> Iterator[_Result]:
    """Yield ``function(item)`` for each item in order, computed in threads.

    Args:
        function: Called in a thread in which torch uses one thread.
        items: May be endless: at most ``num_threads + 1`` are in memory.
        num_threads: With 1, everything happens in the calling thread.

    Raises:
        Exception: Whatever ``function`` or ``items`` raise, in order.

    Example:
        >>> list(map_in_threads(abs, [-1, 2, -3], num_threads=2))
        [1, 2, 3]
    """
    if num_threads <= 1:
        yield from map(function, items)
        return
    pool = _single_threaded_pool(num_threads)
    pending: deque[Future[_Result]] = deque()
    try:
        for result in _submitted(pool, function, items):
            pending.append(result)
            if len(pending) > num_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(
    pool: ThreadPoolExecutor, function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[Future[_Result]]:
    """Yield the future result of each item; an exception of the items becomes the last one."""
    try:
        for item in items:
            yield pool.submit(function, item)
    except Exception as error:
        failed: Future[_Result] = Future()
        failed.set_exception(error)
        yield failed


def _single_threaded_pool(num_threads: int) -> ThreadPoolExecutor:
    """Return running threads in which torch, if it is loaded, does not start further ones.

    torch.set_num_threads applies to the calling thread and to threads that start later; the latter is
    restored.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return ThreadPoolExecutor(num_threads, thread_name_prefix=_THREAD_NAME)
    outside = torch.get_num_threads()
    everyone = threading.Barrier(num_threads + 1)

    def start() -> None:
        torch.get_num_threads()  # else the first operation would reset the thread's number
        torch.set_num_threads(1)
        everyone.wait()

    pool = ThreadPoolExecutor(num_threads, thread_name_prefix=_THREAD_NAME, initializer=start)
    for _ in range(num_threads):
        pool.submit(int)  # a thread starts with its first task
    everyone.wait()
    torch.set_num_threads(outside)
    return pool


def in_batches(
    items: Iterable[_Item], *, size: int, alike: Callable[[_Item], Hashable]
) -> Iterator[list[_Item]]:
    """Yield batches of up to ``size`` consecutive items that are alike; none is lost when items raise.

    Example:
        >>> list(in_batches([1, 3, 5, 2, 7], size=2, alike=lambda number: number % 2))
        [[1, 3], [5], [2], [7]]
    """
    batch: list[_Item] = []
    try:
        for item in items:
            if batch and alike(item) != alike(batch[0]):
                yield batch
                batch = []
            batch.append(item)
            del item  # large frames are in memory no longer than needed
            if len(batch) == size:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
