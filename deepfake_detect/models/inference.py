"""A trained detector on crops: batches in, calibrated probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.transforms import crop_to_tensor
from deepfake_detect.device import keep_freed_memory
from deepfake_detect.errors import ImageError
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
        batches = []
        numbered = enumerate(crops)
        while chunk := list(islice(numbered, _BATCH_SIZE)):
            tensors = [
                crop_to_tensor(rgb_uint8(crop, subject=f"crop {number}"), self.config.model.preprocessing)
                for number, crop in chunk
            ]
            batches.append(self.batch_logits(torch.stack(tensors)))
        return np.concatenate(batches) if batches else np.zeros(0)

    def batch_logits(self, images: torch.Tensor) -> np.ndarray:
        """Return raw logits (N,), float64, of preprocessed images (N, 3, S, S)."""
        with torch.inference_mode():
            on_device = images.to(self.device, non_blocking=True).contiguous(
                memory_format=torch.channels_last
            )
            logits: np.ndarray = self.model(on_device).double().cpu().numpy()
        return logits

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, 0 to 1, of raw logits."""
        scaled = np.clip(logits / self.config.temperature, -60, 60)  # exp stays finite
        calibrated: np.ndarray = 1 / (1 + np.exp(-scaled))
        return calibrated
