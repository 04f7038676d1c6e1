"""The same features by workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.features.feature_file import FeatureFile
from deepfake_detect.work import Lost, RayOptions
from tests.features.test_extract import extract, manifest  # noqa: F401


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    table = FeatureFile(path).read()
    return [tuple(column) for column in (table.video_ids, table.paths, table.labels, table.features.tolist())]


def test_the_file_is_that_of_this_machine(manifest: Manifest, small_detector: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("ray")
    extract(manifest, small_detector, tmp_path / "here.h5", batch_size=3)
    done = extract(
        manifest, small_detector, tmp_path / "ray.h5", batch_size=3, cluster=RayOptions(num_workers=2)
    )
    assert done.num_new == manifest.num_rows
    assert rows_of(tmp_path / "ray.h5") == rows_of(tmp_path / "here.h5")


def test_rows_that_workers_die_of_are_told_and_order_is_kept(
    manifest: Manifest,  # noqa: F811
    small_detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def backwards_without_the_second(tasks: Any, make_worker: Any, options: RayOptions) -> Iterator[Any]:
        worker = make_worker()
        for task in reversed(list(tasks)):
            yield task, Lost(3, "the node died") if task[0] == 1 else worker(task)

    monkeypatch.setattr("deepfake_detect.features.extract.map_on_ray", backwards_without_the_second)
    monkeypatch.setattr("deepfake_detect.features.extract.ray_cluster", lambda options: nullcontext())
    monkeypatch.setattr("deepfake_detect.features.extract.limit_threads", lambda num_threads: None)
    told = "3 workers died of rows 2 to 3|2 crops cannot be read"
    with pytest.warns(UserWarning, match=told):
        done = extract(manifest, small_detector, tmp_path / "a.h5", batch_size=2, cluster=RayOptions())
    assert (done.num_new, len(done.unreadable)) == (manifest.num_rows - 2, 2)
    extract(manifest, small_detector, tmp_path / "b.h5", batch_size=2)
    kept, every = (FeatureFile(tmp_path / name).read().paths.tolist() for name in ("a.h5", "b.h5"))
    assert kept == [path for path in every if path in kept]
    assert len(kept) == len(every) - 2


def test_flags_of_the_cluster_need_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["extract-features", "--manifest", "m", "--backbone", "b", "--out", str(tmp_path / "a.h5")]
    assert main([*arguments, "--workers", "2"]) == 2
    assert "error: --workers: is for --engine ray; pass --num-workers" in capsys.readouterr().err
