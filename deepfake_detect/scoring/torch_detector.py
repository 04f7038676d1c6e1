"""The clip pipeline with its networks in PyTorch."""

from __future__ import annotations

from deepfake_detect.faces import MtcnnDetector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.scoring.pipeline import Detector


class TorchClipDetector(TorchDetector, Detector):
    """A detector in PyTorch, for clips and crops; made by :func:`load_detector`."""

    runtime = "torch"

    @property
    def is_on_gpu(self) -> bool:
        """Whether its networks run on a GPU, where several processes would slow one another down."""
        return self.device.type == "cuda"

    def face_finder(self, min_face: float | None) -> MtcnnDetector:
        """Return the face detector, on the detector's own device.

        Raises:
            OptionError: ``min_face`` is below 12 pixels.
        """
        return MtcnnDetector(device=self.device, min_face=min_face)
