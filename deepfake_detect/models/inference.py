"""A trained detector on crops: batches in, calibrated probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.transforms import crop_to_tensor
from deepfake_detect.device import keep_freed_memory
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.images import rgb_uint8
from deepfake_detect.models.checkpoint import DetectorConfig
from deepfake_detect.models.classifier import ForgeryClassifier

_BATCH_SIZE = 32


class CropScorer:
    """A network with its config, ready to score face crops on one device.

    Args:
        model: Trained network.
        config: What belongs to it.
        device: Where it shall run.
    """

    def __init__(self, model: ForgeryClassifier, config: DetectorConfig, *, device: torch.device) -> None:
        if device.type == "cpu":
            keep_freed_memory()
        self.config = config
        self.device = device
        self.model = model.to(device).to(memory_format=torch.channels_last).eval()

    @property
    def is_sequential(self) -> bool:
        """Whether it judges sequences of crops, not crops."""
        return self.config.model.sequence is not None

    def score_sequence(self, crops: Sequence[Any]) -> float:
        """Return the probability that the face of one person in one clip was forged.

        Args:
            crops: The person's crops in the order of time, as for :meth:`score_crops`, one or more;
                of many, as many as the network was trained on are taken, evenly spaced.

        Returns:
            Calibrated, 0 (real) to 1 (fake).

        Raises:
            ImageError: A crop is not an RGB image, or there is none.
            OptionError: The detector judges single crops.
        """
        sequence = self.config.model.sequence
        if sequence is None:
            raise OptionError("detector", "judges single crops", "call score_crops")
        if not len(crops):
            raise ImageError("crops", "is empty", "pass one or more")
        count = min(len(crops), sequence.num_frames)
        chosen = np.linspace(0, len(crops) - 1, count).round().astype(int).tolist()
        tensors = [
            crop_to_tensor(rgb_uint8(crops[n], subject=f"crop {n}"), self.config.model.preprocessing)
            for n in chosen
        ]
        logits = self.batch_logits(torch.stack(tensors)[None], torch.tensor([count]))
        return float(self.probabilities(logits)[0])

    def score_crops(self, crops: Sequence[Any] | Iterable[Any]) -> np.ndarray:
        """Return the probability that each face was forged.

        Args:
            crops: Face crops of any size, each RGB uint8 (H, W, 3) (PIL images, float arrays in
                [0, 1] and tensors of that shape are taken too), cut with
                ``config.geometry.margin`` times the face box.

        Returns:
            float64 (N,), calibrated, 0 (real) to 1 (fake), in the order of the crops.

        Raises:
            ImageError: A crop is not an RGB image; the message tells which.

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
            raise OptionError("detector", "judges sequences of crops", "call score_sequence")
        batches = []
        numbered = enumerate(crops)
        while chunk := list(islice(numbered, _BATCH_SIZE)):
            tensors = [
                crop_to_tensor(rgb_uint8(crop, subject=f"crop {number}"), self.config.model.preprocessing)
                for number, crop in chunk
            ]
            batches.append(self.batch_logits(torch.stack(tensors)))
        return np.concatenate(batches) if batches else np.zeros(0)

    def batch_logits(self, images: torch.Tensor, lengths: torch.Tensor | None = None) -> np.ndarray:
        """Return raw logits (N,), float64, of preprocessed images (N, 3, S, S), or of sequences of
        them (N, T, 3, S, S) with their lengths int64 (N,)."""
        on_device = images.to(self.device, non_blocking=True)
        with torch.inference_mode():
            if lengths is None:
                answer = self.model(on_device.contiguous(memory_format=torch.channels_last))
            else:
                answer = self.model(on_device, lengths)
            logits: np.ndarray = answer.double().cpu().numpy()
        return logits

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, 0 to 1, of raw logits."""
        return calibrated_probabilities(logits, self.config.temperature, self.config.calibration)


def calibrated_probabilities(
    logits: np.ndarray, temperature: float, calibration: Mapping[str, Any]
) -> np.ndarray:
    """Return the probabilities that a detector's calibration makes of its raw logits.

    Args:
        logits: float (N,).
        temperature: Divides them first, above 0.
        calibration: Empty for the sigmoid; ``{"method": "platt", "slope", "intercept"}`` for the
            sigmoid of a straight line; ``{"method": "isotonic", "logits", "probabilities"}`` for
            straight lines between knots, level outside.

    Returns:
        float64 (N,), 0 to 1.

    Example:
        >>> knots = {"method": "isotonic", "logits": [-1.0, 1.0], "probabilities": [0.25, 0.75]}
        >>> calibrated_probabilities(np.array([-9.0, 0.0, 0.5]), 1.0, knots).tolist()
        [0.25, 0.5, 0.625]
    """
    scaled = logits / temperature
    method = calibration.get("method")
    if method == "isotonic":
        between: np.ndarray = np.interp(scaled, calibration["logits"], calibration["probabilities"])
        return between
    if method == "platt":
        scaled = calibration["slope"] * scaled + calibration["intercept"]
    calibrated: np.ndarray = 1 / (1 + np.exp(-np.clip(scaled, -60, 60)))  # exp stays finite
    return calibrated
