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

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
