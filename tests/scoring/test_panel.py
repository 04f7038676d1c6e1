"""Several detectors on one clip: each opinion, their agreement, and a fused probability."""

from __future__ import annotations

import csv
import functools
import json
import pickle
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.errors import CheckpointError, ManifestError, OptionError
from deepfake_detect.evaluation.fusion import Fusion, read_fusion
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.models.checkpoint import read_detector, save_detector
from deepfake_detect.report.clip import report_html
from deepfake_detect.report.key_frames import collect_key_frames
from deepfake_detect.report.tables import clip_line, clip_rows
from deepfake_detect.report.words import agreement_words, opinion_words, verdict_words
from deepfake_detect.scoring import batch
from deepfake_detect.scoring.options import ScoringOptions
from deepfake_detect.scoring.pipeline import Detector
from deepfake_detect.video.limits import DecodingLimits
from tests.conftest import ROOT

DEMO = str(ROOT / "examples/demo.mp4")
HEADER = ["video_id", "dataset", "method", "label", "frame_index", "fake_probability", "split"]


@pytest.fixture(scope="module")
def other_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second detector: other crops, and probabilities that are higher."""
    with bundled_detector() as path:
        model, config = read_detector(path)
    with np.errstate(all="ignore"):
        model.head[-1].bias.data += 6.0
    path = tmp_path_factory.mktemp("other") / "detector.safetensors"
    geometry = replace(config.geometry, margin=1.6)
    save_detector(path, model, replace(config, name="other", geometry=geometry))
    return path


@pytest.fixture(scope="module")
def other(other_path: Path) -> Detector:
    return dfd.load_detector(other_path, runtime="torch", device="cpu")


@pytest.fixture(scope="module")
def bundled() -> Detector:
    return dfd.load_detector(runtime="torch", device="cpu")


def write_scores(path: Path, noise: float, *, seed: int, split: str = "val") -> Path:
    rng, truth = np.random.default_rng(seed), np.random.default_rng(0).normal(size=120)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number, value in enumerate(truth):
            label = number % 2
            logit = (1.5 * label - 0.75 + value * 0.5) + noise * rng.normal()
            writer.writerow(
                [f"v{number}", "D", "m" if label else "real", label, 0, 1 / (1 + np.exp(-logit)), split]
            )
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_each_detector_says_what_it_says_alone(bundled: Detector, other: Detector) -> None:
    panel = dfd.DetectorPanel([bundled, other])
    result = panel.score_video(DEMO, num_frames=4)
    for opinion, detector in zip(result.opinions, (bundled, other), strict=True):
        alone = detector.score_video(DEMO, num_frames=4)
        assert opinion.fake_probability == pytest.approx(alone.fake_probability, abs=1e-6)
        assert opinion.verdict == alone.verdict
        assert opinion.detector == alone.detector
        assert len(opinion.tracks) == len(alone.tracks)
    assert result.fake_probability == result.opinions[0].fake_probability
    assert result.opinions[1].fake_probability > result.opinions[0].fake_probability
    assert result.fused is None


def test_faces_are_found_once_and_cropped_once_for_each_geometry(
    bundled: Detector, other: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, cropped = [], []
    import deepfake_detect.faces.tracked_crops as tracked_crops

    finder = type(bundled.face_finder(None))
    detect, crop = finder.detect_each, tracked_crops.crop_face
    monkeypatch.setattr(finder, "detect_each", lambda *a, **k: found.append(1) or detect(*a, **k))
    monkeypatch.setattr(tracked_crops, "crop_face", lambda *a: cropped.append(a[2]) or crop(*a))
    result = dfd.DetectorPanel([bundled, other, bundled]).score_video(DEMO, num_frames=3)
    num_faces = sum(len(frame.faces) for frame in result.frames)
    assert len(found) == 1
    assert len(cropped) == 2 * num_faces > 0
    assert set(cropped) == {bundled.config.geometry, other.config.geometry}


def test_disagreement_is_said_everywhere(bundled: Detector, other: Detector) -> None:
    result = dfd.DetectorPanel([bundled, other, bundled]).score_video(DEMO, num_frames=3)
    verdicts = [one.verdict for one in result.opinions]
    assert verdicts[0] == verdicts[2] != verdicts[1]
    assert result.agreement == pytest.approx(1 / 3)
    assert "detectors_differ" in [warning.kind for warning in result.warnings]
    rows = clip_rows(result, seconds=1.0)
    assert [name for name, _ in rows][-4:] == ["detectors", "", "", "agreement"]
    assert rows[-1][1].startswith("the detectors disagree; their probabilities are ")
    page = report_html(result, collect_key_frames(result))
    assert "Results by detector" in page
    assert "The detectors disagree</h2>" in page
    assert "There is no fused probability for them" in page
    assert clip_line(result).startswith(f"{DEMO}: The detectors disagree (faces-mobilenetv2 3.0 ")
    assert page.count("other 3.0") >= 2


def test_the_document_follows_the_schema_and_comes_back(bundled: Detector, other: Detector) -> None:
    several = dfd.DetectorPanel([bundled, other]).score_video(DEMO, num_frames=2)
    for result in (several, bundled.score_video(DEMO, num_frames=2)):
        document = json.loads(result.to_json())
        jsonschema.validate(document, dfd.result_schema())
        assert dfd.ClipResult.from_dict(document).to_dict() == document
        assert document["detectors"][0]["fake_probability"] == document["fake_probability"]
        assert document["fused_probability"] is None
    assert document["agreement"] is None
    assert len(document["detectors"]) == 1


def test_a_detector_that_is_not_calibrated_takes_no_part_in_the_agreement(
    bundled: Detector, other: Detector
) -> None:
    result = dfd.DetectorPanel([bundled, other]).score_video(DEMO, num_frames=2)
    first, second = result.opinions
    scored = replace(result, opinions=(first, replace(second, verdict="score")))
    assert scored.agreement is None
    assert agreement_words(scored).startswith("unknown: fewer than two of the detectors give a verdict")
    score = f"score {second.fake_probability:.2f}"
    assert opinion_words(scored)[1][1:] == (score, "none (not calibrated)")
    assert verdict_words(scored).kind == result.verdict


def test_no_face_has_no_fused_probability(bundled: Detector, tmp_path: Path) -> None:
    fusion = dfd.combine([write_scores(tmp_path / f"{n}.csv", 0.5, seed=n) for n in (1, 2)])
    panel = dfd.DetectorPanel([bundled, bundled], fusion=fusion)
    result = panel.score_image(np.zeros((90, 120, 3), np.uint8))
    assert (result.verdict, result.fused, result.agreement) == ("no_face", None, 1.0)
    assert "no face found" in clip_rows(result, seconds=1.0)[-2][1]


def test_the_fused_probability_is_what_combine_learned(
    bundled: Detector, other: Detector, tmp_path: Path
) -> None:
    scores = [write_scores(tmp_path / f"{n}.csv", 1.0, seed=n) for n in (1, 2)]
    fusion = dfd.combine(scores, out=tmp_path / "fusion.json")
    assert read_fusion(tmp_path / "fusion.json") == fusion
    result = dfd.score_video(DEMO, detector=[bundled, other], fusion=tmp_path / "fusion.json", num_frames=2)
    assert result.fused is not None
    p = np.array([one.fake_probability for one in result.opinions])
    logit = (
        sum(m.weight * np.log(q / (1 - q)) for m, q in zip(fusion.members, p, strict=True)) + fusion.intercept
    )
    assert result.fused.fake_probability == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-6)
    words = verdict_words(result)
    assert words.kind == result.fused.verdict
    assert "The fused fake probability of these detectors" in words.meaning
    assert result.to_dict()["fused_probability"] == result.fused.fake_probability
    jsonschema.validate(json.loads(result.to_json()), dfd.result_schema())


def test_two_independent_detectors_are_better_together_and_calibrated(tmp_path: Path) -> None:
    scores = [write_scores(tmp_path / f"{n}.csv", 1.5, seed=n) for n in (1, 2)]
    fusion = dfd.combine(scores)
    assert fusion.auc.value > max(member.auc.value for member in fusion.members)
    assert fusion.auc.low < fusion.auc.value < fusion.auc.high
    assert (fusion.auc.num_real, fusion.auc.num_fake) == (60, 60)
    assert all(member.weight > 0 for member in fusion.members)
    table = np.stack([[float(row["fake_probability"]) for row in read_rows(path)] for path in scores], 1)
    labels = np.arange(120) % 2
    assert abs(fusion.probabilities(table).mean() - labels.mean()) < 0.05


def test_few_separable_videos_do_not_make_it_sure(tmp_path: Path) -> None:
    rows = "".join(
        f"v{n},D,{'m' if n % 2 else 'r'},{n % 2},0,{0.9 if n % 2 else 0.1},val\n" for n in range(24)
    )
    (tmp_path / "a.csv").write_text(",".join(HEADER) + "\n" + rows)
    fusion = dfd.combine([tmp_path / "a.csv", tmp_path / "a.csv"])
    low, high = fusion.probabilities(np.array([[0.1, 0.1], [0.9, 0.9]]))
    assert 0.005 < low < 0.2
    assert 0.8 < high < 0.995
    flipped = rows.replace("0.9", "x").replace("0.1", "0.9").replace("x", "0.1")
    (tmp_path / "b.csv").write_text(",".join(HEADER) + "\n" + flipped)
    turned = dfd.combine([tmp_path / "b.csv", tmp_path / "b.csv"])  # its weights turn it around
    assert turned.members[0].weight < 0


def test_noise_is_not_fused(tmp_path: Path) -> None:
    for name in "ab":
        rng = np.random.default_rng([0, "ab".index(name)])
        rows = [
            f"v{n},D,{'m' if n % 2 else 'r'},{n % 2},0,{rng.uniform(0.2, 0.8):.3f},val" for n in range(40)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join([",".join(HEADER), *rows]))
    with pytest.raises(OptionError, match="scores: do not predict held-out videos: .* score more"):
        dfd.combine([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_test_and_training_splits_are_not_combined(tmp_path: Path) -> None:
    val = write_scores(tmp_path / "a.csv", 1.0, seed=1)
    test = write_scores(tmp_path / "b.csv", 1.0, seed=2, split="test")
    with pytest.raises(OptionError, match="scores: .*b.csv has test videos, which are only for evaluation"):
        dfd.combine([val, test])
    train = write_scores(tmp_path / "c.csv", 1.0, seed=2, split="train")
    with pytest.raises(OptionError, match="c.csv has training videos, which the detectors were trained on"):
        dfd.combine([val, train])
    with pytest.raises(OptionError, match="scores: has 1; pass the scores of two or more detectors"):
        dfd.combine([val])
    assert main(["combine", str(val), str(test), "--out", str(tmp_path / "f.json")]) == 2
    assert not (tmp_path / "f.json").exists()


def test_scores_must_fit_together(tmp_path: Path) -> None:
    first = write_scores(tmp_path / "a.csv", 1.0, seed=1)
    lines = first.read_text().splitlines(keepends=True)
    (tmp_path / "few.csv").write_text("".join(lines[:12]))
    with pytest.raises(ManifestError, match="6 real and 5 fake videos are scored by all; score at least"):
        dfd.combine([first, tmp_path / "few.csv"])
    (tmp_path / "less.csv").write_text("".join(lines[:101]))
    with pytest.warns(UserWarning, match="20 of 120 videos not scored by every detector: skipped"):
        dfd.combine([first, tmp_path / "less.csv"])
    other = "".join(line.replace("v0,D,real,0", "v0,D,real,1") for line in lines)
    (tmp_path / "label.csv").write_text(other)
    with pytest.raises(ManifestError, match="label.csv: and .*a.csv disagree on the label of D/real/v0"):
        dfd.combine([first, tmp_path / "label.csv"])
    (tmp_path / "bare.csv").write_text("".join(",".join(line.split(",")[:6]) + "\n" for line in lines))
    with pytest.warns(UserWarning, match="bare.csv: has no column split; a fusion is learned on validation"):
        dfd.combine([first, tmp_path / "bare.csv"])


@pytest.fixture
def fusion(tmp_path: Path) -> Fusion:
    return dfd.combine([write_scores(tmp_path / f"{n}.csv", 1.0, seed=n) for n in (1, 2)])


def test_a_fusion_is_only_used_with_its_detectors(bundled: Detector, other: Detector, fusion: Fusion) -> None:
    first, second = fusion.members
    known = replace(first, sha256=bundled.sha256, aggregation_rule=bundled.config.aggregation_rule)
    one_known = replace(fusion, members=(known, second))
    for order in ([bundled, other], [other, bundled]):
        panel = dfd.DetectorPanel(order, fusion=one_known)
        result = panel.score_video(DEMO, num_frames=1)
        by_name = {one.detector.name: one.fake_probability for one in result.opinions}
        wanted = one_known.verdict([by_name["faces-mobilenetv2"], by_name["other"]])
        assert result.fused.fake_probability == pytest.approx(wanted.fake_probability)
    both = replace(one_known, members=(known, replace(second, sha256="0" * 64)))
    with pytest.raises(OptionError, match="fusion: was learned with 1, 2, not with this file of other"):
        dfd.DetectorPanel([bundled, other], fusion=both)
    with pytest.raises(OptionError, match="was learned for 2 detectors .1, 2., and there are 3; set"):
        dfd.DetectorPanel([bundled, other, other], fusion=fusion)
    panel = dfd.DetectorPanel([bundled, other], fusion=one_known)
    with pytest.raises(OptionError, match="with the aggregation rule .* of faces.*, not median; omit"):
        panel.score_video(DEMO, num_frames=1, aggregation_rule="median")


def test_a_damaged_fusion_is_one_line(tmp_path: Path, fusion: Fusion) -> None:
    path = tmp_path / "fusion.json"
    for text in ("", "[]", "{}", json.dumps({**fusion.to_json(), "members": []})):
        path.write_text(text)
        with pytest.raises(
            CheckpointError, match="is not a fusion file .*; pass the file that combine wrote"
        ):
            read_fusion(path)
    path.write_text(json.dumps({**fusion.to_json(), "format_version": 9}))
    with pytest.raises(CheckpointError, match="has format version 9; update deepfake_detect to read it"):
        read_fusion(path)
    with pytest.raises(CheckpointError, match="cannot be read .No such file"):
        read_fusion(tmp_path / "absent.json")


def test_a_panel_has_no_crops_of_its_own(bundled: Detector) -> None:
    panel = dfd.DetectorPanel([bundled, bundled])
    with pytest.raises(
        OptionError, match="is several detectors, whose crops may differ; score the crops with"
    ):
        panel.score_crops([np.zeros((9, 9, 3), np.uint8)])
    with pytest.raises(OptionError, match="is several detectors, whose crops may differ"):
        panel.score_sequence([])
    with pytest.raises(OptionError, match="detector: has 1; pass two or more detectors"):
        dfd.DetectorPanel([bundled])
    with pytest.raises(OptionError, match="fusion: is for several detectors; set `detector` once for each"):
        dfd.score_video(DEMO, detector=bundled, fusion="fusion.json")


def test_the_command_takes_several_detectors(
    other_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = [str(write_scores(tmp_path / f"{n}.csv", 1.0, seed=n)) for n in (1, 2)]
    fusion, out = str(tmp_path / "fusion.json"), tmp_path / "result.json"
    assert main(["combine", *scores, "--out", fusion]) == 0
    assert "fused" in capsys.readouterr().out
    command = ["score-video", DEMO, "--frames", "2", "--runtime", "torch", "--device", "cpu"]
    several = ["--detector", "default", "--detector", str(other_path)]
    report = ["--report", str(tmp_path / "report.html")]
    assert main([*command, *several, "--fusion", fusion, "--json", str(out), *report]) == 0
    printed = capsys.readouterr().out
    assert "other 3.0: " in printed
    assert "all, fused: " in printed
    document = json.loads(out.read_text())
    assert [one["name"] for one in document["detectors"]] == ["faces-mobilenetv2", "other"]
    assert 0 <= document["fused_probability"] <= 1
    assert document["agreement"] in (0.0, 1.0)
    assert "all, fused" in (tmp_path / "report.html").read_text("utf-8")
    assert main(["score-video", "--live", "0", *several]) == 2
    assert "--detector: is given several times, and --live takes one" in capsys.readouterr().err


def test_a_table_names_all_detectors(bundled: Detector, other: Detector, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    for item in dfd.score_videos(DEMO, detector=[bundled, other], num_frames=1, results=table):
        assert item.error is None
        assert [one.detector.name for one in item.result.opinions] == ["faces-mobilenetv2", "other"]
    assert read_rows(table)[0]["detector"] == "faces-mobilenetv2 3.0 + other 3.0"


def test_a_worker_loads_all_detectors(other_path: Path, tmp_path: Path) -> None:
    options = ScoringOptions(detector=("default", str(other_path)), runtime="torch", device="cpu")
    make = functools.partial(batch._make_worker, options, DecodingLimits(), tmp_path, {}, False)
    detector = pickle.loads(pickle.dumps(make))(num_threads=1).scorer.detector
    assert isinstance(detector, dfd.DetectorPanel)
    assert detector.name == "faces-mobilenetv2 3.0 + other 3.0"
