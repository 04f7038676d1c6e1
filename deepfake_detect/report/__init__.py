"""Figures from finished numbers. The only room that imports matplotlib, and only when it draws.

roc        ROC curves of an evaluation
history    losses and validation AUC of a training run
gan        losses and discriminator accuracy of a GAN's training
timeline   fake probability of each person over a clip
explain    heat maps beside crops, grids of filters and activations
annotate   the clip played back with boxes
duplicates crops of two splits that look alike, side by side
"""
