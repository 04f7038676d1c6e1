"""Clips judged by workers of a Ray cluster."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.cli import main
from deepfake_detect.scoring import ClipSource, ScoringOptions, score_on_cluster
from deepfake_detect.work import RayOptions, TaskFailure


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


def test_a_clip_that_workers_die_of_is_told(
    small_detector: Path, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_is_lost(tasks: Any, make_worker: Any, **options: Any) -> Iterator[Any]:
        worker = make_worker()
        for task in tasks:
            yield task, TaskFailure(3, "the node died") if task[0] == 0 else worker(task)

    monkeypatch.setattr("deepfake_detect.scoring.on_cluster.map_tasks", first_is_lost)
    sources = [ClipSource("a", str(portrait_clip)), ClipSource("b", str(portrait_clip))]
    options = ScoringOptions(detector=str(small_detector), num_frames=1)
    (_, lost), (_, judged) = score_on_cluster(sources, options, RayOptions(), finish=lambda *_: None)
    assert lost.score is None
    assert str(lost.error) == "a: 3 workers died of it (the node died); try it alone"
    assert judged.score is not None


def test_standard_input_stays_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score-video", "-", "--engine", "ray"]) == 2
    assert "error: -: is read here, and not on a cluster; name a file" in capsys.readouterr().err
