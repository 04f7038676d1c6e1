"""Generative adversarial networks: fakes of a known generator, to train a detector against.

config     options of a run and of its fake set
images     MNIST, a folder or a manifest -> uint8 images of one size
scaling    pixels <-> the range of a generator's tanh
spec       description of the networks
networks   generators and discriminators: dense, conv, dcgan
step       one training step as a pure function
loop       the resumable training loop, with grids of samples over time
generator  samples of a generator, and its file
fakes      samples as a labeled fake set with a manifest
distances  FID and KID
evaluate   samples compared with real images in the features of a trained network
figures    curves of a run
run        train_gan_run: images -> generator, fake set and report
"""
