"""A detector with clips: the short pipeline, its networks in PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from deepfake_detect.device import choose_device
from deepfake_detect.errors import CheckpointError
from deepfake_detect.faces import FaceDetector
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.records import ClipResult, InferencePrecision
from deepfake_detect.scoring.pipeline import DEFAULT_NUM_FRAMES, ClipDetector


class Detector(TorchDetector, ClipDetector):
    """A trained detector, ready for clips and for crops; made by :func:`load_detector`."""

    @property
    def is_on_gpu(self) -> bool:
        """Whether its networks run on a GPU."""
        return self.device.type == "cuda"

    def face_finder(self, min_face: float | None) -> FaceDetector:
        """Return what finds the faces of a clip, on the detector's own device.

        Raises:
            OptionError: ``min_face`` is below 12 pixels.
        """
        return FaceDetector(device=self.device, min_face=min_face)


def load_detector(
    path: str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device = "auto",
    precision: InferencePrecision = "fp32",
) -> Detector:
    """Load a detector.

    Args:
        path: ``detector.safetensors`` of a training run; the bundled default when ``None``.
        device: ``"auto"`` (CUDA when there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        precision: ``"fp32"``, or ``"bf16"``: about twice as fast where the hardware computes in it. A
            crop's probability then moves by some hundredths; ranking hardly does, see the model card.

    Returns:
        The detector on its device.

    Raises:
        CheckpointError: The file is missing, damaged or of another library.
        DeviceError: CUDA was asked for and there is none; or bf16, and the device has none.
        OptionError: The device or the precision is unknown.

    Example:
        >>> load_detector(device="cpu").config.model.preprocessing.image_size
        224
    """
    target = choose_device(device)
    if path is None:
        with bundled_detector() as bundled:
            model, config = read_detector(bundled)
    else:
        if Path(path).is_dir():
            raise CheckpointError(path, "is a folder", "pass the detector.safetensors in it")
        model, config = read_detector(path)
    return Detector(model, config, device=target, precision=precision)


def score_video(
    video: str | os.PathLike[str],
    *,
    detector: str | os.PathLike[str] | None = None,
    num_frames: int = DEFAULT_NUM_FRAMES,
    device: str = "auto",
) -> ClipResult:
    """ClipScorer one clip with a freshly loaded detector; see :meth:`Detector.score_video`.

    Args:
        video: File to judge.
        detector: Detector file; the bundled default when ``None``.
        num_frames: Evenly spaced frames to look at.
        device: Where to run.
    """
    return load_detector(detector, device=device).score_video(video, num_frames=num_frames)
