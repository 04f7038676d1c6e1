"""Heat maps: where in a face a network finds its evidence.

options        methods and options of heat maps
heat_maps      Grad-CAM, Grad-CAM++, Score-CAM or attention relevance
  score_cam    Score-CAM in bounded memory
  attention    relevance of a transformer's patches
crops          explain_crops: a detector's crops, overlaid with their maps
sources        crops to explain, from clips, images and manifests
randomize      whether maps change when the weights do
"""
