"""A detector as one network: uint8 crops in, calibrated probabilities out."""

from __future__ import annotations

import torch
from torch import nn

from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.config import DetectorConfig, IsotonicCalibration, PlattCalibration

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class DetectorGraph(nn.Module):
    """Normalization, network and calibration in sequence.

    Args:
        model: The trained network, in evaluation mode on the CPU; it is modified.
        config: The detector's configuration.
        precision: ``"fp16"`` or ``"bf16"``: what the network computes in, while normalization and
            calibration stay float32; with any other value all of it is float32.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: ForgeryClassifier, config: DetectorConfig, *, precision: str = "fp32") -> None:
        super().__init__()
        self._dtype = _DTYPES.get(precision, torch.float32)
        self.model = model.to(self._dtype)
        preprocessing = config.model.preprocessing
        self.register_buffer("mean", torch.tensor(preprocessing.mean) * 255)
        self.register_buffer("std", torch.tensor(preprocessing.std) * 255)
        self.calibration = _Calibration(config)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return fake probability and raw logit, float32 (N,) each.

        Args:
            crops: RGB uint8 (N, S, S, 3), S being the network's input size.
        """
        images = ((crops.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        logits = self.model(images.to(self._dtype)).float()
        return self.calibration(logits), logits


class _Calibration(nn.Module):
    """``models.detector.calibrated_probabilities`` in torch."""

    starts: torch.Tensor
    widths: torch.Tensor
    first: torch.Tensor
    rises: torch.Tensor

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self._temperature = config.temperature
        line, knots = PlattCalibration(1.0, 0.0), IsotonicCalibration((0.0,), (0.5,))
        self._is_isotonic = isinstance(config.calibration, IsotonicCalibration)
        if isinstance(config.calibration, PlattCalibration):
            line = config.calibration
        elif isinstance(config.calibration, IsotonicCalibration):
            knots = config.calibration
        self._slope, self._intercept = line.slope, line.intercept
        logits = torch.tensor(knots.logits, dtype=torch.float32)
        probabilities = torch.tensor(knots.probabilities, dtype=torch.float32)
        self.register_buffer("starts", logits[:-1].clone())
        # Knots at the same logit are a step.
        self.register_buffer("widths", logits.diff().clamp(min=torch.finfo(torch.float32).tiny))
        self.register_buffer("first", probabilities[:1].clone())
        self.register_buffer("rises", probabilities.diff())

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities (N,) of raw logits (N,)."""
        scaled = logits / self._temperature
        if self._is_isotonic:
            fractions = ((scaled[:, None] - self.starts) / self.widths).clamp(0, 1)
            return self.first + (fractions * self.rises).sum(1)
        return torch.sigmoid(self._slope * scaled + self._intercept)
