from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deepfake_detect as dfd
from deepfake_detect.errors import OptionError, WorkerError
from deepfake_detect.scoring import batch, score_videos
from deepfake_detect.work import TaskFailure


class _Dies:
    """A worker whose process is killed by some clips."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def __call__(self, task: Any) -> Any:
        if "killer" in task[1].name:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._worker(task)


def dying_worker(*arguments: Any, **options: Any) -> _Dies:
    """Runs in the worker's process, where ``batch`` is not patched."""
    return _Dies(batch._make_worker(*arguments, **options))


@pytest.fixture
def clips(portrait_clip: Path, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.mp4" for name in ("a", "killer", "c")]
    for path in paths:
        shutil.copyfile(portrait_clip, path)
    return paths


def test_a_process_that_is_killed_loses_its_clip_alone(
    clips: list[Path], faceless_clip: Path, small_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_make_worker", dying_worker)
    named = [*clips, Path("absent.mp4"), faceless_clip]
    items = list(
        score_videos(named, detector=small_onnx, device="cpu", num_frames=2, workers=2, engine="processes")
    )
    assert [item.source for item in items] == list(map(str, named))
    assert isinstance(items[1].error, WorkerError)
    assert "3 workers crashed while scoring it (signal SIGKILL); score it alone" in str(items[1].error)
    assert str(items[3].error).startswith("absent.mp4: there is no such file")
    here = dfd.load_detector(small_onnx, num_threads=1).score_video(clips[0], num_frames=2)
    for number in (0, 2):
        there = items[number].result
        assert there is not None
        assert there.video == str(named[number])
        assert there.verdict == here.verdict
        assert there.fake_probability == pytest.approx(here.fake_probability, abs=1e-6)
    assert items[4].result is not None
    assert items[4].result.verdict == "no_face"
    assert not multiprocessing.active_children()


def test_a_run_that_is_closed_leaves_no_process(clips: list[Path], small_onnx: Path) -> None:
    items = score_videos(clips, detector=small_onnx, device="cpu", num_frames=1, workers=2)
    assert next(items).result is not None
    assert multiprocessing.active_children()
    items.close()
    assert not multiprocessing.active_children()


def test_a_clip_that_workers_crash_on_is_an_item(
    clips: list[Path], small_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_fails(tasks: Any, make_worker: Any, **options: Any) -> Iterator[Any]:
        assert options["engine"] == "ray"
        worker = make_worker()
        for task in tasks:
            yield task, TaskFailure(3, "the node died") if task[0] == 0 else worker(task)

    monkeypatch.setattr(batch, "map_tasks", first_fails)
    failed, scored = score_videos(clips[:2], detector=small_onnx, device="cpu", num_frames=1, engine="ray")
    assert failed.result is None
    assert str(failed.error) == (
        f"{clips[0]}: 3 workers crashed while scoring it (the node died); score it alone (memory?)"
    )
    assert scored.result is not None


def test_a_table_and_a_json_file_are_written_and_resumed_from(
    clips: list[Path], small_onnx: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"detector": small_onnx, "device": "cpu", "num_frames": 1, "workers": 1}
    table, out = tmp_path / "r.csv", tmp_path / "r.json"
    first = next(score_videos(clips, results=table, json=out, **options))
    assert first.file is not None
    assert [one["video"] for one in json.loads(out.read_text())] == [str(clips[0])]
    items = list(score_videos(clips, results=table, json=out, **options))
    assert [item.is_resumed for item in items] == [True, False, False]
    assert (items[0].result, items[0].error) == (None, None)
    assert [one["video"] for one in json.loads(out.read_text())] == list(map(str, clips[1:]))


def test_one_clip_may_be_named_without_a_list(clips: list[Path], small_onnx: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.json"
    (item,) = score_videos(clips[0], detector=small_onnx, device="cpu", num_frames=1, json=out)
    assert json.loads(out.read_text()) == item.to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": []}, "sources: is empty; name a file"),
        ({"engine": "cluster"}, "engine: is 'cluster'; must be one of auto, here, processes, ray"),
        ({"workers": 0}, "workers: is 0; must be 1 or more"),
        ({"num_frames": 0}, "num_frames: is 0; must be 1 or more"),
        ({"retry_failed": True}, "retry_failed: needs a table of results; set `results` too"),
        ({"annotate": "a.avi"}, "annotate: is a.avi; must end in .mp4"),
        ({"sources": ["-"], "engine": "ray"}, "-: is read on this machine, not on a cluster"),
    ],
)
def test_options_are_checked_before_the_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message.replace("(", "[(]")):
        score_videos(**{"sources": ["a.mp4"], **options})


def test_a_loaded_detector_scores_in_its_own_process(clips: list[Path], small_onnx: Path) -> None:
    detector = dfd.load_detector(small_onnx, num_threads=1)
    items = list(score_videos(clips, detector=detector, num_frames=1))
    assert all(item.result is not None for item in items)
    with pytest.raises(OptionError, match="is loaded in this process, and the workers need their own; pass"):
        score_videos(clips, detector=detector, workers=2)
