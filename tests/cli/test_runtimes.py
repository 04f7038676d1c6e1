from __future__ import annotations

import pytest

from deepfake_detect.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--detector", "a.onnx", "--runtime", "torch"],
            "--runtime: is torch, and a.onnx is an exported detector; set --runtime to auto or onnx",
        ),
        (
            ["--detector", "a.xml", "--runtime", "torch"],
            "--runtime: is torch, and a.xml is an exported detector; set --runtime to auto or openvino",
        ),
        (
            ["--runtime", "onnx", "--device", "cuda"],
            "--device: is cuda, and onnx runs on the CPU; set --runtime to torch",
        ),
        (
            ["--runtime", "onnx", "--precision", "bf16"],
            "--precision: is bf16, and exported detectors have their own precision",
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
