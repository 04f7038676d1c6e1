"""Crop -> logit: backbones, heads, sequence models, pretrained weights, the detector file.

classifier       create_model: a backbone and its head
sequence         create_sequence_model: a backbone and what reads its features in order
spec             what it takes to build a network again
backbones        backbones by name; networks: those of our own
heads            heads by name
blocks           an encoder's blocks from input to output
shapes           shapes of feature maps, the smallest workable input
lora             small matrices that are trained in place of the weights
weights          published weights, download and local files; encoder_weights: into an encoder
catalog        facts about backbones: parameters, input size, license
bundled          the files that come with the library
checkpoint       detector.safetensors: the network and all that scoring must agree on
inference        crops -> probabilities in batches
"""
