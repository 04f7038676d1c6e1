"""What a network that has learned real pictures says of a generator's samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from deepfake_detect.data.transforms import resize_square
from deepfake_detect.errors import CheckpointError
from deepfake_detect.io.files import read_json
from deepfake_detect.lab.gan.distances import KernelDistance, frechet_distance, kernel_distance
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import Preprocessing

SURE = 0.9  # confidence from which a sample counts as recognized
_AT_ONCE = 250
_CLASSIFIER, _RUN = "classifier.safetensors", "run.json"
# Classifiers of small images are trained on plain [0, 1], whatever their backbone was published with.
_PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True, eq=False)
class Judge:
    """A trained network that names classes, or at least has features of the last layer but one.

    Attributes:
        model: In evaluation mode.
        preprocessing: Of its input.
        class_names: What it names; empty where it is a detector, whose features alone are of use.
        name: For reports: what it is and how good.
    """

    model: ForgeryClassifier
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class GeneratorQuality:
    """How a generator's samples compare with real pictures.

    Attributes:
        num_samples: Samples looked at; as many real pictures stood beside them, or all there were.
        frechet: FID in the judge's features; figures in those of two networks do not compare.
        frechet_of_reals: The same between two parts of the real pictures of as many: the least that
            can be hoped for. ``None`` where there are too few.
        kernel: KID in them, mean and deviation over subsets.
        share_sure: Share of samples named with a confidence of ``SURE`` or more; ``None`` without a
            judge that names classes.
        share_sure_of_reals: The same of real pictures.
        sure_by_class: How many samples were named so, by class.
    """

    num_samples: int
    frechet: float
    frechet_of_reals: float | None
    kernel: KernelDistance
    share_sure: float | None
    share_sure_of_reals: float | None
    sure_by_class: dict[str, int]

    @property
    def classes_missing(self) -> list[str]:
        """Classes that no sample was surely named as."""
        return [name for name, count in self.sure_by_class.items() if not count]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a report."""
        return {
            "num_samples": self.num_samples,
            "fid": self.frechet,
            "fid_of_reals": self.frechet_of_reals,
            "kid": self.kernel.mean,
            "kid_deviation": self.kernel.deviation,
            "share_sure": self.share_sure,
            "share_sure_of_reals": self.share_sure_of_reals,
            "confidence": SURE,
            "sure_by_class": self.sure_by_class,
            "classes_missing": self.classes_missing,
        }


def read_judge(path: Path, *, image_size: int) -> Judge:
    """Read a judge: the folder of a ``train-classifier`` run, or a detector file for its features.

    Args:
        path: Folder or file.
        image_size: Side of the pictures to be judged; a classifier must have learned from such.

    Raises:
        CheckpointError: Neither is there, it is damaged, or learned from pictures of another size.
    """
    if path.is_file():
        model, config = read_detector(path)
        if config.model.sequence is not None:
            raise CheckpointError(path, "judges sequences, not pictures", "pass a detector of single crops")
        name = f"detector {config.name} {config.version} ({config.model.backbone})"
        return Judge(model, config.model.preprocessing, (), name)
    if not (path / _CLASSIFIER).is_file() or not (path / _RUN).is_file():
        cause = f"holds no {_CLASSIFIER} with its {_RUN}"
        raise CheckpointError(path, cause, "pass the folder of a train-classifier run, or a detector file")
    facts = read_json(path / _RUN)
    try:
        tensors = load_file(path / _CLASSIFIER)
        in_chans = next(tensor.shape[1] for tensor in tensors.values() if tensor.ndim == 4)
        names = tuple(facts["class_names"])
        model = create_model(
            facts["backbone"], num_classes=len(names), in_chans=in_chans, image_size=image_size
        )
        model.load_state_dict(tensors)
        accuracy = facts["history"][-1]["test_accuracy"]
    except (SafetensorError, StopIteration, LookupError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        cause = f"is no classifier of pictures of {image_size} pixels ({reason})"
        raise CheckpointError(path, cause, "train one on such pictures with train-classifier") from error
    name = f"own classifier {facts['backbone']}, test accuracy {accuracy:.4f}"
    return Judge(model.eval(), Preprocessing(image_size, *_PLAIN), names, name)


def measure_generator(
    judge: Judge,
    samples: np.ndarray,
    reals: np.ndarray,
    *,
    device: torch.device,
    seed: int = 0,
    show_progress: bool = True,
) -> GeneratorQuality:
    """Compare samples with real pictures in the eyes of a judge.

    Args:
        judge: Whose eyes.
        samples: uint8 (N, S, S, C), two or more, made without choosing among them.
        reals: uint8 (M, S, S, C), two or more, best not those that the generator learned from.
        device: Where the judge shall run.
        seed: Of the choice of reals, and of the subsets of the kernel distance.
        show_progress: Whether to draw a progress bar.
    """
    order = np.random.default_rng(seed).permutation(len(reals))
    beside, others = np.split(reals[order[: 2 * len(samples)]], [len(samples)])
    views = [
        _look(judge, images, device, show_progress=show_progress) if len(images) else None
        for images in (samples, beside, others)
    ]
    (made, confidence, classes), (real, real_confidence, _) = views[0], views[1]  # type: ignore[misc]
    is_sure = confidence >= SURE
    counts = Counter(classes[is_sure].tolist())
    has_names = bool(judge.class_names)
    return GeneratorQuality(
        num_samples=len(samples),
        frechet=frechet_distance(made, real),
        frechet_of_reals=_frechet_of_reals(real, views[2]),
        kernel=kernel_distance(made, real, seed=seed),
        share_sure=float(is_sure.mean()) if has_names else None,
        share_sure_of_reals=float((real_confidence >= SURE).mean()) if has_names else None,
        sure_by_class={name: counts[number] for number, name in enumerate(judge.class_names)},
    )


_View = tuple[np.ndarray, np.ndarray, np.ndarray]


def _frechet_of_reals(real: np.ndarray, others: _View | None) -> float | None:
    """Return the distance of two parts of the reals where they are as many."""
    if others is None or len(others[0]) < len(real):
        return None
    return frechet_distance(real, others[0])


@torch.inference_mode()
def _look(judge: Judge, images: np.ndarray, device: torch.device, *, show_progress: bool) -> _View:
    """Return features (N, F), highest class probability (N,) and its class (N,)."""
    model = judge.model.to(device).eval()
    kept: list[_View] = []
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("judging", total=len(images), note="")
        for first in range(0, len(images), _AT_ONCE):
            batch = _as_input(judge, images[first : first + _AT_ONCE]).to(device)
            found = model.features(batch).flatten(1)
            highest, named = nn.functional.softmax(model.head(found), dim=1).max(1)
            kept.append((found.cpu().numpy(), highest.cpu().numpy(), named.cpu().numpy()))
            progress.advance(task, len(batch))
    features, confidences, classes = (np.concatenate(values) for values in zip(*kept, strict=True))
    return features, confidences, classes


def _as_input(judge: Judge, images: np.ndarray) -> torch.Tensor:
    """Turn images uint8 (N, S, S, 1 or 3) into a batch with the judge's channels, size and scale."""
    wanted = judge.model.spec.in_chans
    if images.shape[3] == 1 and wanted == 3:
        images = np.repeat(images, 3, axis=3)
    elif images.shape[3] == 3 and wanted == 1:
        images = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] for image in images])
    size = judge.preprocessing.image_size
    if images.shape[1] != size:
        images = np.stack([resize_square(image, size).reshape(size, size, wanted) for image in images])
    mean, std = (
        np.asarray(values[:wanted], np.float32)
        for values in (judge.preprocessing.mean, judge.preprocessing.std)
    )
    scaled = (images.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))
