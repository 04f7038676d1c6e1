from __future__ import annotations

import io
import re
import sys

import pytest

from deepfake_detect import progress
from deepfake_detect.progress import is_quiet, progress_bar, quiet

COLOR = re.compile(r"\x1b\[(3\d|38;)")


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 10.0)
    return clock


def test_a_short_run_prints_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for enabled in (True, False):
        with progress_bar(enabled=enabled) as shown:
            shown.advance(shown.add_task("clips", total=2, note=""))
    assert capsys.readouterr() == ("", "")


def test_a_long_run_prints_lines_without_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as shown:
        hidden = shown.add_task("hidden", total=None, note="", visible=False)
        task = shown.add_task("videos", total=2000, note="")
        for _ in range(1000):
            clock.now += 1
            shown.update(task, advance=1, note="a.mp4")
            shown.advance(hidden)
        shown.update(task, completed=3, total=None)
        shown.remove_task(task)
        clock.now += 9999
        shown.advance(hidden)
    out, error = capsys.readouterr()
    assert out == ""
    lines = error.splitlines()
    assert lines[0] == "videos: 10 of 2,000 a.mp4, 0:00:10 elapsed, 0:33:10 left"
    assert lines[1].startswith("videos: 20 of 2,000")
    assert 40 < len(lines) < 60  # every ten seconds at first, then each time a twentieth has passed
    assert "\r" not in error
    assert "hidden" not in error


def test_a_task_of_unknown_length_has_a_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as shown:
        task = shown.add_task("loading", total=None, note="")
        clock.now += 3700
        shown.advance(task, 0)
    assert capsys.readouterr().err == "loading: 0, 1:01:40 elapsed\n"


def test_what_an_earlier_run_did_makes_this_one_no_faster(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar() as shown:
        task = shown.add_task("steps", total=100, completed=80, note="")
        clock.now += 10
        shown.advance(task, 10)
    assert capsys.readouterr().err == "steps: 90 of 100, 0:00:10 elapsed, 0:00:10 left\n"


def test_quiet_shows_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        assert is_quiet()
        with progress_bar() as shown:
            task = shown.add_task("videos", total=2, note="")
            clock.now += 99
            shown.advance(task)
    assert not is_quiet()
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.progress import Progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with progress_bar() as shown:
        assert isinstance(shown, Progress)
        shown.advance(shown.add_task("videos", total=2, note="a.mp4"))
    assert "videos" in terminal.getvalue()
    assert COLOR.search(terminal.getvalue())
    assert isinstance(progress_bar(enabled=False), progress._Lines)
    terminal.truncate(0)
    monkeypatch.setenv("NO_COLOR", "1")
    with progress_bar() as shown:
        shown.advance(shown.add_task("videos", total=2, note="a.mp4"))
    assert "videos" in terminal.getvalue()
    assert not COLOR.search(terminal.getvalue())
