from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.errors import CheckpointError, ManifestError, OptionError, OutputError
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector, update_detector
from deepfake_detect.models.config import Calibration, IsotonicCalibration, PlattCalibration
from deepfake_detect.models.detector import calibrated_probabilities
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.records import CropGeometry
from deepfake_detect.runtimes import load_crop_detector
from deepfake_detect.runtimes.agreement import Agreement, crops_of_demo
from deepfake_detect.runtimes.export import SUFFIXES, export
from deepfake_detect.runtimes.graph import DetectorGraph
from tests.data.trees import crop_manifest, textured_crops


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (64, 90, 33)]


@pytest.mark.parametrize(
    ("runtime", "format", "precision", "tolerance"),
    [
        ("onnx", "onnx", "fp16", 0.01),
        ("onnx", "onnx", "int8", 0.1),
        ("openvino", "openvino", "fp32", 0.001),
        ("openvino", "openvino", "fp16", 0.01),
        ("openvino", "openvino", "bf16", 0.05),
    ],
)
def test_an_export_judges_as_the_original(
    runtime: str,
    format: str,
    precision: str,
    tolerance: float,
    small_detector: Path,
    crops: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip(runtime if runtime == "openvino" else "onnxruntime")
    calibrate = crops if precision == "int8" else None
    out = tmp_path / f"a{'.onnx' if format == 'onnx' else '.xml'}"
    report = export(
        small_detector, format=format, precision=precision, out=out, verify=crops, calibrate=calibrate
    )
    assert report.tolerance == tolerance
    assert report.agreement.auc_difference is not None
    assert report.num_bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    detector = load_crop_detector(out, runtime=runtime, num_threads=1)
    assert detector.metadata["precision"] == precision
    original = dfd.load_detector(small_detector, device="cpu")
    assert detector.config == original.config
    found, wanted = detector.score_crops(images()), original.score_crops(images())
    np.testing.assert_allclose(found, wanted, atol=tolerance)
    assert precision == "fp32" or not np.array_equal(found, wanted)
    weights = out.with_suffix(".bin") if format == "openvino" else out
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="its weights are not those that were written .checksum."):
        load_crop_detector(out, runtime=runtime, num_threads=1)


def test_torch_export_can_be_loaded_by_torch_alone(small_detector: Path, crops: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pt2"
    export(small_detector, format="torch-export", out=out, verify=crops)
    facts = {"config": "", "source_sha256": ""}
    network = torch.export.load(str(out), extra_files=facts).module()
    assert '"name": "small"' in facts["config"]
    assert len(facts["source_sha256"]) == 64
    batch = np.stack([images()[0]] * 3)
    probabilities, logits = network(torch.from_numpy(batch))
    wanted = dfd.load_detector(small_detector, device="cpu")
    np.testing.assert_allclose(probabilities.detach().numpy(), wanted.score_crops(list(batch)), atol=1e-5)
    np.testing.assert_allclose(logits.detach().numpy(), wanted.logits(list(batch)), atol=1e-4)


CALIBRATIONS = [
    None,
    PlattCalibration(-0.7, 0.4),
    IsotonicCalibration((-1.0, 0.5, 0.5, 2.0), (0.1, 0.2, 0.6, 0.95)),
]


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_the_calibration_is_in_the_network(calibration: Calibration | None, small_detector: Path) -> None:
    model, config = read_detector(small_detector)
    config = replace(config, temperature=1.7, calibration=calibration)
    graph = DetectorGraph(model, config)
    logits = torch.tensor([-9.0, -1.7, -0.3, 0.2, 0.84, 0.86, 1.9, 3.5, 50.0])
    wanted = calibrated_probabilities(logits.numpy().astype(np.float64), 1.7, calibration)
    np.testing.assert_allclose(graph.calibration(logits).numpy(), wanted, atol=1e-6)


def test_an_export_that_judges_otherwise_is_not_written(
    small_detector: Path, crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.onnx"
    arguments = ["export", "--detector", str(small_detector), "--format", "onnx", "--precision", "fp16"]
    arguments += ["--verify", str(crops), "--out", str(out)]
    assert main([*arguments, "--tolerance", "0"]) == 2
    error = capsys.readouterr().err
    assert "a.onnx: was not written because it differs too much: largest difference" in error
    assert "allowed is 0; choose another precision" in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert main(arguments) == 0
    assert f"wrote {out} (" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("format", ["onnx", "torch-export"])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    format: Any, small_detector: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fill)
    out = tmp_path / f"a{SUFFIXES[format]}"
    with pytest.raises(OutputError, match=r"a\.\w+: cannot be written \(No space left on device\)"):
        export(small_detector, format=format, verify=crops, out=out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "format: is 'tflite'; must be one of onnx, openvino, torch-export"),
        (
            {"precision": "bf16"},
            r"precision: is bf16, which onnx does not have \(ONNX Runtime has no bf16 convolution",
        ),
        ({"precision": "int4"}, "precision: is 'int4'; must be one of fp32, fp16, bf16, int8"),
        ({"format": "torch-export", "precision": "int8"}, "which torch-export does not have"),
        ({"precision": "int8"}, "calibrate: is missing, and int8 needs it; pass a manifest"),
        ({"calibrate": "m.parquet"}, "calibrate: is for int8, not fp32"),
        ({"tolerance": 2.0}, r"tolerance: is 2.0; must be 0 to 1"),
        ({"out": "a.pt"}, r"out: is a.pt; must end in \.onnx"),
    ],
)
def test_options_that_cannot_be_had_are_refused(
    options: dict[str, Any], message: str, small_detector: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        export(small_detector, **{"format": "onnx", **options})


def test_what_cannot_be_exported_or_compared_is_refused(
    small_detector: Path, crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = create_sequence_model("test_resnet", temporal="lstm", hidden=8, image_size=64)
    sequence = tmp_path / "s.safetensors"
    save_detector(sequence, model, DetectorConfig("s", "1", model.spec, CropGeometry()))
    with pytest.raises(OptionError, match="is a sequence model, which cannot be exported"):
        export(sequence, format="onnx")
    (tmp_path / "d.onnx").mkdir()
    with pytest.raises(OutputError, match="is not a regular file; choose a file to write"):
        export(small_detector, format="onnx", out=tmp_path / "d.onnx")
    with pytest.raises(CheckpointError, match="there is no such detector file"):
        export(tmp_path / "absent.safetensors", format="onnx")
    config = read_detector(small_detector)[1]
    with pytest.raises(OptionError, match="is required if there is no demonstration clip"):
        crops_of_demo(config, clip=tmp_path / "absent.mp4")
    empty = crop_manifest(tmp_path / "m", textured_crops(0, "val"))
    with pytest.raises(ManifestError, match="has no rows"):
        export(small_detector, format="onnx", verify=empty)
    for arguments in ([], ["--format", "onnx", "--faces", str(tmp_path)]):
        assert main(["export", *arguments]) == 2
        assert "--format: or --faces is required, but not both; set what to export" in capsys.readouterr().err


def test_without_a_place_it_lies_beside_the_detector(
    small_detector: Path, crops: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "d.safetensors"
    copy.write_bytes(small_detector.read_bytes())
    update_detector(copy, threshold=0.25)
    assert export(copy, format="onnx", verify=crops).path == tmp_path / "d.onnx"
    assert load_crop_detector(tmp_path / "d.onnx", num_threads=1).config.threshold == 0.25


def test_agreement_is_told_in_words() -> None:
    both = Agreement(10, "m", 0.02, 0.9, 0.85)
    assert both.auc_difference == pytest.approx(0.05)
    assert both.line().endswith("AUC 0.9000, of the original 0.8500")
