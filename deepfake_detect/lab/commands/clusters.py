"""Cluster similar faces and show them all on a zoomable map.

    deepfake-detect lab clusters --features features.h5 --out map.html

The page is self-contained and works offline. It can be colored by cluster, label, split, method or
person. With t-SNE and UMAP only proximity is meaningful, not the distance between groups.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.notes import note
from deepfake_detect.lab.options import FaceMapOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a map."""
    parser.add_argument(
        "--features",
        nargs="+",
        type=Path,
        required=True,
        metavar="FILE",
        help="files from extract-features, of the same network and layer",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="HTML", help="page to write")
    add_options(parser, FaceMapOptions)


def run(arguments: argparse.Namespace) -> int:
    """Cluster and draw the faces."""
    options = options_of(FaceMapOptions, arguments)
    from deepfake_detect.lab.face_map import map_faces

    map_faces(arguments.features, arguments.out, options, log=note)
    return 0
