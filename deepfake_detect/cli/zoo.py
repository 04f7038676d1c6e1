"""List, show, download and verify published detectors.

    deepfake-detect zoo list
    deepfake-detect zoo show gend-clip-l
    deepfake-detect zoo fetch gend-clip-l --accept-license
    deepfake-detect score-video clip.mp4 --detector zoo:gend-clip-l

The weights belong to their authors, whose license `show` prints. A downloaded file is checked by its hash,
converted (only tensors are unpickled), and stored in the cache folder. A published detector gives a score but
no verdict until you run calibrate on your validation videos.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=["list", "show", "fetch", "verify"], help="action")
    parser.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="name of a detector; for list, part of a name"
    )
    parser.add_argument("--json", action="store_true", help="list and show: print JSON")
    parser.add_argument(
        "--accept-license", action="store_true", help="fetch: accept the license of the weights"
    )
    parser.add_argument(
        "--file",
        dest="files",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help=("fetch: use a local copy instead of downloading; repeat for each of the detector's files"),
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.report import zoo as words

    if arguments.action == "list":
        words.print_entries(arguments.name, as_json=arguments.json)
    elif arguments.action == "show":
        words.print_entry(arguments.name, as_json=arguments.json)
    elif arguments.action == "fetch":
        words.print_fetched(arguments.name, accept_license=arguments.accept_license, files=arguments.files)
    else:
        words.print_check(arguments.name)
    return 0
