r"""Measure how well a network's features verify that two images show the same person, as on LFW.

    deepfake-detect lab verify-pairs --pairs pairs.txt --images lfw --backbone facenet \
        --weights facenet.safetensors

--pairs is a file like LFW's pairs.txt; --images is a folder or tar with NAME/NAME_0001.jpg. Prints the AUC of
the cosines and the accuracy of each fold at the threshold that is best on the others. Pairs with an image in
which no face is found are skipped and counted.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.notes import note
from deepfake_detect.features.options import FeatureSource
from deepfake_detect.lab.options import VerificationOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the pairs, the images, the network and how faces are cut."""
    parser.add_argument(
        "--pairs", type=Path, required=True, metavar="TXT", help="pairs in folds, like LFW's pairs.txt"
    )
    parser.add_argument(
        "--images", type=Path, required=True, metavar="PATH", help="folder or tar with NAME/NAME_0001.jpg"
    )
    add_options(parser, FeatureSource, leave_out={"is_spatial"})
    add_options(parser, VerificationOptions)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compare the pairs."""
    options = options_of(VerificationOptions, arguments)
    from deepfake_detect.io.files import write_json
    from deepfake_detect.lab.verification import verify_pairs

    names = ("backbone", "weights", "detector", "layer")
    chosen: dict[str, Any] = {name: vars(arguments).get(name) for name in names}
    found = verify_pairs(arguments.pairs, arguments.images, options, **chosen)
    print(found.text())
    if arguments.json is not None:
        write_json(arguments.json, found.to_dict())
        note(f"wrote {arguments.json}")
    return 0
