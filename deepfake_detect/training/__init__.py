"""Manifest -> detector: configuration, what must hold before, the loop, its history.

config        TrainingConfig: every choice of a run, written beside its result
regimes       which parameters are trained, one word each
sanity        what must hold before a long run is worth its time
feed          crops on their way to the network
objectives    losses, class weights, mixtures of crops
optimization  optimizers, learning rates over time, averaged weights, SAM
loop          train: the gates, frozen head first, then the regime; validation AUC selects
history       a record an epoch, and the result
journal       the log file, and TensorBoard's events
rate_finder   how high a learning rate a run bears
classify      any network on a small set of labeled images
"""
