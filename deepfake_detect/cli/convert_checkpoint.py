"""Convert a FaceNet of TensorFlow (.pb) or Keras (.h5) into weights for facenet.

    deepfake-detect convert-checkpoint facenet_keras.h5 --as facenet --out facenet.safetensors
    deepfake-detect train --backbone facenet --weights facenet.safetensors ...

Nothing is unpickled, and neither TensorFlow nor Keras is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "checkpoint", type=Path, metavar="FILE", help="frozen .pb graph, or Keras .h5 weights"
    )
    parser.add_argument(
        "--as", dest="network", default="facenet", choices=["facenet"], help="network that it holds (facenet)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".safetensors file to write")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect import convert_checkpoint

    done = convert_checkpoint(**vars(arguments))
    print(f"wrote {done.path}: {done.num_tensors} tensors, an embedding of {done.embedding_size} values")
    return 0
