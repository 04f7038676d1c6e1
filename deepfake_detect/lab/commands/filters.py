"""Draw a network's first-layer filters, or what a layer answers to a picture.

Several networks stand side by side, such as the first and the last epoch of a run, which train and
train-classifier keep with --save-epochs:

    deepfake-detect filters --classifier RUN --epochs 0,12 --out filters.png
    deepfake-detect filters --detector RUN --epochs 0,6 --out filters.png

Filters are scaled each by its largest weight: mid gray is 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from deepfake_detect.lab.networks import NamedNetwork


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detector",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="detector files, or runs of train",
    )
    parser.add_argument(
        "--classifier", nargs="+", type=Path, default=[], metavar="PATH", help="runs of train-classifier"
    )
    parser.add_argument(
        "--epochs", metavar="N,N,...", help="epochs that each of these runs kept (default: its result)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="picture to write")
    parser.add_argument("--layer", metavar="NAME", help="draw the answers of this layer in place of filters")
    parser.add_argument("--image", type=Path, metavar="FILE", help="picture that the layer answers to")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.lab.networks import classifier_network, detector_network, epoch_files
    from deepfake_detect.report.explain import save_grids

    if not arguments.detector and not arguments.classifier:
        raise OptionError("input", "is none", "pass --detector or --classifier")
    if (arguments.layer is None) != (arguments.image is None):
        raise OptionError("--layer", "and --image go together", "pass both for answers, none for filters")
    networks = [
        read(file)
        for paths, read in (
            (arguments.detector, detector_network),
            (arguments.classifier, classifier_network),
        )
        for path in paths
        for file in ([path] if arguments.epochs is None else epoch_files(path, arguments.epochs))
    ]
    what = (
        "First-layer filters" if arguments.layer is None else f"{arguments.layer} of {arguments.image.name}"
    )
    save_grids(_grids(networks, arguments), arguments.out, title=what)
    print(f"wrote {arguments.out}: {what.lower()} of {', '.join(one.name for one in networks)}")
    return 0


def _grids(networks: list[NamedNetwork], arguments: argparse.Namespace) -> list[tuple[str, np.ndarray]]:
    from deepfake_detect.explanation.sources import first_image
    from deepfake_detect.lab.filters import (
        activation_grid,
        activations,
        filter_grid,
        first_layer_filters,
    )

    if arguments.layer is None:
        return [(one.name, filter_grid(first_layer_filters(one.model))) for one in networks]
    picture = first_image(arguments.image)
    found = []
    for one in networks:
        maps = activations(one.model, one.input_of(picture), arguments.layer)
        shape = " x ".join(map(str, maps.shape))
        found.append((f"{one.name}: {shape}", activation_grid(maps)))
    return found
