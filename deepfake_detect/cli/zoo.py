"""List, show, fetch and verify published detectors.

    deepfake-detect zoo list
    deepfake-detect zoo show gend-clip-l
    deepfake-detect zoo fetch gend-clip-l --accept-license
    deepfake-detect score-video clip.mp4 --detector zoo:gend-clip-l

The weights are the authors', under their license, which show prints. A fetched file is checked by its
hash, converted without unpickling anything but tensors, and kept in the cache folder. A published detector
gives a score and no verdict until calibrate has seen your validation videos.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=["list", "show", "fetch", "verify"], help="what to do")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="of a detector; for list: a part")
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
        help="fetch: a local copy instead of a download; once for each of the detector's files",
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
