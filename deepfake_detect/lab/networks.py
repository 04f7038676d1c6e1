"""Trained networks to look into: detector files, and runs of ``train`` or ``train-classifier``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from deepfake_detect.data.transforms import crop_to_tensor, resize_square
from deepfake_detect.errors import CheckpointError
from deepfake_detect.io.files import read_json
from deepfake_detect.lab.classifier import CLASSIFIER_NAME, RUN_NAME
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.records import Preprocessing
from deepfake_detect.training.kept_epochs import epoch_file

_DETECTOR_NAME = "detector.safetensors"
# Classifiers of small images are trained on plain [0, 1], whatever their backbone was published with.
_PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network with the preprocessing of its input.

    Attributes:
        name: For captions.
        description: For reports: kind, backbone and version or accuracy.
        model: In evaluation mode, on the CPU.
        preprocessing: Of its input.
        class_names: Classes of its outputs; empty for a detector.
    """

    name: str
    description: str
    model: ForgeryClassifier
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = ()

    def input_of(self, image: np.ndarray) -> torch.Tensor:
        """Return a uint8 image (H, W, 1 or 3) as the network's input, float32 (C, S, S)."""
        is_gray = image.shape[2] == 1
        if self.model.spec.in_chans == 3:
            return crop_to_tensor(np.repeat(image, 3, axis=2) if is_gray else image, self.preprocessing)
        gray = image[..., 0] if is_gray else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        scaled = resize_square(gray, self.preprocessing.image_size).astype(np.float32)[None] / 255
        mean, std = self.preprocessing.mean[0], self.preprocessing.std[0]
        return torch.from_numpy((scaled - np.float32(mean)) / np.float32(std))


def read_detector_network(path: Path) -> TrainedNetwork:
    """Read a detector file, or the detector in a run's folder.

    Raises:
        CheckpointError: It is missing, damaged, or of another library.
    """
    model, config = read_detector(path / _DETECTOR_NAME if path.is_dir() else path)
    description = f"detector {config.name} {config.version} ({config.model.backbone})"
    return TrainedNetwork(_caption(path), description, model, config.model.preprocessing)


def read_classifier_network(path: Path, *, image_size: int | None = None) -> TrainedNetwork:
    """Read the network of a ``train-classifier`` run.

    Args:
        path: Folder of the run, or a file of its weights in that folder or in ``epochs`` below it.
        image_size: Side of its input in pixels; that of its training images when ``None``.

    Raises:
        CheckpointError: There is none, it is damaged, or it does not match the run or ``image_size``.
    """
    file = path / CLASSIFIER_NAME if path.is_dir() else path
    folder = next((one for one in (file.parent, file.parent.parent) if (one / RUN_NAME).is_file()), None)
    if folder is None or not file.is_file():
        cause = f"there is no {CLASSIFIER_NAME} with a {RUN_NAME} in its run's folder"
        raise CheckpointError(path, cause, "pass the folder of a train-classifier run")
    facts = read_json(folder / RUN_NAME)
    try:
        tensors = load_file(file)
        in_chans = next(tensor.shape[1] for tensor in tensors.values() if tensor.ndim == 4)
        class_names = tuple(facts["class_names"])
        model = create_model(
            facts["backbone"],
            num_classes=len(class_names),
            in_chans=in_chans,
            image_size=image_size or facts.get("image_size"),
        )
        model.load_state_dict(tensors)
        accuracy = facts["history"][-1]["test_accuracy"] if facts.get("history") else None
    except (SafetensorError, StopIteration, LookupError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        size = f" for images of {image_size} pixels" if image_size else ""
        remedy = "train one on images of that size" if image_size else "train it again"
        raise CheckpointError(file, f"is not the run's network{size} ({reason})", remedy) from error
    description = f"own classifier {facts['backbone']}"
    if accuracy is not None:
        description += f", test accuracy {accuracy:.4f}"
    preprocessing = Preprocessing(model.spec.preprocessing.image_size, *_PLAIN)
    return TrainedNetwork(_caption(path), description, model.eval(), preprocessing, class_names)


def epoch_files(run: Path, epochs: Sequence[int]) -> list[Path]:
    """Return the files of kept epochs of a run of ``train`` or ``train-classifier``, in ascending order.

    Raises:
        CheckpointError: An epoch was not kept.
    """
    files = [epoch_file(run, number) for number in sorted(set(epochs))]
    for number, file in zip(sorted(set(epochs)), files, strict=True):
        if not file.is_file():
            kept = sorted(int(one.stem.removeprefix("epoch-")) for one in file.parent.glob("epoch-*"))
            cause = f"epoch {number} was not kept (kept: {', '.join(map(str, kept)) or 'none'})"
            raise CheckpointError(run, cause, "choose one of those, or train with `save_epochs`")
    return files


def _caption(path: Path) -> str:
    """Return the part of a path that distinguishes runs, or epochs of a run."""
    absolute = path.resolve()
    if absolute.name in (_DETECTOR_NAME, CLASSIFIER_NAME):
        return absolute.parent.name
    if absolute.parent.name == "epochs":
        return f"{absolute.parent.parent.name} {absolute.stem}"
    return absolute.stem
