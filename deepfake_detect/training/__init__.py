"""Manifest -> detector: configuration, the loop, its history.

config   TrainingConfig: every choice of a run, written beside its result
loop     train: frozen head first, then fine-tuning; validation AUC selects
"""
