"""What is gained by not judging the least sure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.abstention import abstain, risk_coverage
from deepfake_detect.evaluation.calibration import choose_uncertain_band


def samples(seed=0, size=200):
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=size)
    logits = generator.normal(1.5 * labels - 0.75, 1.2)
    return labels, np.round(1 / (1 + np.exp(-logits)), 2).clip(0.01, 0.99)


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_the_curve_is_that_of_a_loop_over_bands(threshold):
    labels, values = samples()
    curve = risk_coverage(labels, values, threshold=threshold)
    sureness = np.abs(np.log(values / (1 - values)) - np.log(threshold / (1 - threshold)))
    for coverage, risk in zip(curve.coverage, curve.risk, strict=True):
        count = round(coverage * len(labels))
        given = np.argsort(-sureness, kind="stable")[:count]
        assert risk == pytest.approx(np.mean((values[given] >= threshold) != labels[given]))
    assert curve.coverage[-1] == 1.0
    assert (np.diff(curve.coverage) > 0).all()
    steps = np.diff(np.concatenate([[0.0], curve.coverage]))
    assert curve.area == pytest.approx((steps * curve.risk).sum())
    assert curve.area < curve.risk[-1]  # the nms are right more often than all


def test_a_band_from_validation_lies_on_the_curve():
    labels, values = samples(1)
    band = choose_uncertain_band(labels, values, threshold=0.5, target_accuracy=0.9)
    found = abstain(labels, values, threshold=0.5, band=band)
    assert found.accuracy_certain >= 0.9 > found.accuracy_all
    curve = risk_coverage(labels, values, threshold=0.5)
    at = np.abs(curve.coverage - found.share_certain).argmin()
    assert curve.risk[at] == pytest.approx(1 - found.accuracy_certain, abs=0.02)


def test_ends_of_the_band_are_certain_and_an_empty_rest_has_no_accuracy():
    found = abstain([0, 1], [0.25, 0.75], threshold=0.5, band=(0.25, 0.75))
    assert (found.share_certain, found.accuracy_certain) == (1.0, 1.0)
    nothing = abstain([0, 1], [0.25, 0.75], threshold=0.5, band=(0.0, 1.0))
    assert nothing.share_certain == 0.0
    assert math.isnan(nothing.accuracy_certain)


def test_bad_options_are_rejected():
    with pytest.raises(OptionError, match="threshold: is 1.0; must be between 0 and 1"):
        risk_coverage([0, 1], [0.1, 0.9], threshold=1.0)
    with pytest.raises(OptionError, match="scores: is empty"):
        risk_coverage([], [], threshold=0.5)
