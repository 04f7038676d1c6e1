"""What finds the faces: without PyTorch on a CPU, with the same crops."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import DeviceError, OptionError
from deepfake_detect.extraction import engines
from deepfake_detect.extraction.engines import choose_runtime
from tests.conftest import ROOT
from tests.data.trees import ffpp_tree
from tests.extraction.conftest import Extracted
from tests.extraction.helpers import CONFIG, extract

MAX_SHIFT_PIXELS = 0.05  # of a box or a landmark, between two runtimes


@pytest.fixture
def real_tree(tmp_path: Path, real_data: Callable[[str], Path]) -> Path:
    clips = [real_data(f"videos/{name}.mp4") for name in ("003_000", "abofeumbvv")]
    return ffpp_tree(tmp_path / "real", {f"youtube/c23/00{n}": clip for n, clip in enumerate(clips)})


def test_boxes_of_real_clips_are_those_of_pytorch(real_tree: Path, tmp_path: Path) -> None:
    tables = []
    for runtime in ("torch", "onnx"):
        extract(real_tree, tmp_path / runtime, runtime=runtime)
        tables.append(read_manifest(tmp_path / runtime).table)
        assert set(tables[-1]["face_runtime"].to_pylist()) == {runtime}
    wanted, found = tables
    assert len(wanted) >= 6
    for name in ("video_id", "frame_index", "track_id", "path"):
        assert found[name].equals(wanted[name])
    for name in ("box_xyxy", "landmarks_xy"):
        one, other = (np.array(table[name].to_pylist()) for table in tables)
        np.testing.assert_allclose(one, other, atol=MAX_SHIFT_PIXELS)
    sides = [np.array(table["native_size"]) for table in tables]
    np.testing.assert_allclose(*sides, atol=1)  # a crop's corners are whole pixels


def test_neither_the_run_nor_its_workers_import_pytorch(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('torch was imported')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(ROOT / "tools" / "extract_faces.py"), str(tree), "--frames", "1"]
    options = ["--methods", "Face2Face,FaceSwap", "--device", "cpu", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": path}
    arguments = [*command, *options, "--out", str(tmp_path / "out")]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_manifest(tmp_path / "out").column("face_runtime").tolist() == ["onnx"] * 3


def test_auto_is_pytorch_only_where_it_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    assert choose_runtime("auto", "auto") == choose_runtime("onnx", "auto") == ("onnx", "cpu")
    assert choose_runtime("torch", "cpu") == ("torch", "cpu")
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    assert choose_runtime("auto", "cpu") == ("onnx", "cpu")
    assert choose_runtime("auto", "auto")[0] == "torch"
    with pytest.raises(
        OptionError, match="device: is cuda, and ONNX Runtime detects faces on the CPU only; set"
    ):
        choose_runtime("onnx", "cuda")
    with pytest.raises(OptionError, match="device: is 'tpu'; must be auto, cpu, cuda or cuda:N"):
        choose_runtime("auto", "tpu")
    with pytest.raises((DeviceError, OptionError), match="CUDA device"):
        choose_runtime("auto", "cuda:99")
    monkeypatch.setattr(engines, "is_installed", lambda library: False)
    assert choose_runtime("auto", "auto") == ("onnx", "cpu")
    with pytest.raises(OptionError, match="runtime: needs torch, which is not installed; install the extra"):
        choose_runtime("torch", "cpu")


def test_rows_of_an_older_run_have_no_runtime(whole: Extracted, tmp_path: Path) -> None:
    out = whole.copy(tmp_path / "out")
    old = out / "index" / "FaceForensics++" / "FaceSwap" / "c23" / "000_003.parquet"
    pq.write_table(pq.read_table(old, partitioning=None).drop_columns("face_runtime"), old)
    assert extract(whole.tree, out).num_done_before == 5
    manifest = read_manifest(out)
    is_old = manifest.column("method") == "FaceSwap"
    assert set(manifest.column("face_runtime")[is_old]) == {None}
    assert set(manifest.column("face_runtime")[~is_old]) == {"onnx"}
    assert CONFIG.num_frames == is_old.sum()
