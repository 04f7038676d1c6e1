"""What a worker sends about its task, and how the code of a task reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias


class TaskCancelledError(Exception):
    """Raised by :func:`report` inside a task that was cancelled."""


@dataclass(frozen=True)
class Ready:
    """The worker is made and waits for a task."""


@dataclass(frozen=True)
class Note:
    """Progress of the current task, as passed to :func:`report`."""

    value: Any


@dataclass(frozen=True)
class Done:
    """The current task ended.

    Attributes:
        result: What the worker returned.
    """

    result: Any


@dataclass(frozen=True)
class Crashed:
    """The worker's process is gone.

    Attributes:
        cause: How it ended, in one line.
    """

    cause: str


Message: TypeAlias = Ready | Note | Done | Crashed

_reporter: Callable[[Any], None] | None = None


def report(value: Any) -> None:
    """Report progress of the current task to the process that runs :func:`map_tasks`; does nothing on Ray.

    Args:
        value: Picklable; passed on to ``on_progress`` of :func:`map_tasks`.

    Raises:
        TaskCancelledError: The task was cancelled.
    """
    if _reporter is not None:
        _reporter(value)


def set_reporter(reporter: Callable[[Any], None] | None) -> None:
    """Set what :func:`report` calls in this process."""
    global _reporter
    _reporter = reporter
