"""Replacing the detector that comes with the package: ``python -m deepfake_detect.runtimes.bundle FILE``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from deepfake_detect.errors import OutputError
from deepfake_detect.models.bundled import BUNDLED, BUNDLED_ONNX, bundled_detector
from deepfake_detect.runtimes.cache import TOLERANCE
from deepfake_detect.runtimes.export import export_with_generated_crops


def bundle_detector(detector: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> Path:
    """Write a detector as the two files of a bundled one: its weights, and the graph that refers to them.

    Args:
        detector: ``detector.safetensors``.
        folder: Existing folder for ``default.safetensors`` and ``default.onnx``; the package's weights when
            ``None``.

    Returns:
        The folder.

    Raises:
        CheckpointError: The detector cannot be read, or the graph gives other probabilities.
        OptionError: It is a sequence model or a classical classifier.
        OutputError: A file cannot be written.
    """
    with bundled_detector() as current:
        folder = current.parent if folder is None else Path(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".bundle_", dir=folder) as scratch:
            weights, graph = Path(scratch) / BUNDLED, Path(scratch) / BUNDLED_ONNX
            shutil.copyfile(detector, weights)
            export_with_generated_crops(weights, graph, tolerance=TOLERANCE, refers_to_weights=True)
            for file in (weights, graph):
                os.replace(file, folder / file.name)
    except OSError as error:
        cause = f"cannot be written ({error.strerror})"
        raise OutputError(folder, cause, "name an existing folder of yours") from error
    return folder


if __name__ == "__main__":
    print(bundle_detector(*sys.argv[1:]))
