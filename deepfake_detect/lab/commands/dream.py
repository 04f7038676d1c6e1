r"""Deep Dream: change an image until chosen layers of a network respond to it more strongly.

    deepfake-detect lab dream --backbone vgg16 --weights imagenet \
        --layers block2_conv2=1,block5_conv1=1.5 --image photo.jpg --out dream

Writes dream.png, dream.mp4 (the intermediate images) and dream.json. If a layer is unknown, the error
lists the layers of the network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.notes import note
from deepfake_detect.io.fetch import path_or_url
from deepfake_detect.lab.options import DreamImageOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the network, the image and the options of a dream."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--backbone", metavar="NAME", help="such as vgg16; needs --weights")
    source.add_argument("--detector", type=path_or_url, metavar="FILE", help="detector.safetensors")
    parser.add_argument(
        "--weights", metavar="PATH|NAME|random", help="weights of the backbone, as for train, or random"
    )
    parser.add_argument(
        "--layers", required=True, metavar="NAME=WEIGHT,...", help="layers whose response to increase"
    )
    parser.add_argument("--image", type=Path, metavar="FILE", help="initial image (default: noise)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    add_options(parser, DreamImageOptions)


def run(arguments: argparse.Namespace) -> int:
    """Change the image."""
    options = options_of(DreamImageOptions, arguments)
    from deepfake_detect.lab.dream import dream_image, parse_layers

    names = ("backbone", "weights", "detector", "image")
    chosen = {name: getattr(arguments, name) for name in names}
    dream_image(arguments.out, parse_layers(arguments.layers), options=options, log=note, **chosen)
    return 0
