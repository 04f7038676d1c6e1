"""Frames -> faces -> crops, people followed over time.

mtcnn      detect_faces, in three modes: MTCNN with the networks and weights of facenet-pytorch
  dense      every frame of a clip, searched near the faces of the frame before
  networks   the three networks in PyTorch, arranged to run fast
finder     the default mode with any runtime's networks
  cascade    one frame: proposals, refined, faces
  mosaic     the frame in all sizes at which it is searched, as one picture
  sums       means over windows of a frame from its summed-area table
  arrays     what numpy and torch name differently
  parallel   a frame per thread
crops      a square with margin around a face, upright or aligned by its landmarks
tracking   which face of one frame is whose in the next
follow     frames in, tracked crops out: what extraction and scoring both do

Only the first three need PyTorch.
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
