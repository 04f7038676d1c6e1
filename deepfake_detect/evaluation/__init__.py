"""Scores -> metrics, comparisons and calibration. Numbers only; figures and pages are in ``report``.

    options      what the functions below take, with defaults and ranges
    aggregation  faces -> people -> one probability per clip, in scoring and in evaluation
    score_table  scores as columns, their coverage, and the videos they belong to
    score_files  scores of any tool from CSV or Parquet, and those of an evaluation into Parquet
    decision     how the scores of a detector become verdicts
    evaluate     a table of scores -> metrics per video, track and frame, method and slice
    results      the records of an evaluation, and their JSON
    resampling   what bootstrap intervals resample: videos, or people
    slices       videos by the value of a column
    protocols    in-domain, leave-one-out, cross-dataset, cross-compression as pairs of filters
    compare      detectors on their common videos, with significance
    calibration  validation scores -> probabilities, threshold, aggregation rule, uncertain band
    fusion       from the probabilities of several detectors to one
    combine      learns a fusion from validation scores
    abstention   error rate against the fraction of verdicts
    sources      opens manifests and detectors of any kind
    predict      a detector on the crops of a manifest -> a table of scores
    predictor    any Python function as a detector to measure
    predictions  the same as CSV, one row per crop
    inputs       all that an evaluation needs, from a detector and a manifest, or from scores
    corruptions  JPEG, H.264, blur, noise, ..., at five levels each
    robustness   AUC of a detector on corrupted crops
    seen         evaluated videos that a detector was trained, selected or calibrated on
    calibrate    calibration of a detector file on a validation split

``deepfake_detect.evaluate`` and ``deepfake_detect.compare`` are in ``report.evaluate``, since they also
write the reports.
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
