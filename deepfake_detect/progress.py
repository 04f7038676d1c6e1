"""Progress on standard error, so that standard output stays data: rich bars, or lines without rich."""

from __future__ import annotations

import importlib.util
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from rich.progress import Progress as Progress
    from rich.progress import TaskID as TaskID

_LINE_SECONDS = 2.0


def progress_bar(*, enabled: bool = True) -> Progress:
    """Return a progress display: task, bar, count, time spent, time left, free text.

    Tasks may carry ``note=...``, shown at the end of the line. The display draws on standard
    error, only when that is a terminal and ``enabled`` is true. Where rich is not installed, it is a
    :class:`LineProgress`, which has the methods that this library calls.

    Example:
        >>> with progress_bar(enabled=False) as progress:
        ...     task = progress.add_task("videos", total=2, note="")
        ...     progress.advance(task)
    """
    if not _has_rich():
        return cast("Progress", LineProgress(enabled=enabled))
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    is_shown = enabled and console.is_terminal
    console.quiet = not is_shown  # older rich ends even an undrawn display with an empty line
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        disable=not is_shown,
        transient=True,
    )


def _has_rich() -> bool:
    try:
        return importlib.util.find_spec("rich") is not None
    except ModuleNotFoundError:  # an import hook blocks it
        return False


@dataclass
class _Task:
    description: str
    total: float | None
    note: str
    is_visible: bool
    completed: float = 0

    def line(self) -> str:
        of_total = "" if self.total is None else f" of {self.total:g}"
        return f"{self.description}: {self.completed:g}{of_total} {self.note}".rstrip()


class LineProgress:
    """The part of rich's ``Progress`` that this library uses: a line on a terminal every two seconds.

    Args:
        enabled: Whether anything is written.

    Example:
        >>> with LineProgress() as progress:
        ...     task = progress.add_task("clips", total=2, note="")
        ...     progress.update(task, advance=1)
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._is_enabled = enabled
        self._tasks: dict[int, _Task] = {}
        self._num_tasks = 0
        self._written_at = time.monotonic()

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tasks.clear()

    def add_task(
        self, description: str, *, total: float | None = None, note: str = "", visible: bool = True
    ) -> TaskID:
        """Add a task; return its number."""
        self._num_tasks += 1
        self._tasks[self._num_tasks] = _Task(description, total, note, visible)
        return cast("TaskID", self._num_tasks)

    def advance(self, task: int, advance: float = 1) -> None:
        """Add to what is done of a task."""
        self.update(task, advance=advance)

    def update(
        self,
        task: int,
        *,
        completed: float | None = None,
        advance: float = 0,
        total: float | None = None,
        note: str | None = None,
        description: str | None = None,
    ) -> None:
        """Update a task; write a line if there is a terminal and the last line is old."""
        one = self._tasks[task]
        one.completed = one.completed + advance if completed is None else completed
        one.total = one.total if total is None else total
        one.note = one.note if note is None else note
        one.description = one.description if description is None else description
        now = time.monotonic()
        is_shown = self._is_enabled and one.is_visible and sys.stderr.isatty()
        if is_shown and now - self._written_at >= _LINE_SECONDS:
            self._written_at = now
            print(one.line(), file=sys.stderr)

    def remove_task(self, task: int) -> None:
        """Remove a finished task."""
        del self._tasks[task]
