"""Labels and scores -> numbers about a detector. Pure functions over arrays.

    ranking        roc_curve, roc_auc, partial_auc, average_precision, equal_error_rate, tpr_at_fpr:
                   depend on the order of scores only
    decisions      accuracy, balanced_accuracy, apcer, bpcer, acer: need a threshold
    probabilities  log_loss, brier_score, reliability_bins, expected_calibration_error: need
                   probabilities
    bootstrap      all of them (``METRIC_NAMES``) with percentile intervals, and the differences of
                   two detectors
    delong         whether the AUCs of two detectors differ

Fake is the positive class, 1. A sample is called fake when its score is *at or above* the
threshold. Samples of equal score are never put in an order: they enter a curve together.

Every function takes ``weights``: a sample of weight 3 counts as three equal samples, one of weight
0 as absent. A bootstrap draw is therefore nothing but weights, and samples are sorted only once.

A number that the samples leave undefined is NaN, never a made-up value: what compares two classes
(AUC, partial AUC, average precision, equal error rate, TPR at an FPR, balanced accuracy, ACER) is
NaN when one is absent; APCER needs a fake and BPCER a real.
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
