from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.errors import CheckpointError, OptionError, OutputError
from deepfake_detect.models.config import parse_config
from deepfake_detect.records import ClipResult
from deepfake_detect.report.key_frames import collect_key_frames
from deepfake_detect.runtimes import RUNTIMES, Runtime, load_crop_detector, torch_detector
from deepfake_detect.runtimes.bundle import bundle_detector
from deepfake_detect.runtimes.load import DetectorFile, RuntimeDetector, find_detector
from deepfake_detect.runtimes.sessions import default_num_threads, open_session
from tests.conftest import ROOT

WEIGHTS = ROOT / "deepfake_detect" / "weights"


def probabilities(score: ClipResult) -> list[float]:
    return [face.fake_probability for frame in score.frames for face in frame.faces]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_clip_is_judged_as_by_pytorch(
    runtime: Runtime, small_onnx: Path, small_detector: Path, portrait_clip: Path
) -> None:
    pytest.importorskip("openvino")
    torch = dfd.load_detector(small_detector, runtime="torch", device="cpu")
    wanted = torch.score_video(portrait_clip, num_frames=4)
    detector = dfd.load_detector(small_onnx, runtime=runtime, num_threads=1)
    score = detector.score_video(portrait_clip, num_frames=4)
    of_file = replace(wanted.detector, sha256=hashlib.sha256(small_onnx.read_bytes()).hexdigest())
    assert (score.verdict, score.tracks[0].num_frames, score.detector) == (wanted.verdict, 4, of_file)
    np.testing.assert_allclose(probabilities(score), probabilities(wanted), atol=1e-4)
    assert score.warnings == wanted.warnings
    assert (score.runtime, wanted.runtime) == (runtime, "torch")
    key_frames = collect_key_frames(score, detector)
    assert all(face.heat_map is None for face in key_frames.faces)
    assert "is an export, which has no heat maps" in key_frames.why_no_heat_maps
    with pytest.raises(OptionError, match="scores single crops"):
        detector.score_sequence([])
    assert not detector.is_on_gpu


def test_the_bundled_file_is_made_of_the_bundled_detector(portrait: np.ndarray) -> None:
    """After a change of the default detector: python -m deepfake_detect.runtimes.bundle FILE"""
    detector = load_crop_detector(runtime="onnx", num_threads=1)
    assert isinstance(detector, RuntimeDetector)
    source = (WEIGHTS / "default.safetensors").read_bytes()
    assert detector.metadata["source_sha256"] == hashlib.sha256(source).hexdigest()
    original = torch_detector(detector, purpose="heat maps")
    assert detector.config == original.config
    crops = [portrait[60:180, 170:290], portrait[100:400, 100:400], portrait]
    np.testing.assert_allclose(detector.score_crops(crops), original.score_crops(crops), atol=1e-4)
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 15e6
    # The graph refers to the weights of the other file; it has none of its own.
    assert (WEIGHTS / "default.onnx").stat().st_size < 0.1 * len(source)


def test_a_bundled_graph_refers_to_the_weights_next_to_it(
    small_detector: Path, small_onnx: Path, tmp_path: Path
) -> None:
    assert bundle_detector(small_detector, tmp_path) == tmp_path
    graph = tmp_path / "default.onnx"
    assert {path.name for path in tmp_path.iterdir()} == {"default.onnx", "default.safetensors"}
    assert (tmp_path / "default.safetensors").read_bytes() == small_detector.read_bytes()
    crops = np.full((2, 64, 64, 3), 90, np.uint8)
    wanted = load_crop_detector(small_detector, runtime="torch", device="cpu").score_crops(list(crops))
    (found, _) = open_session(graph, "onnx", num_threads=1).run(crops)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    with pytest.raises(CheckpointError, match="names other files that hold its weights; export"):
        load_crop_detector(graph)  # in the package alone
    with pytest.raises(OutputError, match="cannot be written .No such file or directory.; name an existing"):
        bundle_detector(small_detector, tmp_path / "absent")
    other = DetectorFile(WEIGHTS / "default.safetensors", "onnx", export=small_onnx)
    with pytest.raises(CheckpointError, match="was exported from another detector than .*; delete it"):
        other.open_export(num_threads=1)


def test_a_file_tells_all_that_scoring_must_agree_on(small_onnx: Path, small_detector: Path) -> None:
    detector = load_crop_detector(small_onnx, num_threads=1)
    assert isinstance(detector, RuntimeDetector)
    metadata = detector.metadata
    assert parse_config(small_onnx, metadata) == dfd.load_detector(small_detector).config
    assert metadata["precision"] == "fp32"
    assert json.loads(metadata["agreement"])["num_crops"] == 12
    assert metadata["exported_by"] == f"deepfake_detect {dfd.__version__}"


def test_files_that_are_no_export_are_refused(small_onnx: Path, small_detector: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(small_onnx.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="is not a complete ONNX file"):
        load_crop_detector(cut)
    pytest.importorskip("openvino")
    with pytest.raises(CheckpointError, match="is not a complete ONNX or OpenVINO file"):
        load_crop_detector(cut, runtime="openvino")
    with pytest.raises(CheckpointError, match=r"is not a file of onnx .* export the detector"):
        load_crop_detector(small_detector, runtime="onnx")
    with pytest.raises(CheckpointError, match=r"there is no such file; pass a \.xml or \.onnx file"):
        load_crop_detector(tmp_path / "absent.onnx", runtime="openvino")
    with pytest.raises(CheckpointError, match="is a folder; pass the detector file in it"):
        load_crop_detector(tmp_path)
    with pytest.raises(CheckpointError, match="was written by another library"):
        load_crop_detector(WEIGHTS / "mtcnn_refine.onnx")
    with pytest.raises(OptionError, match="runtime: is 'tvm'; must be one of auto, torch, onnx, openvino"):
        load_crop_detector(small_onnx, runtime="tvm")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"runtime: is torch, and .*\.onnx is an exported detector; set"):
        load_crop_detector(small_onnx, runtime="torch")
    with pytest.raises(OptionError, match="detector: is an export, which has no heat maps; load"):
        torch_detector(load_crop_detector(small_onnx), purpose="heat maps")


def test_the_runtime_that_fits_is_chosen(
    small_onnx: Path, small_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_detector(small_onnx).runtime == "onnx"
    assert find_detector(small_detector, device="cpu").runtime == "onnx"
    assert find_detector(small_detector, device="cpu", precision="bf16").runtime == "torch"
    assert find_detector("default", device="cpu") == find_detector(device="cpu")
    assert find_detector(device="cpu").runtime == "onnx"
    assert find_detector(device="cpu", precision="bf16").runtime == "torch"
    assert find_detector(device="cuda").runtime == "torch"
    monkeypatch.setattr("deepfake_detect.runtimes.load.has_gpu", lambda: True)
    assert [find_detector(one).runtime for one in (None, small_detector, small_onnx)] == [
        "torch",
        "torch",
        "onnx",
    ]


def test_a_runtime_that_is_not_installed_is_named(small_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for runtime, library in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(
            OptionError, match=f"is {runtime}, which is not installed; install the extra 'openvino'"
        ):
            open_session(small_onnx, runtime, num_threads=1)


def test_threads_are_as_many_as_cores_or_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert default_num_threads() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    cores = default_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "9999")
    assert default_num_threads() == cores
