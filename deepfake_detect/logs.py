"""The library's log: logger ``deepfake_detect``, silent until :func:`show_log` or a handler of the caller's.

Rooms log with ``logging.getLogger(__name__)``: INFO is what a run did, once per clip, file or epoch; DEBUG
is why. Problems are warnings or exceptions, not log entries.
"""

from __future__ import annotations

import logging
import sys

_ROOT = logging.getLogger("deepfake_detect")


class _StderrHandler(logging.Handler):
    """Prints to what standard error is now: while a bar is drawn, lines belong above it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def show_log(level: int) -> None:
    """Print the log on standard error from a level on; ``logging.WARNING`` ends it.

    Args:
        level: ``logging.INFO`` or ``logging.DEBUG``.

    Example:
        >>> show_log(logging.WARNING)
        >>> shown_level()
        30
    """
    for handler in [one for one in _ROOT.handlers if isinstance(one, _StderrHandler)]:
        _ROOT.removeHandler(handler)
    _ROOT.setLevel(logging.NOTSET if level >= logging.WARNING else level)
    if level < logging.WARNING:
        handler = _StderrHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
        _ROOT.addHandler(handler)


def shown_level() -> int:
    """Return the level that :func:`show_log` was given, for processes that are to show the same."""
    is_shown = any(isinstance(one, _StderrHandler) for one in _ROOT.handlers)
    return _ROOT.level if is_shown else logging.WARNING
