"""List the evaluation protocols that a manifest supports: which rows to train and to evaluate on.

deepfake-detect protocols manifest.parquet
deepfake-detect train ... --where "label = 0 or method != 'FaceSwap'"
deepfake-detect evaluate ... --protocol leave-out/FaceSwap
"""

from __future__ import annotations

import argparse
import shlex

from deepfake_detect.io.fetch import path_or_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "manifest",
        type=path_or_url,
        metavar="MANIFEST",
        help="manifest.parquet of an extraction: a path or URL",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.evaluation.protocols import list_protocols

    for protocol in list_protocols(arguments.manifest):
        print(protocol.name)
        print(f"    train     --where {shlex.quote(protocol.train)}")
        print(f"    evaluate  {protocol.test}")
    return 0
