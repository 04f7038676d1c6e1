"""Nothing leaves the machine while a clip is judged: newsrooms protect their sources.

The tool runs in a process of its own that has no network (a namespace of its own, where the system
lets a user make one; its counters then tell of every attempt to send a packet, also by compiled
code) and in which Python refuses, and writes down, whatever would open a connection.
"""

from __future__ import annotations

import csv
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Loaded by the child's Python as it starts. AF_UNIX stays on this machine: processes talk through it.
# That a socket is made or bound to this machine's own address sends nothing: urllib3, which comes
# with facenet-pytorch, does both when it is imported, to learn whether there is IPv6.
_GUARD = """
import os, socket, sys

OWN = ("127.0.0.1", "::1")
ASKING = ("connect", "bind", "sendto", "sendmsg", "getaddrinfo", "gethostbyname", "gethostbyaddr")

def guard(event, arguments):
    if event not in ["socket." + name for name in ASKING]:
        return
    if getattr(arguments[0], "family", None) == socket.AF_UNIX:
        return
    if event == "socket.bind" and arguments[1][0] in OWN:
        return
    with open(os.environ["NETWORK_LOG"], "a") as log:
        log.write(f"{event} {arguments[1:]!r}\\n")
    raise RuntimeError(f"the network was asked for: {event}")

sys.addaudithook(guard)
"""
# Of /proc/net/snmp: what counts packets that were sent, and those that found no way.
_SENT = ("OutRequests", "OutNoRoutes", "OutDatagrams", "ActiveOpens", "OutSegs")


@functools.cache
def can_cut_off() -> bool:
    try:
        return subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def cut_off(
    folder: Path, *command: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], str, int]:
    """Run Python without a network.

    Args:
        folder: Empty folder for what watches it.
        command: Arguments of Python.
        environment: Variables besides those of this process.

    Returns:
        The ended process, what it asked of Python's network, and how many packets anything in it
        sent or tried to (0 where the system makes no namespaces).
    """
    (folder / "sitecustomize.py").write_text(_GUARD)
    log, counters = folder / "network.log", folder / "snmp"
    log.touch()
    line = [sys.executable, *command]
    if can_cut_off():
        script = 'out="$1"; shift; "$@"; code=$?; cat /proc/net/snmp > "$out"; exit $code'
        line = ["unshare", "-rn", "sh", "-c", script, "sh", str(counters), *line]
    variables = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "NETWORK_LOG": str(log),
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
    }
    # On machines that call themselves so, runtimes report nothing by themselves.
    variables.pop("CI", None)
    done = subprocess.run(line, capture_output=True, text=True, env={**variables, **environment}, cwd=ROOT)
    return done, log.read_text(), packets(counters.read_text()) if counters.exists() else 0


def packets(counters: str) -> int:
    """Add up what was sent, of pairs of lines such as ``Udp: OutDatagrams`` and ``Udp: 0``."""
    lines = [line.split() for line in counters.splitlines()]
    return sum(
        int(value)
        for names, values in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names, values, strict=True)
        if name in _SENT
    )


def test_a_clip_is_judged_without_a_network_and_none_is_asked_for(
    small_detector: Path, demo_clip: Path, tmp_path: Path
) -> None:
    out, table = tmp_path / "out", tmp_path / "results.csv"
    options = ["--detector", str(small_detector), "--frames", "2", "--json", "-"]
    files = ["--out", str(out), "--results", str(table)]
    done, asked, num_packets = cut_off(tmp_path, "tools/score_video.py", str(demo_clip), *options, *files)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_frames_scored"] == 2
    assert asked == ""
    assert num_packets == 0
    assert (out / "demo_annotated.mp4").stat().st_size > 0
    with open(table, newline="") as file:
        assert next(csv.DictReader(file))["error"] == ""


_SCORE = """
import sys
import deepfake_detect as dfd

clip, *runtimes = sys.argv[1:]
for runtime in runtimes:
    detector = dfd.load_detector(runtime=runtime, device="cpu", num_threads=1)
    print(detector.score_video(clip, num_frames=1).runtime)
"""
_SCORE_IN_THE_PAGES_WORKER = """
import sys
from pathlib import Path
from deepfake_detect.app.jobs import Task
from deepfake_detect.app.options import Limits
from deepfake_detect.app.worker import ScoringProcess

if __name__ == "__main__":
    worker = ScoringProcess(None, "cpu", Limits(), Path("uploads"))
    clip = worker.score(Task(Path(sys.argv[1]), "a.mp4", False, 1, True), lambda _: None, lambda: False)
    worker.close()
    print(clip.score["runtime"])
"""


@pytest.mark.parametrize(
    ("script", "runtimes"),
    [(_SCORE, ["torch", "onnx", "openvino"]), (_SCORE_IN_THE_PAGES_WORKER, ["onnx"])],
    ids=["library", "page"],
)
def test_no_runtime_sends_anything_or_leaves_files(
    script: str, runtimes: list[str], demo_clip: Path, tmp_path: Path
) -> None:
    """Neither packets nor the files in which a runtime would keep what it means to send."""
    pytest.importorskip("openvino")
    home, watch, program = (tmp_path / name for name in ("home", "watch", "score.py"))
    places = {name: home / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    for folder in (watch, *places.values()):
        folder.mkdir(parents=True)
    program.write_text(script)
    variables = {name: str(folder) for name, folder in places.items()}
    done, asked, num_packets = cut_off(watch, str(program), str(demo_clip), *runtimes, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == runtimes
    assert (asked, num_packets) == ("", 0)
    # Matplotlib, which draws heat maps, keeps a list of this machine's fonts.
    assert [path for path in home.rglob("*") if path.is_file() and path.parent.name != "matplotlib"] == []


@pytest.mark.parametrize(
    "attempt",
    ["socket.create_connection(('192.0.2.1', 80))", "socket.getaddrinfo('example.org', 80)"],
)
def test_an_attempt_would_be_seen_in_python(attempt: str, tmp_path: Path) -> None:
    done, asked, _ = cut_off(tmp_path, "-c", f"import socket; {attempt}")
    assert "the network was asked for" in done.stderr
    assert asked.startswith("socket.")


def test_an_attempt_of_compiled_code_would_be_seen(tmp_path: Path) -> None:
    """A UDP packet by way of the C library, which Python's own watch does not see."""
    if not can_cut_off():
        pytest.skip("this system lets no user make a network namespace")
    code = (
        "import ctypes; c = ctypes.CDLL(None); s = c.socket(2, 2, 0);"
        "address = bytes([2, 0, 0, 53, 192, 0, 2, 1]) + bytes(8);"
        "assert c.sendto(s, b'x', 1, 0, address, 16) == -1"
    )
    done, asked, num_packets = cut_off(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert asked == ""
    assert num_packets > 0
