"""MTCNN's networks in ONNX Runtime or OpenVINO, for the cascade of ``faces``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_detect.device import keep_freed_memory
from deepfake_detect.faces.detector import FaceDetector
from deepfake_detect.faces.integral import frames_array
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.runtimes.sessions import Session, open_session

FACE_FILES = ("mtcnn_proposal.onnx", "mtcnn_refine.onnx", "mtcnn_output.onnx")
"""Files of P-Net, R-Net and O-Net among the package's weights."""
_CROPS_PER_RUN = {"mtcnn_refine.onnx": 16, "mtcnn_output.onnx": 8}  # what fits into a CPU's cache
_IGNORED = -1e6  # far below all outputs of P-Net's first layer, to which it is added


class _PNet:
    """P-Net; its features are the log odds of a face and the four box regression offsets."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def features(self, pixels: np.ndarray, seams: np.ndarray) -> np.ndarray:
        """Return float32 (B, cells, 5) of pixels (B, 3, H, W), channels last in memory."""
        batch, _, height, width = pixels.shape
        masks = np.zeros((batch, 1, height, width), np.float32)
        masks[:, 0, seams // (width - 2), seams % (width - 2)] = _IGNORED
        (features,) = self._session.run(_channels_last(pixels), masks)
        return features

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """Return log(P(face) / P(no face)) of features (..., 5)."""
        odds: np.ndarray = features[..., 0]
        return odds

    def heads(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return P(face) (N,) and box regression offsets (N, 4) of features (N, 5)."""
        return 1 / (1 + np.exp(-features[:, 0])), features[:, 1:]


class _CropNet:
    """R-Net or O-Net, run over any number of crops."""

    def __init__(self, session: Session, crops_per_run: int) -> None:
        self._session = session
        self._crops_per_run = crops_per_run

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return P(face) (N,), box regression offsets (N, 4) and from O-Net landmarks (N, 10) of crops."""
        pixels, size = _channels_last(crops), self._crops_per_run
        runs = [self._session.run(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        return tuple(np.concatenate(parts) for parts in zip(*runs, strict=True))


@dataclass(frozen=True)
class RuntimeNetworks:
    """P-Net, R-Net and O-Net in one runtime."""

    runtime: str
    pnet: _PNet
    rnet: _CropNet
    onet: _CropNet

    def frames(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return RGB uint8 arrays (H, W, 3) of one size as one array (B, H, W, 3)."""
        return frames_array(images)


def face_finder(runtime: str, *, num_threads: int, min_face: float | None) -> FaceDetector:
    """Return a face detector on a runtime; it agrees with ``faces.MtcnnDetector`` in its default mode.

    Args:
        runtime: A name of ``RUNTIMES``.
        num_threads: Frames that are searched in parallel.
        min_face: Side in pixels of the smallest face; a tenth of the frame's when ``None``.

    Raises:
        OptionError: ``min_face`` is below 12, or the runtime is unknown or not installed.

    Example:
        >>> finder = face_finder("onnx", num_threads=1, min_face=None)
        >>> finder.detect(np.zeros((90, 120, 3), np.uint8))
        []
    """
    return FaceDetector(_networks(runtime, num_threads), num_threads=num_threads, min_face=min_face)


@functools.lru_cache(maxsize=4)
def _networks(runtime: str, num_threads: int) -> RuntimeNetworks:
    keep_freed_memory()  # page faults of new integral images take longer than filling them
    sessions = []
    for name in FACE_FILES:
        with bundled_detector(name) as path:
            # Each caller is a thread with its own frame.
            sessions.append(open_session(path, runtime, num_threads=num_threads, num_callers=num_threads))
    pnet, *others = sessions
    rnet, onet = (
        _CropNet(session, _CROPS_PER_RUN[name]) for session, name in zip(others, FACE_FILES[1:], strict=True)
    )
    return RuntimeNetworks(runtime, _PNet(pnet), rnet, onet)


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (N, 3, H, W) in their memory layout, (N, H, W, 3)."""
    return np.ascontiguousarray(np.moveaxis(pixels, 1, 3))
