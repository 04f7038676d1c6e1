"""Finished scores -> what they are worth, and what of it goes into a verdict.

    aggregation  faces -> people -> one probability of the clip; scoring uses the same rules
    score_table  scores as columns, what they cover, the videos they belong to
    score_files  scores of any tool from CSV or Parquet, and ours into Parquet
    evaluate     a table of scores -> metrics per video, person and frame, method and slice
    slices       videos by the value of a column
    protocols    in-domain, leave-one-out, cross-dataset, cross-compression as pairs of filters
    submission   answers for the FaceForensics++ benchmark
    compare      several detectors on their common videos, with significance
    calibration  validation scores -> probabilities, threshold, rule, band of "uncertain"
    abstention   error rate against the share of verdicts given
    predict      a detector on the crops of a manifest -> a table of scores
    corruptions  what happens to pictures on their way, at five levels each
    robustness   a detector on changed crops: AUC against level
    seen         which measured videos a detector was trained or selected on
    calibrate    fit what calibration offers on a validation split and write it into the detector
    generators   a judge's features of a generator's samples, and what it takes them for

All but the last six know no network and no video: numbers in, numbers out. The formulas are in
``deepfake_detect.metrics``, the figures in ``deepfake_detect.report``.
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
