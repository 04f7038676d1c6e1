"""Train several backbones with the same protocol and rank them.

    deepfake-detect compare-backbones --manifest manifest.parquet --out study --finetune features full
        --backbones small_cnn mobilenetv2_100 --weights mobilenetv2_100=weights.safetensors --epochs 3

Trains every backbone in every finetune mode, with the same training options. The val split selects the epoch,
and its video AUC ranks the rows; the test split is read only with --test. Each run has its own folder: a
stopped study resumes when started again with the same options. Writes comparison.csv, comparison.md and
comparison.png. If a network cannot be built or trained, its row gives the reason and the exit code is 2.
"""

from __future__ import annotations

import argparse
import sys

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.notes import note
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.study_options import StudyOptions

# What the study varies itself, or what makes no sense over many runs.
_NOT_OFFERED = {
    *("backbone", "finetune", "weights", "name", "version", "temporal", "clip_frames", "save_epochs"),
    *("tensorboard", "wandb", "mlflow"),
}

# The options of train that --help shows.
_SHOWN = {"manifest", "out", "epochs", "batch_size", "learning_rate", "device"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is compared, and the options of train that are the same for all."""
    add_options(parser, StudyOptions)
    group = parser.add_argument_group("options of train, the same for all")
    add_options(group, TrainingConfig, leave_out=_NOT_OFFERED, shown=_SHOWN)


def run(arguments: argparse.Namespace) -> int:
    """Compare backbones; return 2 where some failed."""
    from deepfake_detect.report.terminal import print_table
    from deepfake_detect.training.backbone_study import compare_backbones

    options = options_of(StudyOptions, arguments)
    config = options_of(TrainingConfig, arguments, backbone=options.backbones[0])
    comparison = compare_backbones(config, options, log=note)
    print_table("", *comparison.table(), caption=comparison.caption(), width=160)
    note(f"wrote {config.out / 'comparison.csv'}, comparison.md and comparison.png")
    for row in comparison.rows:
        if row.reason:
            print(f"error: {row.name}: {row.reason}", file=sys.stderr)
    return 2 if comparison.num_failed else 0
