"""Comparison of a generator's samples with real images, in the features of a trained network."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from deepfake_detect.errors import CheckpointError
from deepfake_detect.lab.gan.distances import KernelDistance, frechet_distance, kernel_distance
from deepfake_detect.lab.networks import TrainedNetwork, read_classifier_network, read_detector_network
from deepfake_detect.progress import progress_bar

CONFIDENT = 0.9  # confidence from which a sample counts as recognized
_BATCH_SIZE = 250


@dataclass(frozen=True)
class GeneratorQuality:
    """Figures of a generator's samples compared with real images.

    Attributes:
        num_samples: Samples compared, with as many real images, or all there are.
        frechet: FID in the network's features; figures of two networks cannot be compared.
        frechet_of_reals: FID between two sets of as many real images: the lowest value one can expect.
            ``None`` if there are too few.
        kernel: KID in the same features, mean and standard deviation over subsets.
        fraction_confident: Fraction of samples classified with a confidence of ``CONFIDENT`` or more;
            ``None`` for a network without classes.
        fraction_confident_of_reals: The same for real images.
        confident_by_class: Number of samples classified that confidently, by class.
    """

    num_samples: int
    frechet: float
    frechet_of_reals: float | None
    kernel: KernelDistance
    fraction_confident: float | None
    fraction_confident_of_reals: float | None
    confident_by_class: dict[str, int]

    @property
    def classes_missing(self) -> list[str]:
        """Classes without a confidently classified sample."""
        return [name for name, count in self.confident_by_class.items() if not count]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for ``report.json``, whose keys stay the same between versions."""
        return {
            "num_samples": self.num_samples,
            "fid": self.frechet,
            "fid_of_reals": self.frechet_of_reals,
            "kid": self.kernel.mean,
            "kid_deviation": self.kernel.deviation,
            "share_sure": self.fraction_confident,
            "share_sure_of_reals": self.fraction_confident_of_reals,
            "confidence": CONFIDENT,
            "sure_by_class": self.confident_by_class,
            "classes_missing": self.classes_missing,
        }


def read_reference(path: Path, *, image_size: int) -> TrainedNetwork:
    """Read the network that evaluates samples: a ``train-classifier`` run, or a detector for its features.

    Args:
        path: Folder of the run, or detector file.
        image_size: Side of the samples; a classifier must have been trained on such images.

    Raises:
        CheckpointError: It is missing or damaged, scores sequences, or was trained on another size.
    """
    if not path.is_file():
        return read_classifier_network(path, image_size=image_size)
    network = read_detector_network(path)
    if network.model.spec.sequence is not None:
        raise CheckpointError(path, "scores sequences, not images", "pass a detector of single crops")
    return network


def measure_generator(
    network: TrainedNetwork,
    samples: np.ndarray,
    reals: np.ndarray,
    *,
    device: torch.device,
    seed: int = 0,
    show_progress: bool = True,
) -> GeneratorQuality:
    """Compare samples with real images in the features and classes of a network.

    Args:
        network: The trained network.
        samples: uint8 (N, S, S, C), two or more, not hand-picked.
        reals: uint8 (M, S, S, C), two or more, preferably not those the generator was trained on.
        device: Where the network runs.
        seed: Of the choice of reals, and of the subsets of the kernel distance.
        show_progress: Whether to show a progress bar.
    """
    order = np.random.default_rng(seed).permutation(len(reals))
    compared, others = np.split(reals[order[: 2 * len(samples)]], [len(samples)])
    made, real = (_view(network, images, device, show_progress) for images in (samples, compared))
    frechet_of_reals = None
    if len(others) == len(compared):
        view = _view(network, others, device, show_progress)
        frechet_of_reals = frechet_distance(real.features, view.features)
    is_confident = made.confidences >= CONFIDENT
    counts = Counter(made.classes[is_confident].tolist())
    has_classes = bool(network.class_names)
    return GeneratorQuality(
        num_samples=len(samples),
        frechet=frechet_distance(made.features, real.features),
        frechet_of_reals=frechet_of_reals,
        kernel=kernel_distance(made.features, real.features, seed=seed),
        fraction_confident=float(is_confident.mean()) if has_classes else None,
        fraction_confident_of_reals=float((real.confidences >= CONFIDENT).mean()) if has_classes else None,
        confident_by_class={name: counts[number] for number, name in enumerate(network.class_names)},
    )


class _View(NamedTuple):
    features: np.ndarray  # (N, F)
    confidences: np.ndarray  # (N,), the highest class probability
    classes: np.ndarray  # (N,), its class


@torch.inference_mode()
def _view(network: TrainedNetwork, images: np.ndarray, device: torch.device, show_progress: bool) -> _View:
    """Return the network's view of images uint8 (N, S, S, 1 or 3)."""
    model = network.model.to(device).eval()
    batches: list[tuple[np.ndarray, ...]] = []
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("evaluating", total=len(images), note="")
        for first in range(0, len(images), _BATCH_SIZE):
            inputs = torch.stack([network.input_of(one) for one in images[first : first + _BATCH_SIZE]])
            features = model.features(inputs.to(device)).flatten(1)
            confidences, classes = nn.functional.softmax(model.head(features), dim=1).max(1)
            batches.append(tuple(values.cpu().numpy() for values in (features, confidences, classes)))
            progress.advance(task, len(inputs))
    return _View(*(np.concatenate(values) for values in zip(*batches, strict=True)))
