from __future__ import annotations

import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.errors import CheckpointError
from deepfake_detect.models.checkpoint import DetectorConfig, save_detector
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.records import CropGeometry
from deepfake_detect.runtimes import cache, torch_detector
from deepfake_detect.runtimes.cache import cached_export
from deepfake_detect.runtimes.export import export_with_generated_crops


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPFAKE_DETECT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_trained_detector_scores_a_clip_the_same_in_onnx_by_itself(
    small_detector: Path, demo_clip: Path
) -> None:
    torch = dfd.load_detector(small_detector, runtime="torch", device="cpu")
    found = dfd.load_detector(small_detector, device="cpu", num_threads=1)
    wanted, result = (one.score_video(demo_clip, num_frames=4) for one in (torch, found))
    assert (result.runtime, wanted.runtime) == ("onnx", "torch")
    assert result.detector == wanted.detector
    faces = [
        [face.fake_probability for frame in one.frames for face in frame.faces] for one in (result, wanted)
    ]
    np.testing.assert_allclose(*faces, atol=1e-4)
    assert len(faces[0]) >= 4
    # What needs gradients still has them.
    assert torch_detector(found, purpose="heat maps").config == torch.config


def test_the_bundled_detector_scores_a_clip_the_same_in_both_runtimes(demo_clip: Path) -> None:
    found = [
        dfd.load_detector(runtime=runtime, device="cpu", num_threads=1).score_video(demo_clip, num_frames=4)
        for runtime in ("auto", "torch")
    ]
    assert [one.runtime for one in found] == ["onnx", "torch"]
    faces = [[face.fake_probability for frame in one.frames for face in frame.faces] for one in found]
    np.testing.assert_allclose(*faces, atol=1e-4)
    assert found[0].detector == found[1].detector


def test_a_detector_is_exported_once_by_two_at_once(
    small_detector: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Path] = []
    both = threading.Barrier(2)

    def slow(detector: Path, out: Path, **options: float) -> None:
        exported.append(out)
        export_with_generated_crops(detector, out, **options)  # type: ignore[arg-type]

    def found(_: int) -> Path | None:
        both.wait(10)
        return cached_export(small_detector)

    monkeypatch.setattr("deepfake_detect.runtimes.export.export_with_generated_crops", slow)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(found, range(2))
    assert first is not None
    assert first == second
    assert exported == [first]
    assert empty_cache in first.parents
    monkeypatch.setattr(cache, "is_installed", lambda library: False)  # PyTorch is not needed any more
    assert cached_export(small_detector) == first


def test_what_a_killed_export_left_is_removed_by_the_next(small_detector: Path, empty_cache: Path) -> None:
    export = cached_export(small_detector)
    assert export is not None
    left = export.with_name(f".{export.stem}.abc{export.suffix}")
    export.rename(left)
    assert cached_export(small_detector) == export
    assert export.is_file()
    assert not left.exists()


def test_a_sequence_model_goes_to_pytorch_and_the_log_says_why(
    tmp_path: Path, empty_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = create_sequence_model("test_resnet", num_frames=2, image_size=64)
    path = tmp_path / "sequence.safetensors"
    save_detector(path, model, DetectorConfig("s", "1", model.spec, CropGeometry()))
    for _ in range(2):  # the second time from the note in the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert dfd.load_detector(path, device="cpu").runtime == "torch"
        assert "is run by PyTorch, not by ONNX Runtime: detector: is a sequence model" in caplog.text


def test_an_export_that_differs_is_not_used(
    small_detector: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "TOLERANCE", -1.0)
    with caplog.at_level(logging.WARNING):
        assert cached_export(small_detector) is None
    assert "was not written because it differs too much" in caplog.text


def test_without_pytorch_or_a_cache_folder_the_log_says_why(
    small_detector: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(cache, "is_installed", lambda library: False)
        assert cached_export(small_detector) is None
    assert "PyTorch, which exports it, is not there" in caplog.text
    empty_cache.write_text("a file")
    with caplog.at_level(logging.WARNING):
        assert cached_export(small_detector) is None
    assert "cache" in caplog.records[-1].getMessage()


def test_a_damaged_detector_is_an_error_and_not_noted(
    small_detector: Path, empty_cache: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(small_detector.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        dfd.load_detector(cut, device="cpu")
    assert not list(empty_cache.rglob("failure.txt"))


@pytest.mark.parametrize("runtime", ["torch", "auto"])
def test_a_detector_is_pickled_and_used_by_threads(
    runtime: str, small_detector: Path, demo_clip: Path, portrait_clip: Path
) -> None:
    detector = dfd.load_detector(small_detector, runtime=runtime, device="cpu", num_threads=1)  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(detector))
    clips = [demo_clip, portrait_clip]
    wanted = [detector.score_video(clip, num_frames=3).to_dict() for clip in clips]
    assert [again.score_video(clip, num_frames=3).to_dict() for clip in clips] == wanted
    with ThreadPoolExecutor(2) as threads:
        found = threads.map(lambda clip: detector.score_video(clip, num_frames=3).to_dict(), clips * 2)
    assert list(found) == wanted * 2
