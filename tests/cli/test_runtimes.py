from __future__ import annotations

import pytest

from deepfake_detect.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "a.onnx"], "--detector: a.onnx is an export; pass --runtime onnx"),
        (["--detector", "a.xml"], "--detector: a.xml is an export; pass --runtime openvino"),
        (["--runtime", "onnx", "--report", "r.html"], "--report: has heat maps, which need PyTorch"),
        (["--runtime", "onnx", "--device", "cuda"], "device: is cuda, and onnx runs on the CPU"),
        (
            ["--runtime", "onnx", "--precision", "bf16"],
            "precision: is bf16, and an export computes in its own",
        ),
    ],
)
def test_runtimes_refuse_what_they_cannot_do(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score-video", "a.mp4", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
