"""Progress on standard error, so that standard output stays data: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID as TaskID

_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)
# Without a terminal a line comes this often, and later only when a twentieth more time has passed.
_LINE_SECONDS = 10.0
_LINE_RATIO = 1.05


class Progress(Protocol):
    """What code that makes progress calls; a context manager."""

    def add_task(
        self,
        description: str,
        *,
        total: float | None,
        completed: int = 0,
        note: str = "",
        visible: bool = True,
    ) -> TaskID:
        """Add a task; ``total=None`` where its length is unknown."""
        ...

    def update(
        self,
        task_id: TaskID,
        *,
        total: float | None = None,
        completed: float | None = None,
        advance: float | None = None,
        note: str = "",
    ) -> None:
        """Set what is done of a task, and the text at the end of its line."""
        ...

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count more as done."""
        ...

    def remove_task(self, task_id: TaskID) -> None:
        """Remove a task."""
        ...

    def __enter__(self) -> Progress: ...

    def __exit__(self, *details: Any) -> None: ...


def progress_bar(*, enabled: bool = True) -> Progress:
    """Return a progress display: task, bar, count, time spent, time left, free text.

    Tasks may carry ``note=...``, shown at the end of the line. On a terminal bars are drawn; elsewhere a
    line is printed every ten seconds, later less often. Both go to standard error. With ``enabled``
    false, or inside :func:`quiet`, nothing is shown.

    Example:
        >>> with progress_bar(enabled=False) as progress:
        ...     task = progress.add_task("videos", total=2, note="")
        ...     progress.advance(task)
    """
    is_shown = enabled and not _is_quiet.get()
    if not (is_shown and sys.stderr.isatty()):
        return _Lines(is_shown)
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def quiet(is_quiet: bool = True) -> Iterator[None]:
    """Show no progress inside the block."""
    token = _is_quiet.set(is_quiet)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def is_quiet() -> bool:
    """Return whether this is inside :func:`quiet`."""
    return _is_quiet.get()


@dataclass
class _Task:
    description: str
    total: float | None
    completed: float
    note: str
    is_visible: bool
    started: float

    def __post_init__(self) -> None:
        self.num_before = self.completed  # by an earlier run

    def line(self, now: float) -> str:
        seconds = now - self.started
        of = "" if not self.total else f" of {self.total:,.0f}"
        num_new = self.completed - self.num_before
        left = seconds / num_new * (self.total - self.completed) if self.total and num_new else 0
        parts = [f"{self.completed:,.0f}{of} {self.note}".strip(), f"{_clock(seconds)} elapsed"]
        return f"{self.description}: {', '.join(parts + [f'{_clock(left)} left'] * (left > 0))}"


class _Lines:
    """Progress as lines; see :class:`Progress`."""

    def __init__(self, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._tasks: dict[int, _Task] = {}
        self._num_added = 0
        self._started = time.monotonic()
        self._next_line = self._started + _LINE_SECONDS
        self._lock = threading.Lock()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *details: Any) -> None:
        pass

    def add_task(
        self,
        description: str,
        *,
        total: float | None,
        completed: int = 0,
        note: str = "",
        visible: bool = True,
    ) -> TaskID:
        with self._lock:
            self._num_added += 1
            self._tasks[self._num_added] = _Task(
                description, total, completed, note, visible, time.monotonic()
            )
            return self._num_added  # type: ignore[return-value]

    def update(
        self,
        task_id: TaskID,
        *,
        total: float | None = None,
        completed: float | None = None,
        advance: float | None = None,
        note: str | None = None,
    ) -> None:
        with self._lock:
            task = self._tasks[task_id]
            task.total = task.total if total is None else total
            task.completed = (task.completed if completed is None else completed) + (advance or 0)
            task.note = task.note if note is None else note
            self._print()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        self.update(task_id, advance=advance)

    def remove_task(self, task_id: TaskID) -> None:
        with self._lock:
            del self._tasks[task_id]

    def _print(self) -> None:
        """Print the line of the first visible task, if it is time for one."""
        now = time.monotonic()
        if self._is_shown and now >= self._next_line:
            self._next_line = max(now + _LINE_SECONDS, self._started + (now - self._started) * _LINE_RATIO)
            if task := next((task for task in self._tasks.values() if task.is_visible), None):
                print(task.line(now), file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"
