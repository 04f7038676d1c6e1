"""Exports that scoring makes by itself: each detector once, in the cache folder."""

from __future__ import annotations

import logging
from pathlib import Path

from deepfake_detect._version import __version__
from deepfake_detect.errors import CheckpointError, DeepfakeDetectError, OutputError
from deepfake_detect.extras import is_installed
from deepfake_detect.io.files import atomic_path, cache_folder, make_folder, sha256_of_file
from deepfake_detect.progress import quiet
from deepfake_detect.runtimes.sessions import import_onnxruntime

TOLERANCE = 1e-4
"""Largest difference from PyTorch of a probability with which an export is used."""
_log = logging.getLogger(__name__)


def cached_export(detector: Path) -> Path | None:
    """Return a detector's export to ONNX, made where there is none yet and PyTorch is installed.

    Args:
        detector: A ``detector.safetensors``.

    Returns:
        The file; ``None``, with the reason logged, where the detector cannot be exported, the export would
        differ from it, or the cache folder cannot be written to.
    """
    if not detector.is_file():
        return None  # the caller that reads the file reports it
    try:
        key = f"{sha256_of_file(detector)[:32]}-{__version__}-{import_onnxruntime().__version__}"
        folder = cache_folder() / "exports" / key
        export, failure = folder / "detector.onnx", folder / "failure.txt"
        if not (export.is_file() or failure.is_file()) and is_installed("torch"):
            _make(detector, export, failure)
        if export.is_file():
            return export
        reason = (
            failure.read_text("utf-8") if failure.is_file() else "PyTorch, which exports it, is not there"
        )
    except (OSError, OutputError) as error:
        reason = str(error)
    _log.warning("%s is run by PyTorch, not by ONNX Runtime: %s", detector, reason)
    return None


def _make(detector: Path, export: Path, failure: Path) -> None:
    """Write the export, or why there is none; other processes that want it wait."""
    from filelock import FileLock

    folder = make_folder(export.parent)
    with FileLock(folder / ".lock"):
        if export.is_file() or failure.is_file():
            return
        for left_over in folder.glob(f".{export.stem[:40]}.*{export.suffix}"):  # of a process that was killed
            left_over.unlink(missing_ok=True)
        from deepfake_detect.runtimes.export import export_with_generated_crops

        _log.info("exporting %s to %s, once", detector, export)
        try:
            with quiet():
                export_with_generated_crops(detector, export, tolerance=TOLERANCE)
        except (OSError, OutputError):
            raise  # of the disk, not of the detector
        except Exception as error:  # of PyTorch's exporter, for a network of any kind
            if isinstance(error, CheckpointError) and error.subject == str(detector):
                return  # it cannot be read, which PyTorch's reader says
            reason = str(error) if isinstance(error, DeepfakeDetectError) else type(error).__name__
            with atomic_path(failure) as temporary:
                temporary.write_text(reason, "utf-8")
