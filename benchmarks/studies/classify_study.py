"""A study of small images: ``train_classifier`` with several variants and seeds, a table and a figure."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.studies.grid import History, Variant, over_seeds, run_grid, write_table
from benchmarks.studies.images import add_image_arguments, images_sha256, read_images
from deepfake_detect.errors import DeepfakeDetectError
from deepfake_detect.io.files import write_json
from deepfake_detect.lab.classifier import measure_classifier, train_classifier
from deepfake_detect.lab.labeled_images import LabeledImages
from deepfake_detect.lab.options import ClassifierConfig
from deepfake_detect.lab.study_figures import MeanCurve, save_curves_figure
from deepfake_detect.models.classifier import create_model

_PANELS = {
    "Cross-entropy (nats)": ("fitted_loss", "test_loss"),
    "Accuracy": ("fitted_accuracy", "test_accuracy"),
}


def classify_study(name: str, description: str, variants: Sequence[Variant]) -> int:
    """Run a study with the options of the command line; return the exit code.

    Writes ``table.csv``, ``figure.png`` and ``study.json`` into the folder ``--out``, and the history of
    each run into its subfolder ``runs``. ``fitted`` values are those of the training images after the
    epoch, without dropout and augmentation, so that they are comparable with those of the test images.

    Args:
        name: Of the study.
        description: For ``--help``.
        variants: Variants to compare.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    add_image_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each variant (default 3)")
    parser.add_argument("--epochs", type=int, default=12, help="(default 12)")
    parser.add_argument("--batch-size", type=int, default=128, help="unless it is studied (default 128)")
    parser.add_argument(
        "--batch-norm",
        action="store_true",
        help="after each convolution, unless it is studied (default: none)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    arguments = parser.parse_args()
    try:
        _run(name, variants, arguments)
    except DeepfakeDetectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(name: str, variants: Sequence[Variant], arguments: argparse.Namespace) -> None:
    config = ClassifierConfig(
        epochs=arguments.epochs, batch_size=arguments.batch_size, device=arguments.device
    )
    data, images = read_images(arguments)
    facts = {
        "study": name,
        "data": data,
        "num_train": len(images.train_labels),
        "num_test": len(images.test_labels),
        "image_size": images.train_images.shape[1],
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "batch_norm": arguments.batch_norm,
        "images_sha256": images_sha256(images),
    }

    def measure(variant: Variant, seed: int, _: Path) -> History:
        options = {**asdict(config), **variant.training, "seed": seed}
        own = {"batch_norm": arguments.batch_norm, **variant.network.get("backbone_options", {})}
        chosen = replace(variant, network={**variant.network, "backbone_options": own})
        return train_once(images, chosen, ClassifierConfig(**options))

    found = run_grid(arguments.out, variants, arguments.seeds, measure, facts=facts)
    write_table(arguments.out / "table.csv", found, by="epoch")
    title = f"{name} on {data}: {facts['num_train']:,} training images, {arguments.seeds} seeds"
    save_curves_figure(_panels(found), arguments.out / "figure.png", title=title, x_label="epoch")
    write_json(arguments.out / "study.json", {**facts, "num_seeds": arguments.seeds})
    for variant, histories in found.items():
        mean, low, high = (ends[-1] for ends in over_seeds(histories, "test_accuracy"))
        print(f"{variant}: test accuracy {mean:.4f} [{low:.4f}, {high:.4f}] after {config.epochs} epochs")
    print(f"wrote {arguments.out / 'table.csv'} and figure.png")


def train_once(images: LabeledImages, variant: Variant, config: ClassifierConfig) -> History:
    """Train the small CNN with the options of a variant.

    Returns:
        One record per epoch: ``epoch``, losses in nats and accuracies (0 to 1) of the training batches
        (``train``), of the training images after the epoch (``fitted``) and of the test images.
    """
    torch.manual_seed(config.seed)
    _, size, _, channels = images.train_images.shape
    model = create_model(
        "small_cnn",
        num_classes=len(images.class_names),
        in_chans=channels,
        image_size=size,
        **variant.network,
    )
    fitted: list[tuple[float, float]] = []

    def measure_fit(epoch: int, network: nn.Module) -> None:
        if epoch:
            device = next(network.parameters()).device
            pixels = torch.from_numpy(np.ascontiguousarray(images.train_images.transpose(0, 3, 1, 2)))
            labels = torch.from_numpy(images.train_labels).to(device)
            fitted.append(measure_classifier(network, pixels.to(device), labels))

    records = train_classifier(model, images, config, after_epoch=measure_fit, show_progress=False)
    return [
        {**asdict(record), "fitted_loss": loss, "fitted_accuracy": accuracy}
        for record, (loss, accuracy) in zip(records, fitted, strict=True)
    ]


def _panels(found: dict[str, list[History]]) -> dict[str, list[MeanCurve]]:
    panels: dict[str, list[MeanCurve]] = {}
    for title, (fitted, test) in _PANELS.items():
        panels[title] = [
            MeanCurve(
                name,
                np.array([line["epoch"] for line in histories[0]]),
                *over_seeds(histories, key),
                is_dashed=key == fitted,
            )
            for name, histories in found.items()
            for key in (fitted, test)
        ]
    return panels
