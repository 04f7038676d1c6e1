"""The error for a library that a smaller installation lacks."""

from __future__ import annotations

from deepfake_detect.errors import OptionError

# Names to install, where they differ from the names to import.
_PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "facenet_pytorch": "facenet-pytorch",
    "fastapi": "'deepfake_detect[app]'",
    "python_multipart": "'deepfake_detect[app]'",
    "sklearn": "scikit-learn",
    "uvicorn": "'deepfake_detect[app]'",
    "yaml": "pyyaml",
}


def missing_library(subject: str, error: ModuleNotFoundError) -> OptionError:
    """Return the error for a library that is not installed.

    Args:
        subject: What needs it: an option, a command, a clip.
        error: Of its import.

    Example:
        >>> str(missing_library("results", ModuleNotFoundError(name="pyarrow.parquet")))
        'results: needs pyarrow, which is not installed; pip install pyarrow, or all of deepfake_detect'
    """
    name = (error.name or "a library").split(".")[0]
    return OptionError(
        subject,
        f"needs {name}, which is not installed",
        f"pip install {_PACKAGES.get(name, name)}, or all of deepfake_detect",
    )
