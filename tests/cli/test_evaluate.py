"""The commands evaluate and compare, from files to folders."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.video_digests import video_digests
from deepfake_detect.errors import OutputError
from deepfake_detect.models.checkpoint import TrainingFacts, update_detector
from tests.data.trees import crop_manifest, textured_crops

pytestmark = pytest.mark.usefixtures("blank_figures")
HEADER = "video_id,dataset,method,label,frame_index,fake_probability"


def scores_csv(path: Path, *, shift: float = 0.0) -> Path:
    lines = [HEADER]
    for number in range(20):
        label = number % 2
        probability = min(1.0, 0.2 + 0.03 * number * label + 0.01 * number + shift * label)
        lines += [
            f"{number},D,{'swap' if label else 'real'},{label},{frame},{probability}" for frame in (0, 9)
        ]
    path.write_text("\n".join([*lines, "99,D,swap,1,0,"]) + "\n")
    return path


def test_scores_of_another_tool_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    path = scores_csv(tmp_path / "s.csv")
    options = ["--threshold", "0.3", "--slice", "dataset", "--bootstrap-draws", "20"]
    assert main(["evaluate", "--scores", str(path), "--out", str(out), *options]) == 0
    assert "20 of 21 videos scored" in capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["settings"]["threshold"] == 0.3
    assert metrics["settings"]["aggregation_rule"] == "mean"
    assert metrics["slices"]["dataset"][0]["num_videos_fake"] == 10
    assert metrics["coverage"]["unscored"] == [{"video_id": "D/swap/99", "reason": "no fake_probability"}]
    # What was written is measured again, with the same threshold and to the same numbers.
    again = tmp_path / "again"
    assert main(["evaluate", "--scores", str(out), "--out", str(again), *options[2:]]) == 0
    assert json.loads((again / "metrics.json").read_text()) == metrics


def test_a_manifest_is_measured_with_its_faces(small_detector: Path, tmp_path: Path) -> None:
    manifest = crop_manifest(tmp_path / "m", textured_crops(4, "test"))
    out = tmp_path / "out"
    command = ["evaluate", "--manifest", str(manifest), "--detector", str(small_detector), "--out", str(out)]
    assert main([*command, "--bootstrap-draws", "10", "--num-workers", "0", "--resample", "identities"]) == 0
    page = (out / "report.html").read_text()
    assert "small 1 on" in page
    assert "Worst false" in page
    config = json.loads((out / "config.json").read_text())
    assert config["detector_config"]["name"] == "small"
    assert len(config["detector_sha256"]) == 64
    assert config["precision"] == "fp32"
    assert json.loads((out / "metrics.json").read_text())["settings"]["resample"] == "identities"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scores", "absent.csv"], "absent.csv: there is no such file of scores"),
        (["--scores", "s.csv", "--detector", "d"], "--detector: needs a manifest, not scores"),
        (["--scores", "s.csv", "--where", "true"], "--where: needs a manifest, not scores"),
        (["--scores", "s.csv", "--slice", "age"], "--slice: is 'age'; must be one of"),
        (
            ["--scores", "s.csv", "--aggregation", "max"],
            "--aggregation: is 'max'; must be one of most",
        ),
        (["--scores", "s.csv", "--num-workers", "-1"], "--num-workers: is -1"),
        (
            ["--scores", "s.csv", "--split", "test"],
            "--split: needs a manifest, not scores; omit --split, or pass a --manifest instead of --scores",
        ),
        (["--scores", "s.csv", "--device", "auto"], "--device: needs a manifest, not scores"),
        (["--scores", "s.csv", "--precision", "fp32"], "--precision: needs a manifest, not scores"),
        (["--scores", "s.csv", "--robustness-videos", "200"], "--robustness-videos: needs a manifest"),
        (["--scores", "s.csv", "--split", "val"], "--split: needs a manifest, not scores"),
        (["--scores", "s.csv", "--device", "cpu"], "--device: needs a manifest, not scores"),
        (["--scores", "s.csv", "--precision", "bf16"], "--precision: needs a manifest, not scores"),
        (["--scores", "s.csv", "--robustness-videos", "4"], "--robustness-videos: needs a manifest"),
        (["--scores", "s.csv", "--bootstrap-draws", "0"], "--bootstrap-draws: is 0; must be 1 or more"),
        (["--scores", "s.csv", "--seed", "-1"], "seed: is -1"),
        (["--scores", "s.csv", "--threshold", "nan"], "threshold: is nan"),
        (
            ["--scores", "s.csv", "--aggregation", "logistic"],
            "--aggregation: is logistic, which needs weights",
        ),
        (
            ["--scores", "s.csv", "--resample", "identities"],
            "--resample: is identities, and the scores",
        ),
        (["--scores", "odd.csv"], "odd.csv: lacks the columns dataset"),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    scores_csv(tmp_path / "s.csv")
    (tmp_path / "odd.csv").write_text("video_id,method\n")
    assert main(["evaluate", "--out", "out", *options]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert message in told
    assert told.count("\n") == 1


def test_a_source_is_needed_and_only_one(capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--scores", "a", "--manifest", "b"]):
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", "--out", "out", *options])
        assert stop.value.code == 2
    capsys.readouterr()


@pytest.mark.filterwarnings("ignore:10 real and 10 fake common videos are too few for p-values")
def test_detectors_are_put_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, better = scores_csv(tmp_path / "plain.csv"), scores_csv(tmp_path / "better.csv", shift=0.3)
    report = tmp_path / "report"
    options = ["--bootstrap-draws", "20"]
    assert (
        main(["evaluate", "--scores", str(better), "--threshold", "0.4", "--out", str(report), *options]) == 0
    )
    out = tmp_path / "out"
    assert main(["compare", str(plain), str(report), "--out", str(out), *options]) == 0
    shown = capsys.readouterr().out
    assert "| plain - report |" in shown
    found = json.loads((out / "compare.json").read_text())
    assert found["num_videos"] == 20
    assert found["detectors"]["plain"]["threshold"] == 0.5
    assert found["detectors"]["report"]["threshold"] == 0.4
    assert found["pairs"][0]["differences"]["auc"]["value"] < 0
    assert sorted(path.name for path in out.iterdir()) == [
        *("compare.html", "compare.json", "compare.md", "compare.png")
    ]
    assert "10 real and 10 fake videos, scored by all" in (out / "compare.html").read_text()


@pytest.mark.filterwarnings("ignore:10 real and 10 fake common videos are too few for p-values")
def test_names_tell_detectors_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    paths = [str(scores_csv(tmp_path / folder / "s.csv")) for folder in ("x", "y")]
    out = tmp_path / "out"
    command = ["compare", *paths, "--out", str(out), "--bootstrap-draws", "5"]
    assert main(command) == 0
    assert list(json.loads((out / "compare.json").read_text())["detectors"]) == paths
    assert main([*command, "--names", "one", "$two$"]) == 0
    assert list(json.loads((out / "compare.json").read_text())["detectors"]) == ["one", "$two$"]
    assert main([*command, "--names", "one"]) == 2
    assert "--names: gives 1 for 2 detectors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--slice", "age"], "--slice: is 'age'; must be one of compression"),
        (["--aggregation", "max"], "--aggregation: is 'max'; must be one of most"),
        (
            ["--aggregation", "logistic"],
            "--aggregation: is logistic, which needs weights",
        ),
        (["--bootstrap-draws", "0"], "--bootstrap-draws: is 0; must be 1 or more"),
        (["--robustness", "rain"], "--robustness: is 'rain'; must be one of jpeg"),
        (["--robustness", "--robustness-videos", "21"], "--robustness-videos: is 21"),
        (["--robustness", "--where", "label = 1"], "has only one class; measure on real and fake videos"),
    ],
)
def test_a_mistake_costs_no_scoring(
    options: list[str],
    message: str,
    small_detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it began to score")

    monkeypatch.setattr("deepfake_detect.evaluation.predict.score_manifest", never)
    manifest = crop_manifest(tmp_path / "m", textured_crops(2, "test"))
    command = ["evaluate", "--manifest", str(manifest), "--detector", str(small_detector)]
    assert main([*command, "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err


def test_what_was_found_is_written_before_robustness(
    small_detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = crop_manifest(tmp_path / "m", textured_crops(4, "test"))
    out = tmp_path / "out"
    command = ["evaluate", "--manifest", str(manifest), "--detector", str(small_detector), "--out", str(out)]
    command += ["--bootstrap-draws", "5", "--num-workers", "0", "--robustness", "blur"]
    with monkeypatch.context() as patched:
        ended = OutputError("disk", "is full", "make room")
        patched.setattr("deepfake_detect.evaluation.robustness.measure_robustness", Mock(side_effect=ended))
        assert main(command) == 2
    assert json.loads((out / "metrics.json").read_text())["robustness"] is None
    assert (out / "report.html").is_file()
    assert "8 of 8 videos scored" in capsys.readouterr().out
    assert main([*command, "--robustness-videos", "4", "--slice", "method", "person_choice"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert len(metrics["robustness"]["curves"]["blur"]) == 5
    assert [one["value"] for one in metrics["slices"]["method"]] == ["Made", "original"]
    assert [one["value"] for one in metrics["slices"]["person_choice"]] == ["unknown"]


@pytest.mark.filterwarnings("ignore:4 real and 4 fake common videos are too few for p-values")
def test_a_warning_of_seen_videos_goes_with_the_scores(small_detector: Path, tmp_path: Path) -> None:
    manifest = crop_manifest(tmp_path / "m", textured_crops(4, "test"))
    detector = tmp_path / "seen.safetensors"
    detector.write_bytes(small_detector.read_bytes())
    digests = video_digests(read_manifest(manifest).where("label = 1"))
    update_detector(
        detector, training=TrainingFacts(video_sha256_prefixes={"train": tuple(digests), "val": ()})
    )
    words = "the detector was trained on 4 of the 8 evaluated videos"
    first, second = tmp_path / "first", tmp_path / "second"
    options = ["--bootstrap-draws", "5"]
    command = ["evaluate", "--manifest", str(manifest), "--detector", str(detector), "--num-workers", "0"]
    with pytest.warns(UserWarning, match=words):
        assert main([*command, "--out", str(first), *options]) == 0
    with pytest.warns(UserWarning, match=words):
        assert main(["evaluate", "--scores", str(first), "--out", str(second), *options]) == 0
    for folder in (first, second):
        assert words in json.loads((folder / "metrics.json").read_text())["seen"][0]
        assert '<p class="red">' in (folder / "report.html").read_text()
    out = tmp_path / "compared"
    with pytest.warns(UserWarning, match=words) as told:
        assert main(["compare", str(first), str(second), "--out", str(out), *options]) == 0
    few = "4 real and 4 fake common videos are too few for p-values, which need 20 of each"
    assert [str(one.message).split(":")[0] for one in told] == ["first", "second", few]
    assert words in (out / "compare.html").read_text()
    assert words in (out / "compare.md").read_text()


def test_a_missing_folder_is_in_the_coverage_from_extraction_on(
    small_detector: Path, portrait_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Celeb-DF whose test list names two videos of a folder that is not there."""
    root = tmp_path / "cdf"
    listed = {"Celeb-real/id0_0000.mp4": 1, "Celeb-synthesis/id0_id1_0000.mp4": 0}
    for name in listed:
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(portrait_clip.read_bytes())
    lines = [f"{label} {name}" for name, label in {**listed, "YouTube-real/00000.mp4": 1}.items()]
    (root / "List_of_testing_videos.txt").write_text("\n".join([*lines, "1 YouTube-real/00001.mp4"]) + "\n")
    crops, out = tmp_path / "crops", tmp_path / "out"
    extract = ["extract-faces", str(root), "--out", str(crops), "--dataset", "celebdf-v2", "--frames", "2"]
    assert main([*extract, "--workers", "1", "--device", "cpu"]) == 0
    command = ["evaluate", "--manifest", str(crops), "--detector", str(small_detector), "--out", str(out)]
    options = ["--allow-leak", "identical-crops", "--bootstrap-draws", "5", "--num-workers", "0"]
    assert main([*command, *options]) == 0
    assert (
        "2 of 4 videos scored, 0 without a face, 0 could not be read, 2 not downloaded"
        in capsys.readouterr().out
    )
    coverage = json.loads((out / "metrics.json").read_text())["coverage"]
    assert [one["reason"] for one in coverage["unscored"]] == ["missing", "missing"]
    assert [one["video_id"].split("/")[-2:] for one in coverage["unscored"]] == [
        ["YouTube-real", "00000"],
        ["YouTube-real", "00001"],
    ]
