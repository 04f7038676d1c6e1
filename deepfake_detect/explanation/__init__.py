"""Looking inside a network: where it looks, what its layers answer to, what it dreams of.

options        methods of heat maps, options of dreams
heat_maps      where in a crop the evidence lies, by Grad-CAM, Grad-CAM++, Score-CAM or attention
  score_cam    Score-CAM in bounded memory
  attention    relevance of a transformer's patches
crops          explain_crops: a detector's crops with their maps laid over them
sources        crops to explain, of clips, pictures and manifests
randomize      do the maps change when the weights do?
filters        first-layer filters, and any layer's activations
networks       a detector or a train-classifier run, to look into
dream          Deep Dream
layers         layers by name, and their outputs as maps
"""
