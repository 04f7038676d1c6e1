from __future__ import annotations

import io
import sys

import pytest

from deepfake_detect import progress as module
from deepfake_detect.progress import LineProgress, progress_bar


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_on_a_terminal_when_the_last_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with LineProgress() as progress:
        task = progress.add_task("scoring a.mp4", note="")
        hidden = progress.add_task("clips", total=1, visible=False)
        progress.update(task, completed=3, total=32, note="frames")
        assert stream.getvalue() == ""
        now += 2.5
        progress.update(hidden, advance=1)
        progress.advance(task)
        progress.update(task, advance=1)
        progress.remove_task(task)
    assert stream.getvalue() == "scoring a.mp4: 4 of 32 frames\n"


def test_nothing_is_written_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_LINE_SECONDS", -1.0)
    progress = LineProgress()
    progress.update(progress.add_task("x"), advance=1)
    assert capsys.readouterr() == ("", "")


def test_without_rich_progress_is_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys, "stderr", _Terminal())
    monkeypatch.setattr(module, "_LINE_SECONDS", -1.0)
    with progress_bar(enabled=False) as progress:
        progress.advance(progress.add_task("x", total=2, note=""))
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    with progress_bar() as progress:
        progress.advance(progress.add_task("x", total=2, note=""))
    assert sys.stderr.getvalue() == "x: 1 of 2\n"  # type: ignore[attr-defined]
