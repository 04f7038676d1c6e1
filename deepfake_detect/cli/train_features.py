"""Train classical classifiers on features, as detectors like any other.

    deepfake-detect train-features --features features.h5 --out run
    deepfake-detect evaluate --detector run/detector.safetensors --manifest manifest.parquet --out report

Each classifier is fitted on the train split with a few settings, and the AUC over val videos chooses;
without a val split, folds of whole people within train do. The best classifier becomes
detector.safetensors (network and classifier, calibrated on what chose it); grid.json tells all that
was tried.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

_ALL = ("logistic", "linear-svm", "rbf-svm", "knn", "random-forest", "gradient-boosting")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", type=Path, required=True, metavar="FILE", help="of extract-features")
    parser.add_argument(
        "--weights", metavar="PATH", help="file of the features' network, where it lies elsewhere by now"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--classifier",
        nargs="+",
        choices=_ALL,
        default=["linear-svm", "rbf-svm", "logistic"],
        metavar="NAME",
        help=f"one or more of {', '.join(_ALL)} (default linear-svm rbf-svm logistic)",
    )
    parser.add_argument("--name", help="of the detector (default: backbone and classifier)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default 0)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.features.classifiers import detector_of, fit_classifier, held_out_auc
    from deepfake_detect.features.extractor import rebuild_extractor
    from deepfake_detect.features.feature_file import FeatureFile
    from deepfake_detect.io.files import make_folder, write_json
    from deepfake_detect.models.checkpoint import save_detector

    file = FeatureFile(arguments.features)
    # Refused before the work, not after it.
    extractor = rebuild_extractor(file.info.source, path=arguments.weights)
    make_folder(arguments.out)
    fitted = []
    for name in dict.fromkeys(arguments.classifier):
        fitted.append(fit_classifier(file, name, seed=arguments.seed))
        settings = ", ".join(f"{key} {value}" for key, value in fitted[-1].settings.items())
        auc = held_out_auc(fitted[-1]).text()
        print(f"{name}: video AUC {auc} on {fitted[-1].selected_on}, {settings}")
    best = max(fitted, key=lambda one: one.auc)
    model, config = detector_of(file, best, extractor, name=arguments.name)
    target = arguments.out / "detector.safetensors"
    save_detector(target, model, config)
    tried = [
        {"classifier": one.classifier, "selected_on": one.selected_on, **asdict(point)}
        for one in fitted
        for point in one.grid
    ]
    write_json(arguments.out / "grid.json", tried)
    print(f"wrote {target} ({best.classifier}; these videos chose it, so new ones will do worse)")
    return 0
