"""Frames -> faces -> crops, with people tracked over time.

    torch_detector  detect_faces: MTCNN with facenet-pytorch's networks and weights, in three modes
      dense           every frame of a clip, searched near the faces of the frame before
      networks        P-Net, R-Net and O-Net in PyTorch, arranged to run fast
    detector        FaceDetector: the default mode with the networks of any runtime
      cascade         P-Net -> R-Net -> O-Net
      mosaic          a frame at all scales, in one image
      integral        integral images: means over windows of a frame
      arrays          one set of operations for numpy and torch
      parallel        one frame per thread
    crops           a square around a face, upright or aligned by its landmarks
    stretched       face_tensors: the crops of facenet-pytorch, as tensors
    tracking        which face of a frame is which person
    tracked_crops   frames in, tracked crops out, as extraction and scoring need them

Only the first three and stretched need PyTorch.
"""

import lazy_loader

# Names are in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
