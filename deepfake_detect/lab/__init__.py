"""Course-book experiments: GANs, a classifier of small images, Deep Dream, filters, face maps, face
verification.

Imports the core; the core never imports it.

gan             generative adversarial networks and their samples as fakes
classifier      train a classifier of small images
labeled_images  MNIST files, or a folder or tar per class
networks        trained networks of runs and detector files
filters, dream  first-layer filters and activations; Deep Dream
clusters        clusters of similar faces and their positions on a map
face_map        the map as an HTML page
face_pairs     LFW's pairs.txt, and the images of people
verification   whether two images show one person
study_figures   curves of studies
commands        deepfake-detect lab ...
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
