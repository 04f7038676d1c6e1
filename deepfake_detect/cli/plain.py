"""Progress in lines of text, where rich is not installed."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from rich.progress import TaskID

_EVERY_SECONDS = 2.0


@dataclass
class _Task:
    description: str
    total: float | None
    note: str
    is_shown: bool
    completed: float = 0

    def line(self) -> str:
        of_total = "" if self.total is None else f" of {self.total:g}"
        return f"{self.description}: {self.completed:g}{of_total} {self.note}".rstrip()


class LineProgress:
    """The part of rich's ``Progress`` that scoring uses: a line on a terminal every two seconds.

    Example:
        >>> with LineProgress() as progress:
        ...     task = progress.add_task("clips", total=2, note="")
        ...     progress.update(task, advance=1)
    """

    def __init__(self) -> None:
        self._tasks: dict[int, _Task] = {}
        self._num_tasks = 0
        self._told_at = time.monotonic()

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.clear()

    def add_task(
        self, description: str, *, total: float | None = None, note: str = "", visible: bool = True
    ) -> TaskID:
        """Take on a task; return its number."""
        self._num_tasks += 1
        self._tasks[self._num_tasks] = _Task(description, total, note, visible)
        return cast("TaskID", self._num_tasks)

    def update(
        self,
        task: int,
        *,
        completed: float | None = None,
        advance: float = 0,
        total: float | None = None,
        note: str | None = None,
    ) -> None:
        """Say how far a task is; a line is written where there is a terminal and the last one is old."""
        one = self._tasks[task]
        one.completed = one.completed + advance if completed is None else completed
        one.total = one.total if total is None else total
        one.note = one.note if note is None else note
        now = time.monotonic()
        if one.is_shown and sys.stderr.isatty() and now - self._told_at >= _EVERY_SECONDS:
            self._told_at = now
            print(one.line(), file=sys.stderr)

    def remove_task(self, task: int) -> None:
        """Forget a task that is done."""
        del self._tasks[task]
