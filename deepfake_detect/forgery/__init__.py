"""Fakes made from reals, so that a detector learns the trace of blending, not one forger's.

config      every choice of a blend
inputs      what the blends take in, checked
landmarks   a crop's landmarks, the outline of its face, faces that are held alike
find        landmarks for crops that came without
masks       the outline as a weight per pixel
single      a face blended into itself, one crop at a time
batch       the same on a batch of tensors, CPU or GPU
  batch_draws  all that chance decides there, and color as one linear map
  batch_masks  its masks
cross       another person's face blended in
gan         generators trained here
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
