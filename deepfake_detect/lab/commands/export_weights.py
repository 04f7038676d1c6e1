"""Write the weights of a detector, or of any safetensors file, as HDF5.

Tensor a.b becomes the dataset /weights/a.b; the file's metadata are stored as text under /metadata.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.notes import note
from deepfake_detect.plurals import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two files."""
    parser.add_argument("weights", type=Path, metavar="FILE", help="detector.safetensors, or bare weights")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="HDF5 file to write")


def run(arguments: argparse.Namespace) -> int:
    """Convert the weights."""
    from deepfake_detect.models.hdf5_weights import export_weights_h5

    num_tensors = export_weights_h5(arguments.weights, arguments.out)
    note(f"wrote {counted(num_tensors, 'tensor')} to {arguments.out}")
    return 0
