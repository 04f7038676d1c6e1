"""Detectors in any runtime: exported to ONNX or OpenVINO and run there, and the one reader of all kinds.

load       load_crop_detector: picks the runtime by file, device and installation
cache      exports that it makes itself
sessions   ONNX Runtime and OpenVINO behind one interface
faces      MTCNN's networks in either, for the cascade of ``faces``
options    the options of an export
export     detector.safetensors -> one file with network, preprocessing and metadata
  graph      the detector as one network
  agreement  comparing an export with the original
  bundle     replacing the detector that comes with the package
  mtcnn      the face detector's networks that come with the package

Only ``export`` and what is below it need PyTorch.
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
