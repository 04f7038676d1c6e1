"""Clips judged by workers of a Ray cluster."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.cli import main

_LISTEN = "0A"
_LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def listening() -> dict[str, str]:
    """Return the address of each listening TCP socket of this machine by its number, as Linux lists them."""
    paths = [path for path in map(Path, ("/proc/net/tcp", "/proc/net/tcp6")) if path.exists()]
    lines = [line.split() for path in paths for line in path.read_text().splitlines()]
    return {cells[9]: cells[1].partition(":")[0] for cells in lines if cells[3] == _LISTEN}


def test_a_folder_is_judged_as_on_this_machine(
    small_detector: Path,
    portrait_clip: Path,
    faceless_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray_library = pytest.importorskip("ray")
    opened: set[str] = set()
    start = ray_library.init

    def start_and_look(**options: Any) -> None:
        before = listening()
        start(**options)
        opened.update(address for number, address in listening().items() if number not in before)

    monkeypatch.setattr("ray.init", start_and_look)
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, clip in {"a.mp4": portrait_clip, "b.mp4": faceless_clip, "c.mp4": portrait_clip}.items():
        shutil.copy(clip, folder / name)
    (folder / "d.mp4").write_text("this is no video")
    arguments = ["score-video", str(folder), "--detector", str(small_detector), "--frames", "2"]
    here, ray = tmp_path / "here.json", tmp_path / "ray.json"
    assert main([*arguments, "--workers", "1", "--json", str(here)]) == 2  # one is no video
    results = ["--results", str(tmp_path / "table.csv"), "--out", str(tmp_path / "out"), "--json", str(ray)]
    assert main([*arguments, "--engine", "ray", "--workers", "2", *results]) == 2
    assert opened <= _LOOPBACK  # nobody else on the network can run code on the cluster
    assert opened or not Path("/proc/net/tcp").exists()
    assert json.loads(ray.read_text()) == json.loads(here.read_text())
    with (tmp_path / "table.csv").open() as table:
        assert [row["verdict"] != "" for row in csv.DictReader(table)].count(True) == 3


def test_standard_input_stays_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score-video", "-", "--engine", "ray"]) == 2
    assert "error: -: is read on this machine, not on a cluster; name a file" in capsys.readouterr().err
