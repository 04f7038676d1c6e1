"""Train a GAN and write its samples as a labeled fake set for detectors.

Run the same command again to resume a stopped run, or with more --epochs to continue a finished one.
Writes generator.safetensors, history.csv, curves.png, samples/, samples.mp4, fakes/ with a manifest
(label 1 is fake), report.json, config.json and log.txt into the folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.notes import note
from deepfake_detect.lab.gan.config import MNIST_VARIABLE, FakeSetOptions, GanConfig

# The options that --help shows.
_SHOWN = {
    "arch",
    "image_size",
    "loss",
    "epochs",
    "steps",
    "batch_size",
    "device",
    "num_samples",
    "with_reals",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the images, the options of a run and those of its fake set."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="mnist|DIR",
        help=(
            "mnist, a folder with the MNIST files, a folder of PNG and JPEG images, or a "
            "manifest (its real crops)"
        ),
    )
    parser.add_argument(
        "--mnist-root",
        type=Path,
        help=f"folder with the MNIST files (default: the environment variable {MNIST_VARIABLE})",
    )
    parser.add_argument("--where", metavar="EXPR", help="rows of a manifest (default: its split train)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the run")
    parser.add_argument(
        "--classifier",
        type=Path,
        metavar="DIR|FILE",
        help=(
            "run of train-classifier, or a detector, whose features and classes are used to "
            "evaluate the samples"
        ),
    )
    add_options(parser, GanConfig, shown=_SHOWN)
    add_options(parser, FakeSetOptions, shown=_SHOWN)


def run(arguments: argparse.Namespace) -> int:
    """Train the GAN."""
    config, fakes = options_of(GanConfig, arguments), options_of(FakeSetOptions, arguments)
    from deepfake_detect.lab.gan.run import train_gan_run

    names = ("mnist_root", "where", "classifier")
    chosen = {name: getattr(arguments, name) for name in names}
    train_gan_run(arguments.data, arguments.out, config, fakes=fakes, log=note, **chosen)
    return 0
