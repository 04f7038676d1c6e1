"""A trained detector of crops in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.transforms import crops_to_tensor
from deepfake_detect.device import check_inference_precision, keep_freed_memory
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.images import rgb_uint8
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.models.detector import calibrated_probabilities as calibrated_probabilities
from deepfake_detect.records import InferencePrecision


class TorchDetector(BaseDetector):
    """A network with its config, ready to score face crops on one device.

    Args:
        model: Trained network.
        config: Metadata of its file.
        device: Where it runs.
        precision: Precision of its layers. ``"fp32"`` is reproducible across machines up to rounding;
            ``"bf16"`` is faster where the hardware supports it, and less exact.

    Raises:
        DeviceError: The device does not support the precision.
        OptionError: The precision is unknown.
    """

    def __init__(
        self,
        model: ForgeryClassifier,
        config: DetectorConfig,
        *,
        device: torch.device,
        precision: InferencePrecision = "fp32",
    ) -> None:
        check_inference_precision(precision, device)
        if device.type == "cpu":
            keep_freed_memory()
        self.config = config
        self.device = device
        self.precision = precision
        self.model = model.to(device).to(memory_format=torch.channels_last).eval()

    def score_sequence(self, crops: Sequence[Any]) -> float:
        """Return the probability that the face of one person in one clip was forged.

        Args:
            crops: The person's crops in order of time, as for :meth:`score_crops`, one or more. From a
                long sequence as many crops as the network was trained on are read, evenly spaced.

        Returns:
            Calibrated, 0 (real) to 1 (fake).

        Raises:
            ImageError: A crop is not an RGB image, or there is none.
            OptionError: The detector scores single crops.
        """
        sequence = self.config.model.sequence
        if sequence is None:
            raise OptionError("detector", "scores single crops", "call score_crops")
        if not len(crops):
            raise ImageError("crops", "is empty", "pass one or more")
        count = min(len(crops), sequence.num_frames)
        chosen = np.linspace(0, len(crops) - 1, count).round().astype(int).tolist()
        images = [rgb_uint8(crops[n], subject=f"crop {n}") for n in chosen]
        tensors = crops_to_tensor(images, self.config.model.preprocessing)
        logits = self.batch_logits(tensors[None], torch.tensor([count]))
        return float(self.probabilities(logits)[0])

    def chunk_logits(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return raw logits (N,), float64, of RGB uint8 crops (H, W, 3), few enough to run together."""
        return self.batch_logits(crops_to_tensor(crops, self.config.model.preprocessing))

    def batch_logits(self, images: torch.Tensor, lengths: torch.Tensor | None = None) -> np.ndarray:
        """Return raw logits (N,), float64, of preprocessed images (N, 3, S, S), or of sequences of
        them (N, T, 3, S, S) with their lengths int64 (N,).
        """
        on_device = images.to(self.device, non_blocking=True)
        rounded = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), rounded:
            if lengths is None:
                output = self.model(on_device.contiguous(memory_format=torch.channels_last))
            else:
                output = self.model(on_device, lengths)
            logits: np.ndarray = output.double().cpu().numpy()
        return logits
