"""Libraries that the base installation lacks, and the extra that brings each."""

from __future__ import annotations

import importlib.util

from deepfake_detect.errors import OptionError

_EXTRAS = {
    "app": ("fastapi", "multipart", "python_multipart", "uvicorn"),
    "cluster": ("ray",),
    "completion": ("shtab",),
    "faiss": ("faiss",),
    "heic": ("pillow_heif",),
    "hub": ("huggingface_hub",),
    "openvino": ("openvino",),
    "provenance": ("c2pa",),
    "remote": ("fsspec", "s3fs"),
    "tensorboard": ("tensorboard",),
    "umap": ("umap",),
    "url": ("yt_dlp",),
}
_EXTRA_OF = {library: extra for extra, libraries in _EXTRAS.items() for library in libraries}
_DEFAULT_EXTRA = "train"


def missing_library(subject: str, library: str) -> OptionError:
    """Return the error for a library that is not installed.

    The remedy is no pip command with the project's name: an index may serve another project under it.

    Args:
        subject: What needs the library: an option, a command, a clip.
        library: Name to import, or a module of the library.

    Example:
        >>> str(missing_library("results", "pyarrow.parquet"))
        "results: needs pyarrow, which is not installed; install the extra 'train' (docs/install.md)"
    """
    name = library.partition(".")[0]
    extra = _EXTRA_OF.get(name, _DEFAULT_EXTRA)
    return OptionError(
        subject, f"needs {name}, which is not installed", f"install the extra {extra!r} (docs/install.md)"
    )


def is_installed(library: str) -> bool:
    """Return whether a library can be imported, without importing it."""
    try:
        return importlib.util.find_spec(library) is not None
    except (ModuleNotFoundError, ValueError):  # an import hook blocks it
        return False
