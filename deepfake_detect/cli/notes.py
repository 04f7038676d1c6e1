"""Lines that report what a command did; ``--quiet`` omits them."""

from __future__ import annotations

import sys

from deepfake_detect.progress import is_quiet


def note(text: object) -> None:
    """Print a line on standard output."""
    if not is_quiet():
        print(text, flush=True)


def note_aside(text: object) -> None:
    """Print a line on standard error, where standard output is data."""
    if not is_quiet():
        print(text, file=sys.stderr, flush=True)
