"""What labels mean, which video belongs to which split, and crops as tensors.

ffpp        the FaceForensics++ tree as its script downloads it, and its official split
crop_lists  published face crops with a CSV of labels
manifest    one Parquet row per crop
transforms  crop -> tensor, and the augmentation of training
crops       torch dataset and the paired order of training
"""
