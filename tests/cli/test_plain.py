from __future__ import annotations

import io
import sys

import pytest

from deepfake_detect.cli import main, plain
from deepfake_detect.cli.plain import LineProgress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_on_a_terminal_when_the_last_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(plain.time, "monotonic", lambda: now)
    with LineProgress() as progress:
        task = progress.add_task("scoring a.mp4", note="")
        hidden = progress.add_task("clips", total=1, visible=False)
        progress.update(task, completed=3, total=32, note="frames")
        assert stream.getvalue() == ""
        now += 2.5
        progress.update(hidden, advance=1)
        progress.update(task, advance=1)
        progress.update(task, advance=1)
        progress.remove_task(task)
    assert stream.getvalue() == "scoring a.mp4: 4 of 32 frames\n"


def test_nothing_is_written_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plain, "_EVERY_SECONDS", -1.0)
    progress = LineProgress()
    progress.update(progress.add_task("x"), advance=1)
    assert capsys.readouterr() == ("", "")


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
