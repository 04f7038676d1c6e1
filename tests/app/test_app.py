"""The command, from the shell to the end of its process."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepfake_detect.app import worker
from deepfake_detect.app.serve import bind, serve
from deepfake_detect.cli import main
from deepfake_detect.errors import OptionError
from tests.app.serving import form, without_detector

COMMAND = "from deepfake_detect.cli import main; raise SystemExit(main())"


@contextmanager
def running(detector: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the command with its temporary files in a folder; yield it and its port."""
    folder.mkdir()
    command = [
        sys.executable,
        "-c",
        "from deepfake_detect.cli import main; raise SystemExit(main())",
        "app",
        "--port",
        "0",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(
        [*command, "--detector", str(detector)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), process.stderr and process.stderr.read()
        yield process, int(line.split()[0].rpartition(":")[2])
    finally:
        process.kill()
        process.communicate()


def uploads(folder: Path) -> list[Path]:
    return [path for path in folder.glob("deepfake_detect.*/files/*") if path.is_file()]


def send(port: int, path: str, clip: Path) -> dict:
    body, kind = form(clip.read_bytes(), name=clip.name)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", path, body, {"Content-Type": kind})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_the_command_serves_judges_and_tidies_up(
    small_detector: Path, portrait_clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    with running(small_detector, folder) as (process, port):
        answer = send(port, "/v1/score?frames=2", portrait_clip)
        assert (answer["video"], answer["num_frames_scored"]) == ("portrait.mp4", 2)
        assert uploads(folder) == []
        send(port, "/v1/jobs?frames=2", portrait_clip)
        assert len(uploads(folder)) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert list(folder.glob("deepfake_detect.*")) == []


def app(*arguments: object) -> int:
    return main(["app", "--device", "cpu", *map(str, arguments)])


def test_a_port_that_is_taken_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert app("--port", port) == 2
    error = capsys.readouterr().err
    assert f"port: 127.0.0.1:{port} cannot be used (Address already in use); choose another" in error
    assert error.count("\n") == 1


def test_what_is_missing_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("deepfake_detect.app.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert app() == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "error: app: needs fastapi, which is not installed; install the extra 'app' (docs/install.md)"
    )
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", 70000), "--port: is 70000; must be 0 to 65535"),
        (("--host", "no.such.host.invalid"), "--host: 'no.such.host.invalid' is unknown"),
        (("--max-seconds", 0), "--max-seconds: is 0.0; must be above 0"),
        (("--max-upload-mb", -1), "--max-upload-mb: is -1.0; must be above 0"),
        (("--frames", 0), "--frames: is 0; must be 1 or more"),
    ],
)
def test_bad_options(
    arguments: tuple[object, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if "--host" in arguments:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)  # asks no name server
    assert app(*arguments) == 2
    assert words in capsys.readouterr().err


def test_a_detector_that_is_none_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TaskScorer", without_detector)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert app("--port", 0, "--detector", "absent.safetensors") == 2
    assert capsys.readouterr().err == "error: absent: there is no such detector file; check the path\n"
    assert list(tmp_path.iterdir()) == []


def test_errors_of_options_are_typed() -> None:
    with pytest.raises(OptionError, match="port: is -1; must be 0 to 65535"):
        serve(port=-1)
