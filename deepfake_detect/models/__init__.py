"""Crop -> logit: backbones with a one-logit head, pretrained weights, the detector file.

classifier   create_model: a backbone and its head
weights      published weights, download and local files
checkpoint   detector.safetensors: the network and all that scoring must agree on
inference    crops -> probabilities in batches
device       cpu or cuda, and the precision that pays
"""
