"""Detectors without PyTorch: exported to ONNX or OpenVINO, and run there.

sessions   ONNX Runtime and OpenVINO behind one face
faces      MTCNN's networks in either, for the cascade of ``faces``
detector   an exported detector, ready for clips and crops
export     detector.safetensors -> one file that holds network, preprocessing and all facts
  graph      the network with its preprocessing and calibration, as one network
  agreement  an export beside the original on real crops
  mtcnn      the face networks that come with the package

Only ``export`` and what is below it need PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepfake_detect.lazy import lazy_names

if TYPE_CHECKING:
    from deepfake_detect.runtimes.detector import RuntimeDetector, load_runtime
    from deepfake_detect.runtimes.export import FORMATS, PRECISIONS, ExportReport, export_detector
    from deepfake_detect.runtimes.mtcnn import export_face_networks
    from deepfake_detect.runtimes.sessions import RUNTIMES

_HOMES = {
    "FORMATS": "export",
    "PRECISIONS": "export",
    "RUNTIMES": "sessions",
    "ExportReport": "export",
    "RuntimeDetector": "detector",
    "export_detector": "export",
    "export_face_networks": "mtcnn",
    "load_runtime": "detector",
}

__all__ = [
    "FORMATS",
    "PRECISIONS",
    "RUNTIMES",
    "ExportReport",
    "RuntimeDetector",
    "export_detector",
    "export_face_networks",
    "load_runtime",
]

__getattr__ = lazy_names(__name__, _HOMES)
