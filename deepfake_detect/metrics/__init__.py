"""Labels and scores -> metrics with intervals. Pure functions of arrays.

    ranking        roc_curve, roc_auc, partial_auc, average_precision, equal_error_rate, tpr_at_fpr:
                   depend only on the order of the scores
    decisions      accuracy, balanced_accuracy, apcer, bpcer, acer: need a threshold
    probabilities  log_loss, brier_score, reliability_bins, expected_calibration_error: need
                   probabilities
    registry       the names of all of them, and register_metric to add others
    bootstrap      all of them over resamples, and the differences of two detectors
    intervals      intervals from resamples, and from how many groups on there is one
    delong         whether the AUCs of two detectors differ

Fake is the positive class, 1. A sample is called fake when its score is *at or above* the
threshold. Samples of equal score have no order: they enter a curve together.

Every function takes ``weights``: a sample of weight 3 counts as three equal samples, one of weight
0 as absent. A bootstrap resample is therefore only a set of weights, and samples are sorted once.

A metric that is undefined is NaN: metrics that compare two classes (AUC, partial AUC, average
precision, equal error rate, TPR at an FPR, balanced accuracy, ACER) are NaN when one is absent; APCER
needs a fake and BPCER a real.
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
