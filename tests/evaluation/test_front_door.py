"""evaluate, compare and calibrate as functions: the result of the command, and detectors of any kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES, aggregate_clip, check_rule
from deepfake_detect.evaluation.calibrate import calibrated_config
from deepfake_detect.evaluation.options import CalibrationOptions
from deepfake_detect.evaluation.predict import score_manifest
from deepfake_detect.metrics import METRIC_NAMES, METRICS
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.plugins import PluginPart
from deepfake_detect.runtimes import load_crop_detector
from tests.cli.test_evaluate import scores_csv
from tests.data.trees import crop_manifest, textured_crops
from tests.evaluation.test_calibrate import score_table


def test_scores_are_evaluated_as_by_the_command(tmp_path: Path) -> None:
    path = scores_csv(tmp_path / "s.csv")
    options = ["--threshold", "0.3", "--slice", "dataset", "--bootstrap-draws", "20", "--seed", "3"]
    assert main(["evaluate", "--scores", str(path), "--out", str(tmp_path / "command"), *options]) == 0
    found = dfd.evaluate(
        scores=path,
        out=tmp_path / "python",
        threshold=0.3,
        slice_by=["dataset"],
        num_resamples=20,
        seed=3,
        show_progress=False,
    )
    for name in ("metrics.json", "report.md", "report.html", "scores.parquet"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
    assert json.loads((tmp_path / "python" / "metrics.json").read_text()) == found.to_json()
    configs = [json.loads((tmp_path / one / "config.json").read_text()) for one in ("python", "command")]
    assert configs[0]["slice"] == "['dataset']"
    assert {key for key in configs[0] if configs[0][key] != configs[1][key]} == {"out"}


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [scores_csv(tmp_path / name, shift=shift) for name, shift in (("a.csv", 0.0), ("b.csv", 0.3))]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    dfd.evaluate(scores=paths[0], num_resamples=5, show_progress=False)
    with pytest.warns(UserWarning, match="10 real and 10 fake common videos are too few for p-values"):
        comparison = dfd.compare(paths, names=["x", "y"], num_resamples=5)
    assert list(comparison.detectors) == ["x", "y"]
    assert not list(Path().iterdir())


def test_one_source_is_needed(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="manifest: is missing; pass either a `manifest` or `scores`"):
        dfd.evaluate()
    with pytest.raises(OptionError, match="manifest: excludes `scores`"):
        dfd.evaluate("m.parquet", scores="s.csv")
    with pytest.raises(OptionError, match="detector: needs a manifest, not scores"):
        dfd.evaluate(scores="s.csv", detector="d.safetensors")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a metric and an aggregation rule for one test."""
    for registry in (METRICS, AGGREGATION_RULES):
        for name in ("_parts", "_modules"):
            monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    dfd.register_metric(
        "hits",
        lambda labels, scores, threshold: (scores[labels == 1] >= threshold).sum(),
        title="Fakes found",
    )
    dfd.register_aggregation("highest_face", lambda faces: (float(faces.probabilities.max()), None))


@pytest.mark.usefixtures("registered", "blank_figures")
def test_a_registered_metric_is_in_numbers_and_reports(tmp_path: Path) -> None:
    path, out = scores_csv(tmp_path / "s.csv"), tmp_path / "out"
    command = ["evaluate", "--scores", str(path), "--out", str(out), "--bootstrap-draws", "10"]
    assert main([*command, "--metrics", "hits", "--aggregation", "highest_face"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert tuple(metrics["video"]) == (*METRIC_NAMES, "hits")
    assert metrics["video"]["hits"]["low"] <= metrics["video"]["hits"]["value"]
    assert metrics["per_method"]["swap"]["video"]["hits"] == metrics["video"]["hits"]
    assert metrics["settings"]["aggregation_rule"] == "highest_face"
    assert "highest_face" in metrics["aggregations"]
    assert "Fakes found" in (out / "report.md").read_text()
    assert "Fakes found" in (out / "report.html").read_text()
    again = dfd.evaluate(scores=out, metrics=["hits"], num_resamples=10, show_progress=False)
    assert again.to_json() == metrics


def test_an_unknown_metric_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = scores_csv(tmp_path / "s.csv")
    assert main(["evaluate", "--scores", str(path), "--out", str(tmp_path / "o"), "--metrics", "f2"]) == 2
    assert "error: --metrics: is 'f2'; must be one of auc, accuracy" in capsys.readouterr().err


@pytest.mark.usefixtures("registered")
def test_a_detector_names_the_plugin_of_its_rule(
    small_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def best(areas: object, clips: object, labels: object) -> tuple[str, list[float]]:
        return "highest_face", []

    monkeypatch.setattr("deepfake_detect.evaluation.calibrate.best_aggregation", best)
    _, config = read_detector(small_detector)
    found = calibrated_config(score_table(), config, CalibrationOptions(choose_aggregation=True))
    (part,) = found.plugins
    assert (part.kind, part.name, part.distribution) == ("aggregation_rule", "highest_face", "tests")
    assert aggregate_clip([0], [0.5], rule="highest_face").fake_probability == 0.5
    # Calibrated again with a built-in rule it needs the plug-in no longer.
    monkeypatch.undo()
    assert calibrated_config(score_table(), config, CalibrationOptions()).plugins == ()
    absent = PluginPart("aggregation_rule", "lowest", "others", "1.0")
    with pytest.raises(OptionError, match="is 'lowest', and the .*'lowest' of the plug-in others 1.0 is not"):
        check_rule("lowest", (absent,))


def test_an_export_is_evaluated_like_its_detector(tmp_path: Path) -> None:
    rows = dfd.read_manifest(crop_manifest(tmp_path / "m", textured_crops(2, "test", size=200)))
    detectors: list[BaseDetector] = [
        load_crop_detector(runtime="torch", device="cpu"),
        load_crop_detector(runtime="onnx"),
    ]
    tables = [
        score_manifest(one, rows, split="test", num_workers=0, show_progress=False)[0] for one in detectors
    ]
    np.testing.assert_allclose(tables[1].details["logit"], tables[0].details["logit"], atol=2e-3)
    np.testing.assert_allclose(tables[1].fake_probability, tables[0].fake_probability, atol=1e-4)
    found = dfd.evaluate(
        rows, detectors[1], num_resamples=5, num_workers=0, robustness=["blur"], show_progress=False
    )
    assert len(found.video.labels) == 4
    assert found.robustness is not None


def test_a_calibration_needs_a_detector_file(tmp_path: Path) -> None:
    from deepfake_detect.models.bundled import BUNDLED_ONNX, bundled_detector

    manifest = crop_manifest(tmp_path / "m", textured_crops(2, "val"))
    with (
        bundled_detector(BUNDLED_ONNX) as path,
        pytest.raises(OptionError, match="is an export, .* calibrate the detector.safetensors that it was"),
    ):
        dfd.calibrate(path, manifest)
    with pytest.raises(CheckpointError, match="there is no such detector file"):
        dfd.calibrate("default", manifest)
