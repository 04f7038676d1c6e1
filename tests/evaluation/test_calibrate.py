"""Platt, isotonic, the goal of a threshold, the rule that validation picks, and what a file keeps of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation import ScoreTable, aggregate_clip, choose_threshold
from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES, clip_faces
from deepfake_detect.evaluation.calibrate import aggregation_lines, calibrate, calibrated_config
from deepfake_detect.evaluation.calibration import (
    choose_aggregation,
    fit_clip_weights,
    fit_isotonic,
    fit_platt,
)
from deepfake_detect.evaluation.options import CalibrationOptions
from deepfake_detect.evaluation.seen import seen_notes
from deepfake_detect.metrics import expected_calibration_error, log_loss, roc_auc
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector
from deepfake_detect.models.config import IsotonicCalibration
from deepfake_detect.models.inference import calibrated_probabilities
from tests.data.trees import crop_manifest, textured_crops


def lopsided(size=3000, seed=0):
    """Logits whose true probability is sigmoid(logit / 3 - 1): too sure, and leaning to fake."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(1.0, 4.0, size)
    return logits, (generator.random(size) < expit(logits / 3 - 1)).astype(int)


def test_platt_finds_the_line_that_made_the_labels():
    line = fit_platt(*lopsided(20000))
    assert (line.slope, line.intercept) == (pytest.approx(1 / 3, rel=0.05), pytest.approx(-1, rel=0.05))


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_probabilities_of_new_samples_get_better(fit):
    calibration = fit(*lopsided())
    logits, labels = lopsided(seed=1)
    before, after = expit(logits), calibrated_probabilities(logits, 1.0, calibration)
    assert log_loss(labels, after) < 0.8 * log_loss(labels, before)
    assert expected_calibration_error(labels, after) < 0.3 * expected_calibration_error(labels, before)
    assert roc_auc(labels, after) == pytest.approx(roc_auc(labels, before), abs=0.005)


def test_isotonic_equals_scikit_learn_save_at_0_and_1():
    logits, labels = lopsided(300)
    ours = calibrated_probabilities(np.linspace(-20, 20, 401), 1.0, fit_isotonic(logits, labels))
    theirs = IsotonicRegression(out_of_bounds="clip").fit(logits, labels).predict(np.linspace(-20, 20, 401))
    np.testing.assert_allclose(ours, np.clip(theirs, 1 / 302, 301 / 302), atol=0.004)
    assert (np.diff(ours) >= 0).all()
    assert (ours.min(), ours.max()) == (1 / 302, 301 / 302)


def test_a_line_stays_finite_for_samples_that_a_cut_divides_and_falls_for_none():
    line = fit_platt([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1])
    assert np.isfinite(line.slope)
    with pytest.raises(OptionError, match="logits: are higher for reals than for fakes"):
        fit_platt([-2.0, -1.0, 1.0, 2.0], [1, 1, 0, 0])


def slow_threshold(labels, values, max_fpr):
    """Return the best (fakes found, reals not called fake) over every cut."""
    ordered = np.unique(values)
    best = (-1, -1)
    for cut in (ordered[:-1] + ordered[1:]) / 2:
        called = values >= cut
        if called[labels == 0].mean() <= max_fpr + 1e-12:
            best = max(best, (called[labels == 1].sum(), (~called[labels == 0]).sum()))
    return best


@pytest.mark.parametrize("max_fpr", [0.0, 0.01, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_for_a_highest_false_positive_rate(seed, max_fpr):
    generator = np.random.default_rng(seed)
    labels = np.arange(100) % 2
    values = np.round(np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1), 2)
    values[-1] = 1.0  # a fake on top, so that every limit can be met
    values[labels == 0] = np.minimum(values[labels == 0], 0.99)
    threshold = choose_threshold(labels, values, max_fpr=max_fpr)
    called = values >= threshold
    found = (called[labels == 1].sum(), (~called[labels == 0]).sum())
    assert found == slow_threshold(labels, values, max_fpr)


def test_a_rate_that_cannot_be_met_is_an_error():
    with pytest.raises(OptionError, match="max_fpr: every threshold calls more than 0.1 of the 2 reals fake"):
        choose_threshold([0, 1, 0], [1.0, 0.5, 0.1], max_fpr=0.1)


def test_a_real_on_top_leaves_a_threshold_that_calls_none_fake():
    assert choose_threshold([0, 1, 0], [0.9, 0.5, 0.1], max_fpr=0.1) == pytest.approx(0.95)
    highest = np.nextafter(1.0, 0.0)
    assert choose_threshold([0, 1, 0], [highest, 0.5, 0.1], max_fpr=0.1) > highest


def clips(kind, count=80, seed=0):
    """Videos of 12 faces; the fakes are forged in all frames a little, or in three frames heavily."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    faces = []
    for label in labels:
        logits = generator.normal(-1.0, 1.0, 12)
        if label:
            logits[: 3 if kind == "parts" else 12] += 3.0 if kind == "parts" else 1.0
        faces.append(clip_faces(np.zeros(12, int), expit(logits), frame_indices=np.arange(12)))
    return faces, labels


def test_validation_picks_the_rule_that_fits_the_forgery():
    rule, weights = choose_aggregation(*clips("parts"))
    assert rule in ("top_k_mean", "logistic")
    assert bool(weights) == (rule == "logistic")
    # Too few videos to evaluate a learned rule: it is left out.
    rule, weights = choose_aggregation(*clips("parts", count=40))
    assert (rule, weights) == ("top_k_mean", [])


def test_the_learned_rule_is_as_good_as_the_best_of_its_parts_on_new_videos():
    faces, labels = clips("parts", count=400)
    weights = fit_clip_weights(faces, labels)
    new, new_labels = clips("parts", count=400, seed=1)
    areas = {
        rule: roc_auc(new_labels, [AGGREGATION_RULES[rule](replace(one, weights=weights))[0] for one in new])
        for rule in ("mean", "median", "top_k_mean", "logistic")
    }
    assert areas["logistic"] > max(areas["mean"], areas["median"]) + 0.02
    assert areas["logistic"] > areas["top_k_mean"] - 0.01


def score_table(seed=0):
    logits, labels = lopsided(400, seed)
    return ScoreTable(
        video_id=np.array([f"v{number}" for number in range(400)]),
        method=np.where(labels == 1, "fake", "real"),
        label=labels,
        track_id=np.zeros(400, int),
        frame_index=np.zeros(400, int),
        fake_probability=expit(logits),
        details={"logit": logits},
    )


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_threshold_and_band_are_those_of_the_calibrated_probabilities(
    method: str, small_detector: Path, tmp_path: Path
) -> None:
    _, config = read_detector(small_detector)
    table = score_table()
    options = CalibrationOptions(method, max_fpr=0.05, target_accuracy=0.9)  # type: ignore[arg-type]
    found = calibrated_config(table, config, options)
    values = calibrated_probabilities(table.details["logit"], found.temperature, found.calibration)
    called = values >= found.threshold
    assert 0.03 < called[table.label == 0].mean() <= 0.05
    assert found.uncertain_low <= found.threshold <= found.uncertain_high
    # It is kept in the file to the last bit.
    path = tmp_path / "d.safetensors"
    path.write_bytes(small_detector.read_bytes())
    save_detector(path, read_detector(small_detector)[0], found)
    assert read_detector(path)[1] == found


@pytest.mark.filterwarnings("ignore:the probabilities stay uncalibrated")
@pytest.mark.parametrize("seed", range(3))
def test_a_detector_that_may_be_at_chance_gives_no_verdict(seed: int, small_detector: Path) -> None:
    _, config = read_detector(small_detector)
    table = score_table()
    shuffled = replace(table, label=np.random.default_rng(seed).permutation(table.label))
    with pytest.warns(
        UserWarning, match=r"'uncertain': its AUC of 0.\d+ over \d+ real .* may be chance; train"
    ):
        found = calibrated_config(shuffled, config, CalibrationOptions(target_accuracy=0.01))
    assert (found.uncertain_low, found.uncertain_high) == (0.0, 1.0)
    some = table.take(
        np.flatnonzero(table.label)[:3].tolist() + np.flatnonzero(table.label == 0)[:3].tolist()
    )
    perfect = replace(some, details={"logit": np.where(some.label == 1, 1.0, -1.0)})
    found = calibrated_config(perfect, config, CalibrationOptions())
    assert found.uncertain_low == found.uncertain_high == found.threshold


def test_a_calibration_that_is_none_is_rejected() -> None:
    for knots in (((), ()), ((0.0, 1.0), (0.5,)), ((1.0, 0.0), (0.2, 0.5)), ((0.0,), (7.0,))):
        with pytest.raises(OptionError, match="calibration: (needs one probability|has logits out of order)"):
            IsotonicCalibration(*knots)
    with pytest.raises(OptionError, match="method: is 'beta'; must be one of temperature, platt, isotonic"):
        CalibrationOptions("beta")  # type: ignore[arg-type]


def test_the_command_writes_into_the_detector_and_rejects_the_test_split(
    small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = crop_manifest(tmp_path / "m", textured_crops(30, "val") + textured_crops(2, "test"))
    path = tmp_path / "d.safetensors"
    path.write_bytes(small_detector.read_bytes())
    command = ["calibrate", "--detector", str(path), "--manifest", str(manifest), "--device", "cpu"]
    assert main([*command, "--method", "isotonic", "--choose-aggregation", "--target-accuracy", "0.5"]) == 0
    config: DetectorConfig = read_detector(path)[1]
    assert isinstance(config.calibration, IsotonicCalibration)
    shown = capsys.readouterr().out
    assert "isotonic, temperature 1.000, threshold" in shown
    # What each rule is worth on validation is printed and kept, the one taken first.
    areas = config.training.aggregation_auc
    assert set(areas) == set(AGGREGATION_RULES)
    assert areas[config.aggregation_rule] == max(areas.values())
    assert shown.startswith(f"  {config.aggregation_rule:<22} validation AUC ")
    assert shown.splitlines()[0].endswith("(used)")
    assert len(aggregation_lines(config)) == len(AGGREGATION_RULES)
    rule = config.aggregation_rule
    options = {"frame_indices": [0], "weights": config.aggregation_weights}
    assert 0 <= aggregate_clip([0], [0.5], rule=rule, **options).fake_probability <= 1
    for split in ("test", "all"):
        assert main([*command, "--split", split]) == 2
        assert f"--split: is {split}, and test videos are only for evaluation" in capsys.readouterr().err
    with pytest.raises(OptionError, match="split: is test"):
        calibrate(path, manifest, split="test")


def test_the_videos_of_a_calibration_are_recognized(small_detector: Path, tmp_path: Path) -> None:
    """They are recognized in another split of another manifest."""
    path = tmp_path / "d.safetensors"
    path.write_bytes(small_detector.read_bytes())
    crops = textured_crops(6, "val")
    manifest = crop_manifest(tmp_path / "m", crops)
    measured = crop_manifest(
        tmp_path / "n", [(name, label, "test", image) for name, label, _, image in crops]
    )
    config = calibrate(path, manifest, device="cpu", target_accuracy=0.01)
    prefixes = config.training.video_sha256_prefixes
    assert list(prefixes["calibrated"]) == video_digests(read_manifest(manifest))
    assert (prefixes["train"], prefixes["val"]) == ((), ())
    (note,) = seen_notes(config.training, read_manifest(measured).split("test"))
    assert "the detector was calibrated on 12 of the 12 evaluated videos: these figures" in note
    assert config.aggregation_rule == "most_suspicious_track"  # validation picks where it is asked to
    assert "validation AUC" in aggregation_lines(config)[0]
    # Another calibration forgets none.
    where = "target_id in ('val0', 'val1', 'val2')"
    with pytest.warns(UserWarning, match="its AUC of 0.778 over 3 real and 3 fake validation videos may be"):
        again = calibrate(path, manifest, where=where, device="cpu", target_accuracy=0.01)
    assert (again.uncertain_low, again.uncertain_high) == (0.0, 1.0)
    assert again.training.video_sha256_prefixes["calibrated"] == prefixes["calibrated"]
