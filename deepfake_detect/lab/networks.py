"""Trained networks to look into: of a run of train or train-classifier, or a detector file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from deepfake_detect.data.transforms import crop_to_tensor, resize_square
from deepfake_detect.errors import CheckpointError
from deepfake_detect.io.files import read_json
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.records import Preprocessing
from deepfake_detect.training.kept_epochs import epoch_file, parse_epochs

_DETECTOR, _CLASSIFIER, _RUN = "detector.safetensors", "classifier.safetensors", "run.json"
# Classifiers of small images are trained on plain [0, 1], whatever their backbone was published with.
_PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True, eq=False)
class NamedNetwork:
    """A network with what its input must be like.

    Attributes:
        name: For captions.
        model: In evaluation mode, on the CPU.
        preprocessing: Of its input.
    """

    name: str
    model: ForgeryClassifier
    preprocessing: Preprocessing

    def input_of(self, picture: np.ndarray) -> torch.Tensor:
        """Return a picture, RGB uint8 (H, W, 3), as the network's input, float32 (C, S, S)."""
        if self.model.spec.in_chans == 3:
            return crop_to_tensor(picture, self.preprocessing)
        gray = resize_square(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), self.preprocessing.image_size)
        scaled = gray.astype(np.float32)[None] / 255
        mean, std = self.preprocessing.mean[0], self.preprocessing.std[0]
        return torch.from_numpy((scaled - np.float32(mean)) / np.float32(std))


def detector_network(path: Path) -> NamedNetwork:
    """Read a detector file, or the best detector of a run's folder.

    Raises:
        CheckpointError: It is missing, damaged, or of another library.
    """
    file = path / _DETECTOR if path.is_dir() else path
    model, config = read_detector(file)
    return NamedNetwork(_name_of(path), model, config.model.preprocessing)


def classifier_network(path: Path) -> NamedNetwork:
    """Read the network of a ``train-classifier`` run.

    Args:
        path: Folder of the run, or a file of its weights in that folder or in ``epochs`` below it.

    Raises:
        CheckpointError: There is none, it is damaged, or does not fit what the run says of it.
    """
    file = path / _CLASSIFIER if path.is_dir() else path
    folder = next((one for one in (file.parent, file.parent.parent) if (one / _RUN).is_file()), None)
    if folder is None or not file.is_file():
        cause = f"there is no {file.name} with a {_RUN} in its run's folder"
        raise CheckpointError(path, cause, "pass the folder of a train-classifier run")
    facts: dict[str, Any] = read_json(folder / _RUN)
    try:
        tensors = load_file(file)
        in_chans = next(tensor.shape[1] for tensor in tensors.values() if tensor.ndim == 4)
        model = create_model(
            facts["backbone"],
            num_classes=len(facts["class_names"]),
            in_chans=in_chans,
            image_size=facts.get("image_size"),
        )
        model.load_state_dict(tensors)
    except (SafetensorError, StopIteration, LookupError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise CheckpointError(file, f"is not the run's network ({reason})", "train it again") from error
    size = model.spec.preprocessing.image_size
    return NamedNetwork(_name_of(path), model.eval(), Preprocessing(size, *_PLAIN))


def _name_of(path: Path) -> str:
    """Return the part of a path that tells one run, or one epoch of it, from another."""
    whole = path.resolve()
    if whole.name in (_DETECTOR, _CLASSIFIER):
        return whole.parent.name
    return f"{whole.parent.parent.name} {whole.stem}" if whole.parent.name == "epochs" else whole.stem


def epoch_files(run: Path, epochs: str) -> list[Path]:
    """Return the files of epochs that a run of train or train-classifier kept.

    Args:
        run: Its folder.
        epochs: Numbers with commas between, such as ``"0,12"``.

    Raises:
        OptionError: They are no numbers.
        CheckpointError: An epoch was not kept; those that were are named.
    """
    files = []
    for number in parse_epochs(epochs):
        file = epoch_file(run, number)
        if not file.is_file():
            kept = ", ".join(
                sorted(str(int(one.stem[6:])) for one in file.parent.glob("epoch-*.safetensors"))
            )
            cause = f"epoch {number} was not kept (kept: {kept or 'none'})"
            raise CheckpointError(run, cause, "choose one of those, or train with --save-epochs")
        files.append(file)
    return files
