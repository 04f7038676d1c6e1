"""An exported detector, ready for clips and crops; nothing of PyTorch is loaded for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.data.transforms import resize_square
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.faces import MtcnnDetector
from deepfake_detect.models.bundled import BUNDLED_ONNX, bundled_detector
from deepfake_detect.models.config import DetectorConfig, parse_config
from deepfake_detect.runtimes.faces import face_finder
from deepfake_detect.runtimes.sessions import Session, default_num_threads, open_session
from deepfake_detect.scoring.pipeline import ClipDetector

_SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".onnx")}


class RuntimeDetector(ClipDetector):
    """A detector in ONNX Runtime or OpenVINO; made by :func:`load_runtime`.

    Args:
        session: The loaded network: crops uint8 (N, S, S, 3) in, probabilities and logits out.
        config: What belongs to it.
        runtime: A name of ``RUNTIMES``.
        num_threads: For finding faces.
    """

    def __init__(self, session: Session, config: DetectorConfig, *, runtime: str, num_threads: int) -> None:
        self.config = config
        self.runtime = runtime
        self._session = session
        self._num_threads = num_threads

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself: config, hash of the source detector, precision, agreement."""
        return dict(self._session.metadata)

    def face_finder(self, min_face: float | None) -> MtcnnDetector:
        """Return what finds the faces of a clip, in the same runtime.

        Raises:
            OptionError: ``min_face`` is below 12 pixels.
        """
        return face_finder(self.runtime, num_threads=self._num_threads, min_face=min_face)

    def chunk_logits(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return raw logits (N,), float64, of RGB uint8 crops (H, W, 3), few enough to run together."""
        size = self.config.model.preprocessing.image_size
        _, logits = self._session.run(np.stack([resize_square(crop, size) for crop in crops]))
        return logits.astype(np.float64)

    def score_sequence(self, crops: Sequence[Any]) -> float:
        """Raise OptionError: exported detectors judge single crops."""
        raise OptionError("detector", "judges single crops", "call score_crops")


def load_runtime(
    path: str | os.PathLike[str] | None = None, *, runtime: str = "onnx", num_threads: int | None = None
) -> RuntimeDetector:
    """Load an exported detector.

    Args:
        path: ``.onnx``, or ``.xml`` for OpenVINO, of ``tools/export.py``; the bundled detector's ONNX
            file when ``None``.
        runtime: A name of ``RUNTIMES``.
        num_threads: As many as cores when ``None``, or as OMP_NUM_THREADS says.

    Returns:
        The detector, which has the methods of ``scoring.Detector``.

    Raises:
        CheckpointError: The file is missing, damaged, or was not exported by this library.
        OptionError: The runtime is unknown or not installed.

    Example:
        >>> load_runtime().score_crops([np.zeros((120, 90, 3), np.uint8)]).shape
        (1,)
    """
    threads = default_num_threads() if num_threads is None else num_threads
    with bundled_detector(BUNDLED_ONNX) if path is None else nullcontext(Path(path)) as file:
        if path is not None:
            _check_file(file, runtime)
        session = open_session(file, runtime, num_threads=threads)
        config = parse_config(file, session.metadata)
    return RuntimeDetector(session, config, runtime=runtime, num_threads=threads)


def _check_file(file: Path, runtime: str) -> None:
    suffixes = _SUFFIXES.get(runtime, (file.suffix,))  # another runtime is refused when it is opened
    if file.is_dir():
        raise CheckpointError(file, "is a folder", "pass the exported file in it")
    if file.suffix not in suffixes:
        raise CheckpointError(
            file,
            f"is none of {runtime}'s files ({', '.join(suffixes)})",
            f"make one: deepfake-detect export --detector FILE --format {runtime}",
        )
    if not file.is_file():
        raise CheckpointError(file, "there is no such file", f"pass one of {', '.join(suffixes)}")
