"""The same features by workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.features.feature_file import FeatureFile
from deepfake_detect.work import RayOptions, TaskFailure
from tests.features.test_extract import extract, manifest  # noqa: F401


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    table = FeatureFile(path).read()
    return [tuple(column) for column in (table.video_ids, table.paths, table.labels, table.features.tolist())]


def test_the_file_is_that_of_this_machine(manifest: Manifest, small_detector: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("ray")
    extract(manifest, small_detector, tmp_path / "here.h5", batch_size=3)
    done = extract(
        manifest, small_detector, tmp_path / "ray.h5", batch_size=3, cluster=RayOptions(num_workers=1)
    )
    assert done.num_new == manifest.num_rows
    assert rows_of(tmp_path / "ray.h5") == rows_of(tmp_path / "here.h5")


def test_rows_that_crash_workers_are_reported_and_order_is_kept(
    manifest: Manifest,  # noqa: F811
    small_detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_the_second(tasks: Any, make_worker: Any, *, in_order: bool, **_: Any) -> Iterator[Any]:
        assert in_order
        worker = make_worker()
        for number, task in enumerate(tasks):
            yield task, TaskFailure(3, "the node died") if number == 1 else worker(task)

    monkeypatch.setattr("deepfake_detect.features.extract.map_tasks", without_the_second)
    with pytest.warns(UserWarning, match="rows 2 to 3 crashed 3 workers|2 crops that cannot be read"):
        done = extract(manifest, small_detector, tmp_path / "a.h5", batch_size=2, cluster=RayOptions())
    assert (done.num_new, len(done.unreadable)) == (manifest.num_rows - 2, 2)
    extract(manifest, small_detector, tmp_path / "b.h5", batch_size=2)
    kept, every = (FeatureFile(tmp_path / name).read().paths.tolist() for name in ("a.h5", "b.h5"))
    assert kept == [path for path in every if path in kept]
    assert len(kept) == len(every) - 2


def test_flags_of_the_cluster_need_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["extract-features", "--manifest", "m", "--backbone", "b", "--out", str(tmp_path / "a.h5")]
    assert main([*arguments, "--workers", "2"]) == 2
    assert "error: --workers: works only with --engine ray; set --num-workers" in capsys.readouterr().err
