"""Generative adversarial networks: fakes from nothing, to train a detector against a known generator.

pictures   MNIST, a folder or a manifest -> uint8 images of one size
scaling    the range of a generator's tanh, and back
spec       description of the networks
networks   generators and discriminators: dense, conv, dcgan
step       one training step, its whole chance in its arguments
config     options of a run
loop       the run: resumable, with grids of samples over time
fakes      samples as a labeled fake set with a manifest
"""
