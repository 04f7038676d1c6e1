"""Crops to calibrated probabilities, for every runtime; imports no PyTorch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.errors import CheckpointError, ImageError, OptionError
from deepfake_detect.images import rgb_uint8
from deepfake_detect.models.config import Calibration, DetectorConfig, sigmoid
from deepfake_detect.models.config import IsotonicCalibration as IsotonicCalibration

_BATCH_SIZE = 32


class BaseDetector(ABC):
    """A detector of face crops. A subclass runs its network.

    Attributes:
        config: Metadata of the detector's file.
        source: The file it was loaded from; ``None`` where it was made in memory.
    """

    config: DetectorConfig
    source: Path | None = None

    @property
    def is_sequential(self) -> bool:
        """Whether it scores sequences of crops, not single crops."""
        return self.config.model.sequence is not None

    def score_crops(self, crops: Sequence[Any] | Iterable[Any]) -> np.ndarray:
        """Return the probability that each face was forged.

        Args:
            crops: Face crops of any size, each RGB uint8 (H, W, 3) (PIL images, float arrays in
                [0, 1] and tensors of that shape are accepted too), cut with
                ``config.geometry.margin`` times the face box.

        Returns:
            float64 (N,), calibrated, 0 (real) to 1 (fake), in the order of the crops.

        Raises:
            ImageError: A crop is not an RGB image; the message names it.
            CheckpointError: The detector is damaged and gives no finite number.

        Example:
            >>> import deepfake_detect as dfd
            >>> detector = dfd.load_detector()
            >>> detector.score_crops([np.zeros((120, 90, 3), np.uint8)]).shape
            (1,)
        """
        if hasattr(crops, "getbands") or getattr(crops, "ndim", 0) == 3:
            raise ImageError("crops", "is one image", "pass a list of crops: score_crops([crop])")
        return self.probabilities(self.logits(crops))

    def logits(self, crops: Iterable[Any]) -> np.ndarray:
        """Return the network's raw logits (N,), float64, before calibration."""
        if self.is_sequential:
            raise OptionError("detector", "scores sequences of crops", "call score_sequence")
        batches = []
        numbered = enumerate(crops)
        while chunk := list(islice(numbered, _BATCH_SIZE)):
            images = [rgb_uint8(crop, subject=f"crop {number}") for number, crop in chunk]
            batches.append(self.chunk_logits(images))
        return np.concatenate(batches) if batches else np.zeros(0)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        evaluation: Any = None,  # an Evaluation, of a later room
        license: str | None = None,
    ) -> Path:
        """Write the detector and its model card into a folder, as :meth:`push_to_hub` uploads them.

        Args:
            folder: Folder for ``detector.safetensors`` (of an export ``detector.onnx``) and ``README.md``.
            evaluation: Of :func:`deepfake_detect.evaluate`, or the folder it wrote, for the card's
                figures; without one it has the validation AUC that the file records.
            license: Of the weights, by its name on the hub, such as ``"mit"``; none is named when
                ``None``.

        Returns:
            Path of the detector's file, which :func:`load_detector` loads.

        Raises:
            OptionError: The detector is of OpenVINO, whose files are two, or the evaluation is none.
            OutputError: The folder cannot be written to.

        Example:
            >>> import tempfile
            >>> import deepfake_detect as dfd
            >>> dfd.load_detector().save_pretrained(tempfile.mkdtemp()).name
            'detector.safetensors'
        """
        from deepfake_detect.models.pretrained import write_pretrained

        return write_pretrained(self, folder, evaluation=evaluation, license=license)

    def push_to_hub(
        self,
        repository: str,
        *,
        evaluation: Any = None,  # as of save_pretrained
        license: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        commit_message: str = "Upload detector",
    ) -> str:
        """Upload the detector and its model card to the Hugging Face Hub.

        ``load_detector("hf://owner/name")`` loads it from there. ``HF_TOKEN``, or the login of
        huggingface_hub, says who uploads.

        Args:
            repository: ``"owner/name"``, created if it is not there.
            evaluation, license: See :meth:`save_pretrained`.
            revision: Branch to write to; the default branch when ``None``.
            private: Whether a new repository is private; the owner's default when ``None``.
            commit_message: Of the commit.

        Returns:
            Address of the repository's page.

        Raises:
            OptionError: As for :meth:`save_pretrained`; the name is no repository's, or huggingface_hub
                is not installed.
            OutputError: The hub refuses the upload or cannot be reached.
        """
        from deepfake_detect.models.pretrained import push_pretrained

        return push_pretrained(
            self,
            repository,
            evaluation=evaluation,
            license=license,
            revision=revision,
            private=private,
            message=commit_message,
        )

    @abstractmethod
    def chunk_logits(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return raw logits (N,), float64, of RGB uint8 crops (H, W, 3), few enough to run together."""

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, 0 to 1, of raw logits.

        Raises:
            CheckpointError: A logit is not finite: the detector is damaged.
        """
        if not np.isfinite(logits).all():
            name = f"detector {self.config.name} {self.config.version}"
            raise CheckpointError(name, "gives logits that are not finite", "download or train it again")
        return calibrated_probabilities(logits, self.config.temperature, self.config.calibration)


def calibrated_probabilities(
    logits: np.ndarray, temperature: float, calibration: Calibration | None
) -> np.ndarray:
    """Return the calibrated probabilities of raw logits.

    Args:
        logits: float (N,).
        temperature: Divides the logits first, above 0.
        calibration: Replaces the plain sigmoid; ``None`` keeps it.

    Returns:
        float64 (N,), 0 to 1.

    Example:
        >>> knots = IsotonicCalibration(logits=(-1.0, 1.0), probabilities=(0.25, 0.75))
        >>> calibrated_probabilities(np.array([-9.0, 0.0, 0.5]), 1.0, knots).tolist()
        [0.25, 0.5, 0.625]
    """
    scaled = logits / temperature
    return sigmoid(scaled) if calibration is None else calibration.apply(scaled)
