"""Where PyTorch and most else is not installed, clips are judged all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import deepfake_detect as dfd
from deepfake_detect.report.words import HEADLINES
from tests.conftest import ROOT

# Everything but the standard library is refused, save what a slim installation has.
_SLIM = """
import sys

THERE = {"deepfake_detect", "lazy_loader", "numpy", "cv2", "onnxruntime", "av", "rich", "jinja2", "PIL"}
THERE |= {"filelock", "platformdirs"}
THERE |= {"google", "flatbuffers", "packaging", "markupsafe", "pygments", "markdown_it", "mdurl"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in THERE and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
        return None

sys.meta_path.insert(0, Refuse())
"""
_RUN = "from deepfake_detect.cli import main; code = main(sys.argv[1:])"
_HEAVY = ("torch", "torchvision", "timm", "facenet_pytorch", "scipy", "sklearn", "pyarrow", "matplotlib")


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


def slim(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run(f"{_SLIM}\n{_RUN}; sys.exit(code)", *arguments)


def assert_same_verdict(values: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in ("verdict", "num_frames_scored", "detector"):
        assert values[name] == wanted[name]
    assert values["fake_probability"] == pytest.approx(wanted["fake_probability"], abs=0.005)
    for frame, other in zip(values["frames"], wanted["frames"], strict=True):
        assert frame["frame_index"] == other["frame_index"]
        assert frame["time_seconds"] == pytest.approx(other["time_seconds"], abs=1e-6)
        for face, another in zip(frame["faces"], other["faces"], strict=True):
            assert face["track_id"] == another["track_id"]
            assert face["box_xyxy"] == pytest.approx(another["box_xyxy"], abs=0.5)
    assert values.keys() == wanted.keys()
    assert (values["runtime"], wanted["runtime"]) == ("onnx", "torch")


def test_a_clip_is_judged_without_pytorch_out_of_the_box(demo_clip: Path) -> None:
    done = slim("score-video", demo_clip, "--frames", "4", "--json", "-")
    assert done.returncode == 0, done.stderr
    torch = dfd.load_detector(runtime="torch", device="cpu")
    wanted = torch.score_video(demo_clip, num_frames=4).to_dict()
    assert_same_verdict(json.loads(done.stdout), {**wanted, "provenance": None})
    assert f"{demo_clip}: {HEADLINES[wanted['verdict']]}, fake probability " in done.stderr


def test_several_clips_bad_ones_among_them_are_judged_in_processes(
    demo_clip: Path, small_onnx: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    names = [demo_clip, tmp_path / "bad.mp4", tmp_path / "absent.mp4"]
    options = ["--runtime", "onnx", "--detector", small_onnx, "--frames", "2", "--workers", "1"]
    done = slim("score-video", *names, *options)
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [str(demo_clip)]
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/bad.mp4: is not a video FFmpeg can open (Invalid data found when processing "
        "input); pass a video or image file",
        f"error: {tmp_path}/absent.mp4: there is no such file; check the path",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["score-video", "a.mp4", "--results", "r.parquet"],
            "--results: needs pyarrow, which is not installed; install the extra 'train' (docs/install.md)",
        ),
        (["score-video", "a.mp4", "--out", "o"], "--out: needs matplotlib, which is not installed"),
        (["app"], "app: needs uvicorn, which is not installed; install the extra 'app'"),
        (["score-video", "a.mp4", "--runtime", "torch"], "--runtime: is torch, which is not installed"),
        (["score-video", "a.mp4", "--runtime", "openvino"], "--runtime: is openvino, which is not installed"),
        (["train", "--manifest", "m", "--out", "o", "--backbone", "b"], "train: needs "),
    ],
)
def test_what_needs_more_says_so_in_one_line(arguments: list[str], message: str) -> None:
    done = slim(*arguments)
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_installation_loads_no_pytorch_for_another_runtime(
    small_onnx: Path, demo_clip: Path, tmp_path: Path
) -> None:
    code = f"import sys; {_RUN}; print([m for m in {_HEAVY!r} if m in sys.modules]); sys.exit(code)"
    options = ["--runtime", "onnx", "--detector", small_onnx, "--frames", "2"]
    done = run(code, "score-video", demo_clip, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_rooms_that_judge_can_be_imported_without_pytorch() -> None:
    rooms = ("records", "video", "faces", "scoring", "runtimes.load", "models.config", "models.detector")
    names = "; ".join(f"from deepfake_detect.{room} import *" for room in ("records", "models.config"))
    imports = ", ".join(f"deepfake_detect.{room}" for room in rooms)
    done = run(f"{_SLIM}\nimport {imports}\n{names}")
    assert done.returncode == 0, done.stderr
