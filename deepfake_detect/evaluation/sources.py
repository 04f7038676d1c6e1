"""Manifests and detectors, as the functions of this package take them."""

from __future__ import annotations

import os

from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.models.zoo.store import local_detector
from deepfake_detect.records import InferencePrecision
from deepfake_detect.runtimes.load import EXPORT_SUFFIXES, load_crop_detector
from deepfake_detect.runtimes.options import Runtime

ManifestInput = str | os.PathLike[str] | Manifest
"""A manifest, or its path or URL."""
DetectorInput = str | os.PathLike[str] | BaseDetector | None
"""A loaded detector, the path of one of any kind, its address on the hub, or ``None`` for the bundled one."""


def open_manifest(manifest: ManifestInput) -> Manifest:
    """Return a manifest; one behind a URL is fetched with its crops.

    Raises:
        FetchError, ManifestError, OptionError: It cannot be fetched or read.
    """
    return manifest if isinstance(manifest, Manifest) else read_manifest(manifest)


def open_detector(
    detector: DetectorInput, *, device: str = "auto", precision: InferencePrecision = "fp32"
) -> BaseDetector:
    """Return a detector of any kind; the bundled one in PyTorch, as it was trained.

    Raises:
        CheckpointError, DeviceError, OptionError: It cannot be loaded.
    """
    if isinstance(detector, BaseDetector):
        return detector
    detector = None if detector is None else local_detector(detector)
    is_export = detector is not None and detector.suffix in EXPORT_SUFFIXES
    runtime: Runtime = "auto" if is_export else "torch"
    return load_crop_detector(detector, runtime=runtime, device=device, precision=precision)
