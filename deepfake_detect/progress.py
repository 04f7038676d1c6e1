"""Progress bars on standard error, so that standard output stays data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Progress
    from rich.progress import TaskID as TaskID


def progress_bar(*, enabled: bool = True) -> Progress:
    """Return a progress display: task, bar, count, time spent, time left, free text.

    Tasks may carry ``note=...``, shown at the end of the line. The display draws on standard
    error, only when that is a terminal and ``enabled`` is true.

    Example:
        >>> with progress_bar(enabled=False) as progress:
        ...     task = progress.add_task("videos", total=2, note="")
        ...     progress.advance(task)
    """
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
