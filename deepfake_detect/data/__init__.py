"""What labels mean, which video belongs to which split, and crops as tensors.

layouts     datasets as their owners ship them, a small reader each
splits      official splits kept, others made of connected groups of people
identities  who is the same person over several datasets
index       one Parquet row per video
crop_lists  published face crops with a CSV of labels
manifest    one Parquet row per crop; failures beside it
rows        what index and manifest share: filters, samples, columns read on demand
merge       several files into one, filtered and sampled
audit       what splits share and should not; crop_hashes tells crops that look alike
leaks       what training and evaluation refuse of it
pack        crops of a manifest into numbered tar shards
shards      crops inside tar files
transforms  crop -> tensor, and the augmentation of training
crops       torch dataset and the paired order of training
"""
