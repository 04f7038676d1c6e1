"""Arguments of the studies that select rows of a manifest and allow leaks."""

from __future__ import annotations

import argparse

from deepfake_detect.data.audit_report import LEAK_KINDS


def add_row_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--where`` and ``--allow-leak``."""
    parser.add_argument("--where", metavar="EXPR", help="SQL condition on the rows (default: all rows)")
    parser.add_argument(
        "--allow-leak",
        nargs="+",
        choices=LEAK_KINDS,
        default=(),
        metavar="KIND",
        help=f"kinds of leak that are not an error: {', '.join(LEAK_KINDS)} (default: none)",
    )
