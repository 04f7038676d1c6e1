"""A published detector wherever a detector is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import deepfake_detect as dfd
from deepfake_detect.cli.main import main
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.extraction import ExtractionConfig
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.models.zoo.entries import ZOO
from deepfake_detect.models.zoo.entry import ZooFile
from deepfake_detect.records import CropGeometry
from deepfake_detect.runtimes.load import read_config
from deepfake_detect.training.teachers import Teachers
from tests.models.keras_files import write_meso4

NAME, DETECTOR = "tiny", "zoo:tiny"


@pytest.fixture(autouse=True)
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fetched Meso4 with random weights, for crops of the default geometry."""
    monkeypatch.setenv("DEEPFAKE_DETECT_CACHE", str(tmp_path / "cache"))
    entry = replace(
        ZOO["meso4-df"],
        name=NAME,
        files=(ZooFile("https://example.invalid/Meso4.h5"),),
        equivalents=(),
        geometry=CropGeometry(),
    )
    monkeypatch.setitem(ZOO, NAME, entry)
    return dfd.fetch_zoo(NAME, accept_license=True, files=[write_meso4(tmp_path / "Meso4.h5", seed=3)])


def test_calibration_makes_an_ordinary_detector(labeled_crops: Path, portrait: np.ndarray) -> None:
    assert dfd.load_detector(DETECTOR, device="cpu").score_image(portrait).verdict == "score"
    with pytest.warns(UserWarning, match="may be chance"):
        config = dfd.calibrate(DETECTOR, labeled_crops, device="cpu")
    assert config.is_calibrated
    calibrated = dfd.load_detector(DETECTOR, runtime="torch", device="cpu")
    result = calibrated.score_image(portrait)
    assert result.verdict in ("fake", "real", "uncertain")
    assert calibrated.config.training.digests("calibrated")
    check = dfd.verify_zoo(NAME)  # the weights are still the published ones
    assert check.is_calibrated


def test_an_uncalibrated_detector_is_evaluated_without_limits(labeled_crops: Path) -> None:
    facts = DecisionFacts.of_detector(read_config(DETECTOR))
    assert (facts.threshold, facts.uncertain_band) == (0.5, None)
    with pytest.warns(UserWarning, match="does not list the videos it was trained on"):
        found = dfd.evaluate(
            labeled_crops, DETECTOR, split="val", device="cpu", num_resamples=10, show_progress=False
        )
    assert 0 <= found.video.metrics["auc"].value <= 1


def test_an_export_is_as_uncalibrated_as_its_detector(
    labeled_crops: Path, portrait: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = dfd.export(DETECTOR, format="onnx", verify=labeled_crops)
    assert report.path == Path("tiny.onnx")
    exported = dfd.load_detector(report.path)
    original = dfd.load_detector(DETECTOR, runtime="torch", device="cpu")
    assert exported.score_image(portrait).verdict == "score"
    wanted = original.score_crops([portrait])
    np.testing.assert_allclose(exported.score_crops([portrait]), wanted, atol=1e-4)


def test_its_scores_are_explained(portrait: np.ndarray, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(portrait[:256, :256]).save(tmp_path / "crop.png")
    found = dfd.explain(crops=[tmp_path / "crop.png"], detector=DETECTOR, device="cpu", show_progress=False)
    (explanation,) = found.explanations
    assert explanation.heat_map.max() <= 1


def test_it_teaches(portrait: np.ndarray) -> None:
    preprocessing = read_config(DETECTOR).model.preprocessing
    teachers = Teachers(
        [DETECTOR], preprocessing=preprocessing, geometry=CropGeometry(), device=torch.device("cpu")
    )
    images = torch.rand(2, 3, 256, 256)
    assert teachers.logits(images).shape == (2,)
    assert teachers.facts[0].name == NAME


def test_crops_are_cut_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ExtractionConfig(margin=2.0, crops_for=DETECTOR)
    assert config.resolved().geometry == CropGeometry()
    assert config.resolved().settings()["geometry"] == {"margin": 1.3, "aligned": False}
    with pytest.raises(OptionError, match="is not in the zoo"):
        ExtractionConfig(crops_for="zoo:absent").resolved()


def test_crops_for_a_detector_of_several_margins_have_its_widest() -> None:
    with bundled_detector() as path:
        own = read_config(path).geometry
        cut = ExtractionConfig(crops_for=str(path)).resolved().geometry
    assert own.narrowest is not None
    assert cut == CropGeometry(own.margin)


def test_its_card_names_source_and_license(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", "--detector", DETECTOR]) == 0
    shown = capsys.readouterr().out
    assert "none, as it is not calibrated" in shown
    assert "Apache-2.0" in shown
