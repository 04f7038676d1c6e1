"""Crop -> logit: backbones, heads, sequence models, pretrained weights, the detector file.

classifier       create_model: a backbone and its head
sequence         create_sequence_model: a backbone and a head that reads its features in order
classical        a backbone and a classical classifier; classical_heads: the classifiers as tensors
spec             everything needed to build a network again
backbones        backbones by name, register_backbone; networks: this library's own
heads            heads by name, register_head
blocks, layers   an encoder's blocks from input to output, its layers by name and their maps
shapes           shapes of feature maps, the smallest input that works
lora             small matrices that are trained instead of the weights
weights          published weights, and local files; encoder_weights: loading them into an encoder
catalog          list_backbones: parameters, input size, license
config           metadata of detector files
checkpoint       detector.safetensors: one reader and writer for every kind of detector
detector         BaseDetector: crops -> probabilities; inference: TorchDetector, in PyTorch
card, average    read_card, average_detectors
"""
