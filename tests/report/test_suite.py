"""A suite: several sets, one threshold."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from deepfake_detect.cli import main
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.suite import read_suite
from deepfake_detect.report.evaluate import evaluate
from deepfake_detect.report.suite import evaluate_suite, print_suite

pytestmark = pytest.mark.usefixtures("blank_figures")
FEW = {"num_resamples": 20}


def scores_of(path: Path, *, shift: float, num_videos: int = 60, seed: int = 0) -> Path:
    """Write scores of reals and of two methods, of which `hard` is the harder one."""
    generator = np.random.default_rng(seed)
    lines = ["video_id,dataset,method,label,frame_index,fake_probability,gender"]
    for method, label, middle in (("real", 0, 0.3), ("easy", 1, 0.8), ("hard", 1, 0.5)):
        for number in range(num_videos):
            gender = ("f", "m")[number % 2]
            middle_of = middle + shift + 0.15 * (gender == "f") * (label == 0)
            probability = np.clip(generator.normal(middle_of, 0.12), 0, 1)
            lines.append(f"{method}{number},D,{method},{label},0,{probability:.4f},{gender}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    scores_of(tmp_path / "a.csv", shift=0.0)
    scores_of(tmp_path / "b.csv", shift=0.1, seed=1)
    evaluate(scores=tmp_path / "a.csv", out=tmp_path / "val", max_fpr=0.1, show_progress=False, **FEW)
    sets = {"one": {"scores": "a.csv"}, "two": {"scores": "b.csv", "slice_by": "gender"}}
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump({"threshold_from": "val", "sets": sets, **FEW}))
    return path


def test_one_threshold_chosen_on_validation_holds_for_every_set(suite: Path, tmp_path: Path) -> None:
    chosen = json.loads((tmp_path / "val" / "metrics.json").read_text())
    threshold = chosen["settings"]["threshold"]
    assert chosen["video"]["bpcer"]["value"] <= 0.1
    assert "was chosen on these videos" in chosen["seen"][0]
    found = evaluate_suite(suite, show_progress=False)
    assert found.threshold == threshold
    assert {one.threshold for one in found.sets} == {threshold}
    one, two = found.sets
    # The same threshold on scores that lie higher: more reals are called fake, and more fakes found.
    assert two.every.fpr.value > one.every.fpr.value
    assert two.every.tpr.value > one.every.tpr.value
    for result, path in ((one, "a.csv"), (two, "b.csv")):
        alone = evaluate(scores=tmp_path / path, threshold=threshold, show_progress=False, **FEW)
        assert result.every.fpr == alone.video.metrics["bpcer"]
        assert result.every.tpr.value == 1 - alone.video.metrics["apcer"].value
        assert result.every.tpr.low == 1 - alone.video.metrics["apcer"].high
        assert [row.name for row in result.methods] == ["hard", "easy"]
    assert not one.groups
    gap = next(gap for gap in two.gaps["gender"] if gap.metric == "bpcer")
    assert (gap.highest, gap.lowest) == ("f", "m")
    assert gap.gap.low < gap.gap.value < gap.gap.high


def test_the_command_writes_its_files_and_resumes_by_set(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["evaluate-suite", str(suite), "--out", str(out)]) == 0
    table = capsys.readouterr().out
    first = " ".join(line.split()[0] for line in table.splitlines() if line.split())
    assert "one all hard easy" in first
    assert max(map(len, table.split("wrote")[0].splitlines())) <= 80
    stored = json.loads((out / "suite.json").read_text())
    assert [one["name"] for one in stored["sets"]] == ["one", "two"]
    rows = list(csv.DictReader(io.StringIO((out / "suite.csv").read_text())))
    assert [(row["set"], row["column"], row["name"]) for row in rows[:3]] == [
        ("one", "", "all"),
        ("one", "method", "hard"),
        ("one", "method", "easy"),
    ]
    assert float(rows[0]["fpr"]) == stored["sets"][0]["all"]["fpr"]["value"]
    page = (out / "suite.html").read_text()
    assert 'href="two/report.html"' in page
    assert "Groups by gender" in page
    assert (out / "suite.png").stat().st_size > 0

    scores_of(tmp_path / "b.csv", shift=0.2)
    again = evaluate_suite(suite, out=out, show_progress=False)
    assert [one.was_done for one in again.sets] == [True, False]
    assert again.sets[0].to_json() == stored["sets"][0]
    assert again.sets[1].to_json() != stored["sets"][1]


def test_a_set_that_fails_leaves_the_others(suite: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(suite.read_text())
    values["sets"] = {"absent": {"scores": "absent.csv"}, **values["sets"]}
    suite.write_text(yaml.safe_dump(values))
    with pytest.warns(UserWarning, match=r"absent: .*no such file of scores"):
        found = evaluate_suite(suite, out=tmp_path / "out", show_progress=False)
    assert list(found.failed) == ["absent"]
    assert [one.name for one in found.sets] == ["one", "two"]
    assert "absent was not evaluated" in (tmp_path / "out" / "suite.html").read_text()
    out = io.StringIO()
    print_suite(found, file=out, width=120)
    assert "Not evaluated: absent" in " ".join(out.getvalue().split())
    with pytest.warns(UserWarning, match="no such file"):
        assert main(["evaluate-suite", str(suite), "--out", str(tmp_path / "out")]) == 2


def test_sets_with_different_thresholds_are_rejected(tmp_path: Path) -> None:
    path = scores_of(tmp_path / "a.csv", shift=0)
    evaluate(scores=path, out=tmp_path / "other", threshold=0.3, show_progress=False, **FEW)
    sets = {"a": {"scores": path}, "b": {"scores": tmp_path / "other"}}
    with pytest.raises(OptionError, match=r"differs between the sets: a 0\.5, b 0\.3"):
        evaluate_suite({"sets": sets, **FEW}, show_progress=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "has no sets"),
        ({"sets": {}}, "has no sets"),
        ({"sets": {"a": {}}}, "set a: needs a manifest or scores"),
        ({"sets": {"a": {"scores": "s", "manifest": "m"}}}, "needs a manifest or scores"),
        ({"sets": {"a/b": {"scores": "s"}}}, "'a/b': cannot be used"),
        ({"sets": {"a": "s.csv"}}, "'a': cannot be used"),
        ({"sets": {"a": {"scores": "s", "rate": 1}}}, "set a: unknown options: rate"),
        ({"sets": {"a": {"scores": "s", "threshold": 1}}}, "set a: unknown options: threshold"),
        ({"sets": {"a": {"scores": "s"}}, "robustness": []}, "unknown options: robustness"),
        ({"sets": {"a": {"scores": "s"}}, "threshold": 2}, r"threshold: is 2\.0; must be 0 to 1"),
    ],
)
def test_unusable_suites_are_rejected(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read_suite(values)
