"""An exported detector on face crops, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.data.transforms import resize_square
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.runtimes.sessions import Session


class RuntimeDetector(BaseDetector):
    """A detector in ONNX Runtime or OpenVINO.

    Args:
        session: The loaded network: crops uint8 (N, S, S, 3) in, probabilities and logits out.
        config: The detector's configuration.
        runtime: A name of ``RUNTIMES``.
        num_threads: Threads for finding faces.
        original: The ``detector.safetensors`` it was exported from, where that is known.
    """

    def __init__(
        self,
        session: Session,
        config: DetectorConfig,
        *,
        runtime: str,
        num_threads: int,
        original: Path | None = None,
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.num_threads = num_threads
        self.original = original
        self._session = session

    @property
    def metadata(self) -> dict[str, str]:
        """The file's metadata: config, hash of the source detector, precision, agreement."""
        return dict(self._session.metadata)

    def chunk_logits(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return raw logits (N,), float64, of RGB uint8 crops (H, W, 3), few enough to run together.

        Raises:
            CheckpointError: The network takes or returns something else.
        """
        size = self.config.model.preprocessing.image_size
        images = np.stack([resize_square(crop, size) for crop in crops])
        try:
            _, logits = self._session.run(images)
            if logits.shape != (len(crops),):
                raise ValueError(f"it returns the shape {logits.shape} for {len(crops)} crops")
            return logits.astype(np.float64)
        except Exception as error:  # the runtimes' exceptions have no common base class
            name = f"detector {self.config.name} {self.config.version}"
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
            cause = f"its network is not what its description says ({reason})"
            raise CheckpointError(name, cause, "export the detector again") from error

    def score_sequence(self, crops: Sequence[Any]) -> float:
        """Raise OptionError: exported detectors score single crops."""
        raise OptionError("detector", "scores single crops", "call score_crops")
