"""Convert a checkpoint of another library into a detector, or a FaceNet of TensorFlow into weights.

    deepfake-detect convert-checkpoint best.pth --as resnet50 --out detector.safetensors
        --fake-class 1 --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225
    deepfake-detect convert-checkpoint facenet_keras.h5 --out facenet.safetensors
    deepfake-detect train --backbone facenet --weights facenet.safetensors ...

Nothing is unpickled, and neither TensorFlow nor Keras is needed. If the file does not contain something that
scoring needs, the error names the option to set. The detector is not calibrated: it gives scores but no
verdict until you run `calibrate` on validation videos.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.models.options import ConversionOptions

_MOST_NAMES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "checkpoint", type=Path, metavar="FILE", help=".pth, .pt, .bin, .ckpt, .safetensors, .h5 or .pb"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".safetensors file to write")
    add_options(parser, ConversionOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect import convert_checkpoint

    done = convert_checkpoint(**keywords_of(arguments, ConversionOptions))
    if done.is_detector:
        print(f"wrote {done.path}: {done.network}, {done.num_tensors} tensors; not calibrated yet")
    else:
        print(f"wrote {done.path}: {done.num_tensors} tensors, an embedding of {done.embedding_size} values")
    for words, names in (("assumed", done.assumed), ("dropped", done.dropped)):
        if names:
            print(f"{words}: {_listed(names)}")
    return 0


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
