"""Train classical classifiers on features and write the best one as a detector.

    deepfake-detect train-features --features features.h5 --out run
    deepfake-detect evaluate --detector run/detector.safetensors --manifest manifest.parquet --out report

Each classifier is fitted on the train split with a few settings and selected by its AUC over val videos; if
there is no val split, by cross-validation over people in train. The best classifier becomes
detector.safetensors (network and classifier, calibrated on the videos that selected it); grid.json lists all
settings that were tried.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.features.options import ClassifierOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", type=Path, required=True, metavar="FILE", help="feature file")
    parser.add_argument(
        "--weights", metavar="PATH", help="file of the network that computed the features, if it was moved"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add_options(parser, ClassifierOptions)


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect import train_features
    from deepfake_detect.features.classifiers import held_out_auc

    trained = train_features(**keywords_of(arguments, ClassifierOptions))
    for one in trained.fitted:
        settings = ", ".join(f"{key} {value}" for key, value in one.settings.items())
        print(f"{one.classifier}: video AUC {held_out_auc(one).text()} on {one.selected_on}, {settings}")
    chosen = f"{trained.best.classifier}; these videos chose it, so it will do worse on new ones"
    note(f"wrote {trained.detector_path} ({chosen})")
    return 0
