"""MTCNN's networks in ONNX Runtime or OpenVINO, for the cascade of ``faces``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_detect.faces.finder import MtcnnDetector
from deepfake_detect.faces.integral import frames_array
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.runtimes.sessions import Session, open_session

FACE_FILES = ("mtcnn_proposal.onnx", "mtcnn_refine.onnx", "mtcnn_output.onnx")
"""The three networks among the package's weights, in the order in which they run."""
# Crops of one run, as in faces.networks: what a CPU's cache holds.
_CROPS_PER_RUN = {"mtcnn_refine.onnx": 64, "mtcnn_output.onnx": 16}


class _ProposalNetwork:
    """The first network; its features are log odds of a face and the box's four corrections."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def features(self, pixels: np.ndarray, seams: np.ndarray) -> np.ndarray:
        """Return float32 (B, cells, 5) of pixels (B, 3, H, W), channels last in memory."""
        height, width = pixels.shape[2] - 2, pixels.shape[3] - 2
        is_seam = np.zeros(height * width, bool)
        is_seam[seams] = True
        (answers,) = self._session.run(_channels_last(pixels), is_seam.reshape(1, 1, height, width))
        return answers

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """Return log(P(face) / P(no face)) of features (..., 5)."""
        odds: np.ndarray = features[..., 0]
        return odds

    def heads(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return P(face) (N,) and the box's corrections (N, 4) of features (N, 5)."""
        return 1 / (1 + np.exp(-features[:, 0])), features[:, 1:]


class _CropNetwork:
    """The second or third network, run over any number of crops."""

    def __init__(self, session: Session, crops_per_run: int) -> None:
        self._session = session
        self._crops_per_run = crops_per_run

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return P(face) (N,), corrections (N, 4) and from the third landmarks (N, 10) of crops."""
        pixels, size = _channels_last(crops), self._crops_per_run
        runs = [self._session.run(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        return tuple(np.concatenate(parts) for parts in zip(*runs, strict=True))


@dataclass(frozen=True)
class RuntimeNetworks:
    """The three networks in one runtime."""

    proposal: _ProposalNetwork
    refine: _CropNetwork
    output: _CropNetwork

    def frames(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return RGB uint8 arrays (H, W, 3) of one size as one array (B, H, W, 3)."""
        return frames_array(images)


def face_finder(runtime: str, *, num_threads: int, min_face: float | None) -> MtcnnDetector:
    """Return what finds faces with a runtime, as ``faces.FaceDetector`` does in its default mode.

    Args:
        runtime: A name of ``RUNTIMES``.
        num_threads: Frames searched side by side.
        min_face: Side in pixels of the smallest face; a tenth of the frame's when ``None``.

    Raises:
        OptionError: ``min_face`` is below 12, or the runtime is unknown or not installed.

    Example:
        >>> finder = face_finder("onnx", num_threads=1, min_face=None)
        >>> finder.detect(np.zeros((90, 120, 3), np.uint8))
        []
    """
    return MtcnnDetector(_networks(runtime, num_threads), num_threads=num_threads, min_face=min_face)


@functools.lru_cache(maxsize=4)
def _networks(runtime: str, num_threads: int) -> RuntimeNetworks:
    sessions = []
    for name in FACE_FILES:
        with bundled_detector(name) as path:
            # Each caller is a thread with a frame of its own.
            sessions.append(open_session(path, runtime, num_threads=num_threads, num_callers=num_threads))
    proposal, *others = sessions
    refine, output = (
        _CropNetwork(session, _CROPS_PER_RUN[name])
        for session, name in zip(others, FACE_FILES[1:], strict=True)
    )
    return RuntimeNetworks(_ProposalNetwork(proposal), refine, output)


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (N, 3, H, W) as they lie in memory, (N, H, W, 3)."""
    return np.ascontiguousarray(np.moveaxis(pixels, 1, 3))
