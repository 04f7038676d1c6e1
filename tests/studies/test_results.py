"""The results of benchmarks, and the pages that are made from them."""

from __future__ import annotations

import argparse
import json
import re
from datetime import date
from pathlib import Path

import pytest

from benchmarks import bench_accuracy
from benchmarks.markers import filled
from benchmarks.measuring import record, time_in_turn
from benchmarks.pages import result_parts
from benchmarks.results import result_path
from benchmarks.tables import TABLES
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.zoo.entries import ZOO
from tests.conftest import ROOT

BUNDLED = ROOT / "deepfake_detect" / "weights" / "default.safetensors"


@pytest.mark.parametrize("name", [name for name in TABLES if result_path(name).exists()])
def test_a_result_says_when_and_on_what_it_was_measured(name: str) -> None:
    result = json.loads(result_path(name).read_text("utf-8"))
    assert result["benchmark"] == name
    date.fromisoformat(result["date"])
    assert result["machine"].keys() >= {"cpu", "cores", "memory_gb", "gpu", "os", "load_before", "threads"}
    assert result["code"] is None or result["code"].keys() == {"version", "commit", "is_changed"}
    assert "Python" in result["versions"]
    assert "/" not in json.dumps(result["arguments"])  # names of files, not where they lay
    assert result["figures"]


def test_the_figures_are_those_of_the_bundled_detector() -> None:
    detector = json.loads(result_path("accuracy").read_text("utf-8"))["figures"]["detector"]
    assert detector["sha256"] == sha256_of_file(BUNDLED), "evaluate it, then run benchmarks/bench_accuracy.py"


@pytest.mark.skipif(not result_path("zoo_measured").exists(), reason="not measured yet")
def test_the_measured_figures_of_the_zoo_are_those_of_the_script() -> None:
    rows = json.loads(result_path("zoo_measured").read_text("utf-8"))["figures"]["rows"]
    measured = {
        (name, figure.data.removeprefix("FF++ c23, ")): (figure.value, *figure.interval, figure.num_videos)
        for name, entry in ZOO.items()
        for figure in entry.measured
    }
    assert measured == {
        (one["detector"], one["method"]): (
            *(pytest.approx(one["video_auc"][key], abs=6e-4) for key in ("value", "low", "high")),
            sum(one["videos"].values()),
        )
        for one in rows
    }


def test_no_figure_of_the_page_is_typed_by_hand() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    typed = filled(page, dict.fromkeys(result_parts()[ROOT / "docs" / "benchmarks.md"], ""))
    assert re.findall(r"(?<![A-Za-z])\d*\.\d+|\d+ (?:s|seconds|ms|MB|%|times)\b", typed) == []


@pytest.mark.parametrize(("text", "count"), [("none", 0), ("<!-- a -->\n<!-- end of a -->\n" * 2, 2)])
def test_a_part_has_one_place(text: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"holds {count} places for a, not one"):
        filled(text, {"a": "part"})


def test_candidates_run_once_a_round_after_one_unmeasured_run() -> None:
    calls: list[str] = []
    timings = time_in_turn({name: lambda name=name: calls.append(name) for name in "ab"}, num_rounds=2)
    assert "".join(calls) == "ab" + "ab" + "ba"
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]


def test_a_result_elsewhere_leaves_the_pages_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.measuring.write_pages", lambda: pytest.fail("wrote the pages"))
    figures = {"ours": [0.5], "loop": [1.0], "loop_draws": 1, "num_metrics": 9, "num_loop_metrics": 4}
    out = tmp_path / "new" / "metrics.json"
    arguments = argparse.Namespace(json=out, draws=10, videos=4, frames=2, clips=[Path("/a/b.mp4")])
    record("metrics", arguments, {**figures, "largest_difference": 0.0}, packages=("numpy",))
    assert "| all resamples at once | 9 | 0.50 | 20 |" in capsys.readouterr().out
    result = json.loads(out.read_text("utf-8"))
    assert result["arguments"] == {"draws": 10, "videos": 4, "frames": 2, "clips": ["b.mp4"]}
    assert result["versions"].keys() == {"Python", "numpy"}


def report(folder: Path, *, version: str) -> Path:
    """Write what an evaluation leaves, as far as it is read."""
    value = {"value": 0.9, "low": None, "high": None}
    metrics = {
        "coverage": {"videos_scored": 9, "videos_expected": 10},
        "abstention": {"share_certain": 0.5, "accuracy_certain": 0.75},
        "video": dict.fromkeys(("auc", "accuracy", "bpcer", "log_loss", "brier"), value),
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    config = {"detector_config": {"name": bench_accuracy._bundled()["name"], "version": version}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_accuracy_comes_from_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = report(tmp_path, version=bench_accuracy._bundled()["version"])
    out = tmp_path / "accuracy.json"
    assert bench_accuracy.main([f"set, test={folder}", "--json", str(out)]) == 0
    row = "| set, test | 9 of 10 |" + 4 * " 0.900 [too few] |" + " 50%, 75.0% of them correct |"
    assert row in capsys.readouterr().out
    assert json.loads(out.read_text("utf-8"))["arguments"] == {"reports": ["set, test"]}


def test_a_report_of_another_detector_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = report(tmp_path, version="0.0")
    assert bench_accuracy.main([f"set={folder}", "--json", str(tmp_path / "accuracy.json")]) == 2
    assert "evaluate the bundled detector" in capsys.readouterr().err
