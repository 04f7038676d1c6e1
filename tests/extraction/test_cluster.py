"""The same extraction by workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.extraction import ExtractionConfig, extract_videos
from deepfake_detect.work import RayOptions, TaskFailure
from tests.extraction.helpers import contents, videos_of


def test_the_manifest_and_the_crops_are_those_of_this_machine(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    arguments = ["extract-faces", str(tree), "--frames", "2", "--compression", "c23", "--out"]
    local, on_ray = tmp_path / "local", tmp_path / "ray"
    assert main([*arguments, str(local), "--workers", "1"]) == 2  # one of the videos is broken
    assert main([*arguments, str(on_ray), "--engine", "ray", "--workers", "2"]) == 2
    assert contents(on_ray) == contents(local)
    assert read_manifest(on_ray).num_rows == 8


def test_a_video_that_crashes_workers_is_a_failure(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_is_lost(jobs: Any, make_worker: Any, **options: Any) -> Iterator[Any]:
        worker = make_worker()
        for job in jobs:
            is_lost = job.video.method == "Face2Face"
            yield job, TaskFailure(3, "the node died") if is_lost else worker(job)

    monkeypatch.setattr("deepfake_detect.extraction.run.map_tasks", one_is_lost)
    monkeypatch.setattr("deepfake_detect.extraction.run.ray_cluster", lambda options: nullcontext())
    videos = videos_of(tree)
    report = extract_videos(videos, tmp_path / "out", ExtractionConfig(num_frames=2), cluster=RayOptions())
    assert (report.num_failed, report.num_crops) == (2, 6)
    assert any("crashed 3 workers (the node died); try it alone" in message for _, message in report.failures)
    assert not list((tmp_path / "out").rglob(".*.partial"))


def test_a_cluster_that_does_not_respond(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    arguments = ["extract-faces", str(tree), "--out", str(tmp_path / "out"), "--engine", "ray"]
    assert main([*arguments, "--ray-address", "127.0.0.1:1"]) == 2
    assert "no cluster responds" in capsys.readouterr().err


def test_flags_of_the_cluster_need_it(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract-faces", str(tree), "--out", str(tmp_path / "out"), "--ray-address", "auto"]) == 2
    assert "error: --ray-address: works only with --engine ray; set that too" in capsys.readouterr().err
