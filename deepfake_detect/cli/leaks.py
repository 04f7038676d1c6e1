"""What train and evaluate share: which rows of a manifest they take, and which leaks they let pass."""

from __future__ import annotations

import argparse

from deepfake_detect.data.audit_report import LEAK_KINDS


def add_row_arguments(parser: argparse.ArgumentParser, *, where: str, allow_leak: str) -> None:
    """Add ``--where`` and ``--allow-leak``.

    Args:
        parser: Of the command.
        where: What ``--where`` gives, such as ``"condition that rows fulfil"``.
        allow_leak: What ``--allow-leak`` does, such as ``"train although the splits leak"``.
    """
    parser.add_argument("--where", metavar="EXPR", help=f"{where} (default: all rows)")
    parser.add_argument(
        "--allow-leak",
        nargs="+",
        choices=LEAK_KINDS,
        default=(),
        metavar="KIND",
        help=f"{allow_leak} by these kinds: {', '.join(LEAK_KINDS)} (default: refuse)",
    )
