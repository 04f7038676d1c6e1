"""Clips judged by workers of a Ray cluster."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from deepfake_detect.cli import main


def test_a_folder_is_judged_as_on_this_machine(
    small_detector: Path, portrait_clip: Path, faceless_clip: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
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
    assert json.loads(ray.read_text()) == json.loads(here.read_text())
    with (tmp_path / "table.csv").open() as table:
        assert [row["verdict"] != "" for row in csv.DictReader(table)].count(True) == 3


def test_standard_input_stays_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score-video", "-", "--engine", "ray"]) == 2
    assert "error: -: is read on this machine, not on a cluster; name a file" in capsys.readouterr().err
