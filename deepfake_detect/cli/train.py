"""Train a detector on a manifest with train and val splits.

Sanity checks run first; a manifest whose splits share videos, people or images is rejected. Then the head is
trained on a frozen backbone, followed by the parts that --finetune selects. The epoch with the best video AUC
on the validation split is kept and calibrated. A stopped run resumes if started again with the same options.
Writes detector.safetensors, history.csv, history.png, confusion.png, predictions.csv, batch.png,
config.json and log.txt into the run folder, and the detectors of --save-epochs into epochs/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.notes import note
from deepfake_detect.training.config import TrainingConfig

# The options that --help shows.
_SHOWN = {
    *("manifest", "out", "backbone", "weights", "image_size", "finetune", "epochs", "batch_size"),
    *("learning_rate", "forgery", "temporal", "device", "seed"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file with options; flags override it"
    )
    add_options(parser, TrainingConfig, shown=_SHOWN, is_from_file=True)
    parser.add_argument(
        "--find-learning-rate",
        action="store_true",
        help="do not train; raise the learning rate over 100 steps and write learning_rate.png",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train a detector, or look for a learning rate."""
    config = options_of(TrainingConfig, arguments, file=arguments.config)
    if arguments.find_learning_rate:
        from deepfake_detect.training.rate_finder import find_learning_rate

        print(find_learning_rate(config, figure=config.out / "learning_rate.png").summary())
        return 0
    from deepfake_detect.training.loop import train

    train(config, log=note)
    return 0
