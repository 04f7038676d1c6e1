"""Train a network to classify small images, such as MNIST's digits.

The data are MNIST's idx files, or train and test folders with a subfolder per class; all images must fit in
memory. The test images are evaluated after each epoch but do not select anything. Writes
classifier.safetensors, run.json and log.txt, and with --save-epochs the weights of those epochs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.notes import note
from deepfake_detect.lab.options import ClassifierRunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the images and the options of a run."""
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the MNIST files, or with train and test folders"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the run")
    add_options(parser, ClassifierRunConfig)


def run(arguments: argparse.Namespace) -> int:
    """Train the classifier."""
    config = options_of(ClassifierRunConfig, arguments)
    from deepfake_detect.lab.classifier import train_classifier_run

    train_classifier_run(arguments.data, arguments.out, config, log=note)
    return 0
