"""List the protocols that a manifest can serve: what to train on and what to measure on.

deepfake-detect protocols manifest.parquet
deepfake-detect train ... --where "label = 0 or method != 'FaceSwap'"
deepfake-detect evaluate ... --protocol leave-out/FaceSwap
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", type=Path, help="manifest.parquet of an extraction")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.data.manifest import read_manifest
    from deepfake_detect.evaluation.protocols import protocols_of

    for protocol in protocols_of(read_manifest(arguments.manifest)):
        print(protocol.name)
        print(f"    train     --where {shlex.quote(protocol.train)}")
        print(f"    measured  {protocol.test}")
    return 0
