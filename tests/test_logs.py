from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from deepfake_detect.logs import show_log, shown_level
from deepfake_detect.work import WorkerProcess

LOG = logging.getLogger("deepfake_detect.some.room")


def test_the_log_is_silent_until_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    LOG.error("nobody listens")
    show_log(logging.INFO)
    try:
        LOG.info("read %s", "a.mp4")
        LOG.debug("for a reason")
        assert shown_level() == logging.INFO
    finally:
        show_log(logging.WARNING)
    LOG.info("read b.mp4")
    error = capsys.readouterr().err
    assert error.endswith(" INFO deepfake_detect.some.room: read a.mp4\n")
    assert error.count("\n") == 1


def test_a_program_without_logging_of_its_own_prints_nothing() -> None:
    code = "import logging, deepfake_detect; logging.getLogger('deepfake_detect.x').error('no')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def shown_there() -> object:
    level = shown_level()
    return lambda _: level


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
def test_worker_processes_show_what_their_parent_shows(level: int) -> None:
    show_log(level)
    try:
        worker = WorkerProcess(shown_there)  # type: ignore[arg-type]
    finally:
        show_log(logging.WARNING)
    worker.receive()
    worker.give(None)
    assert worker.receive().result == level  # type: ignore[union-attr]
    worker.stop()
