"""The files that come with the library: the default detector and the face detector's networks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path

BUNDLED = "default.safetensors"
"""The default detector for PyTorch."""
BUNDLED_ONNX = "default.onnx"
"""The default detector for runtimes without PyTorch."""


def bundled_detector(name: str = BUNDLED) -> AbstractContextManager[Path]:
    """Return a context manager that gives the path of a bundled file.

    Args:
        name: Its name; the default detector when not given.

    Example:
        >>> with bundled_detector() as path:
        ...     path.suffix
        '.safetensors'
    """
    return resources.as_file(resources.files("deepfake_detect.weights") / name)
