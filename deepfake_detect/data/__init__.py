"""Datasets, labels and splits, manifests of face crops, and crops as tensors.

layouts         dataset layouts: one small reader for each; register_layout
datasets        index_dataset: the videos of a dataset, with official splits or new ones
splits          official splits are kept, others are made of connected groups of people
identities      identities that are the same person in several datasets
index           one Parquet row per video
crop_lists      import_crops: published face crops with a CSV of labels
manifest        one Parquet row per crop; failures: videos without crops
fetched         manifests behind URLs
rows            filters, samples and columns of index and manifest
merge           several files into one, filtered and sampled
audit           what splits have in common but should not
compare_names   by videos, identities and paths; compare_crops by images
fingerprints    crops that look alike; crop_hashes stores the fingerprints
audit_report    results of an audit
leaks           which of them end training and evaluation
pack            crops of a manifest in numbered tar shards
shards          crops inside tar files
transforms      crop -> tensor, and the augmentations of training; register_augmentation
crops           PyTorch dataset and the paired order of training; clips: sequences of crops
options         options of these functions
"""
