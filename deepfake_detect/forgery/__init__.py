"""Fakes made from reals, so that a detector learns the traces of blending, not those of one method.

config      options of a blend
inputs      checks of what is passed in
landmarks   landmarks in a crop, the outline of its face, faces in a similar pose
find        landmarks of crops that have none
masks       the outline as a blending weight per pixel
single      self_blend: a face blended into itself
cross       cross_blend: another person's face blended in
blends      the words for both, as options take them
blended_crops  both made while training reads crops
blend_set   both written as files with a manifest
batch_sheet  a contact sheet of what training sees

Training makes blends in the processes that read crops, one at a time, between reading and augmentation;
so there is one implementation, for one image.
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
