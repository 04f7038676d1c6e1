"""From a table of scores to the numbers of a paper."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation import (
    AGGREGATION_RULES,
    LEVELS,
    Coverage,
    ScoreTable,
    evaluate_scores,
    video_samples,
)
from deepfake_detect.io.files import write_json
from deepfake_detect.metrics import METRIC_NAMES, bootstrap_intervals
from deepfake_detect.report.tables import print_evaluation

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def table_of(*videos, num_faces=4, spread=0.05):
    """Return a score table of videos given as (video_id, method, label, center of its scores)."""
    generator = np.random.default_rng(0)
    rows = [video for video in videos for _ in range(num_faces)]
    centers = np.array([video[3] for video in rows])
    return ScoreTable(
        video_id=np.array([video[0] for video in rows], dtype=object),
        method=np.array([video[1] for video in rows], dtype=object),
        label=np.array([video[2] for video in rows]),
        track_id=np.zeros(len(rows), dtype=np.int32),
        frame_index=np.tile(np.arange(num_faces) * 9, len(videos)),
        fake_probability=np.clip(centers + generator.normal(0, spread, len(rows)), 0, 1),
    )


def four_methods(num_videos=12, seed=0):
    """Return videos of FaceForensics++: the same pairs of identities in four methods, and reals."""
    generator = np.random.default_rng(seed)
    videos = [
        (f"ff/youtube/c23/{n:03d}", "youtube", 0, generator.uniform(0.1, 0.5)) for n in range(num_videos)
    ]
    for easy, method in enumerate(METHODS):
        for n in range(num_videos):
            center = generator.uniform(0.0, 0.2) + 0.22 * easy
            videos.append((f"ff/{method}/c23/{n:03d}_{n + 1:03d}", method, 1, center))
    return videos


def everything_scored(table):
    count = len(set(table.video_id))
    return Coverage(count, count, 0, 0, ())


def evaluated(table, **options):
    settings = {"threshold": 0.5, "aggregation_rule": "mean", "num_resamples": 25, **options}
    return evaluate_scores(table, everything_scored(table), **settings)


def test_four_methods_of_one_pair_remain_four_videos():
    table = table_of(*four_methods())
    evaluation = evaluated(table)
    assert len(evaluation.video_ids) == 12 * 5
    assert sum(video_id.endswith("/003_004") for video_id in evaluation.video_ids) == 4

    means, labels = {}, {}
    for video_id in table.video_id:
        rows = table.video_id == video_id
        means[video_id], labels[video_id] = table.fake_probability[rows].mean(), table.label[rows][0]
    true_auc = roc_auc_score([labels[v] for v in means], list(means.values()))
    assert evaluation.video.metrics["auc"].value == pytest.approx(true_auc, abs=1e-12)

    # A tool that takes the file name for the identity reports another number.
    merged: dict[str, list[float]] = {}
    for video_id, mean in means.items():
        merged.setdefault(video_id.rsplit("/", 1)[1], []).append(mean)
    wrong_auc = roc_auc_score(["_" in name for name in merged], [np.mean(v) for v in merged.values()])
    assert len(merged) == 24
    assert abs(wrong_auc - true_auc) > 0.05


def test_json_has_the_documented_shape_and_no_nan(tmp_path):
    table = table_of(*four_methods())
    report = evaluated(table, threshold=0.4, seed=5).to_json()
    write_json(tmp_path / "evaluation.json", report)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == report
    assert list(report) == [
        "video",
        "track",
        "frame",
        "num_videos_real",
        "num_videos_fake",
        "per_method",
        "macro",
        "iso_30107_3",
        "slices",
        "gaps",
        "aggregations",
        "reliability",
        "abstention",
        "coverage",
        "settings",
        "seen",
        "notes",
        "robustness",
        "segments",
    ]
    for level in (report["video"], report["frame"], report["per_method"]["FaceSwap"]["video"]):
        assert tuple(level) == METRIC_NAMES
        assert all(list(interval) == ["value", "low", "high"] for interval in level.values())
    assert list(report["per_method"]) == list(METHODS)
    assert report["per_method"]["Deepfakes"]["num_videos_fake"] == 12
    assert report["per_method"]["Deepfakes"]["num_videos_real"] == 12
    assert report["settings"] == {
        "threshold": 0.4,
        "aggregation_rule": "mean",
        "num_draws": 25,
        "confidence": 0.95,
        "seed": 5,
        "resample": "videos",
        "num_videos_alone": 0,
        "uncertain_low": 0.4,
        "uncertain_high": 0.4,
    }


def test_verdicts_outside_the_band_are_counted_by_themselves():
    videos = [("a", "youtube", 0, 0.1), ("b", "youtube", 0, 0.55), ("c", "x", 1, 0.45), ("d", "x", 1, 0.9)]
    report = evaluated(table_of(*videos, spread=0.0), uncertain_band=(0.4, 0.6)).to_json()
    assert report["abstention"] == {
        "uncertain_low": 0.4,
        "uncertain_high": 0.6,
        "share_certain": 0.5,
        "accuracy_certain": 1.0,
        "accuracy_all": 0.5,
    }
    nobody = evaluated(table_of(*videos, spread=0.0), uncertain_band=(0.0, 1.0)).to_json()["abstention"]
    assert (nobody["share_certain"], nobody["accuracy_certain"]) == (0.0, None)


def test_undefined_numbers_are_null():
    report = evaluated(table_of(("a", "Deepfakes", 1, 0.7), ("b", "Deepfakes", 1, 0.6))).to_json()
    assert report["video"]["auc"] == {"value": None, "low": None, "high": None}
    assert report["per_method"]["Deepfakes"]["frame"]["eer"]["value"] is None
    assert report["per_method"]["Deepfakes"]["num_videos_real"] == 0
    assert report["video"]["accuracy"]["value"] == 1.0
    json.dumps(report, allow_nan=False)


def test_every_scored_face_is_one_sample_of_the_frame_level_and_videos_are_resampled_whole():
    table = table_of(*four_methods(), spread=0.15)
    evaluation = evaluated(table)
    expected = bootstrap_intervals(
        table.label, table.fake_probability, table.video_id, threshold=0.5, num_resamples=25
    )
    assert evaluation.frame.metrics == expected
    np.testing.assert_array_equal(evaluation.frame.scores, table.fake_probability)
    np.testing.assert_array_equal(evaluation.frame.labels, table.label)


def test_each_method_is_its_fakes_against_all_reals():
    table = table_of(*four_methods())
    evaluation = evaluated(table)
    for method in METHODS:
        alone = evaluated(table.take((table.method == method) | (table.label == 0)))
        for level in LEVELS:
            found = getattr(evaluation.per_method[method], level)
            expected = getattr(alone, level)
            np.testing.assert_array_equal(found.scores, expected.scores)
            for name in METRIC_NAMES:
                assert found.metrics[name].value == expected.metrics[name].value
    values = {name: result.video.metrics["auc"].value for name, result in evaluation.per_method.items()}
    assert values["Deepfakes"] < values["NeuralTextures"]


def test_macro_is_the_mean_over_methods_on_the_same_draws():
    table = table_of(*four_methods())
    evaluation = evaluated(table, num_resamples=200)
    aucs = [one.frame.metrics["auc"] for one in evaluation.per_method.values()]
    macro = evaluation.macro["frame"]["auc"]
    assert macro.value == pytest.approx(np.mean([one.value for one in aucs]))
    # The reals are common to all methods, so the mean is surer than one method but not 4 times.
    widths = [one.high - one.low for one in aucs]
    assert macro.low < macro.value < macro.high
    assert macro.high - macro.low < max(widths)
    assert evaluation.worst_method == "Deepfakes"
    assert evaluation.to_json()["macro"]["worst_apcer_method"] == "Deepfakes"
    reals_alone = evaluated(table.take(table.label == 0))
    assert (reals_alone.macro, reals_alone.worst_method) == ({}, None)


def test_people_are_samples_of_the_track_level():
    table = replace(
        table_of(("a", "youtube", 0, 0.1), ("b", "Deepfakes", 1, 0.1), num_faces=3, spread=0.0),
        track_id=np.array([0, 0, 1, 5, 5, 5]),
        fake_probability=np.array([0.25, 0.5, 0.125, 0.5, 0.75, 1.0]),
    )
    track = evaluated(table).track
    assert track.scores.tolist() == [0.375, 0.125, 0.75]
    assert track.labels.tolist() == [0, 0, 1]


def test_people_can_be_resampled():
    table = table_of(*four_methods(), spread=0.15)
    people = np.array([video_id.rsplit("/", 1)[1][:3] for video_id in table.video_id], dtype=object)
    named = replace(table, details={"identity": people})
    by_person, by_video = evaluated(named, resample="identities"), evaluated(named)
    assert by_person.settings.resample == "identities"
    assert by_person.video.metrics["auc"].value == by_video.video.metrics["auc"].value
    expected = bootstrap_intervals(
        table.label, table.fake_probability, people.astype(str), threshold=0.5, num_resamples=25
    )
    assert by_person.frame.metrics == expected
    # A video of nobody known stands alone, and how many do is told.
    some = replace(table, details={"identity": np.where(table.label == 0, people, None)})
    alone = evaluated(some, resample="identities")
    assert alone.settings.num_videos_alone == 48
    words = "95% intervals over identities (48 videos without a known person are resampled alone)"
    assert words in " ".join(rendered(alone, 100).split())
    assert by_person.settings.num_videos_alone == 0
    for nobody in (table, replace(table, details={"identity": np.full(len(people), None)})):
        with pytest.raises(OptionError, match="resample: is identities, and the scores name none; fill the"):
            evaluated(nobody, resample="identities")
    with pytest.raises(OptionError, match="resample: is 'frames'; must be one of videos, identities"):
        evaluated(table, resample="frames")


def test_every_rule_is_compared_and_the_one_used_is_among_them():
    evaluation = evaluated(table_of(*four_methods(), spread=0.2), aggregation_rule="median")
    assert list(evaluation.aggregations) == [name for name in AGGREGATION_RULES if name != "logistic"]
    assert evaluation.aggregations["median"] == evaluation.video.metrics
    assert evaluation.aggregations["top_k_mean"] != evaluation.video.metrics
    learned = evaluated(table_of(*four_methods()), aggregation_weights=(0, 1, 0, 0, 0))
    assert learned.aggregations["logistic"]["auc"] == learned.aggregations["mean"]["auc"]


def test_sources_of_reals_are_no_methods_and_one_name_may_hold_both_labels():
    videos = [("a", "youtube", 0, 0.1), ("b", "dfdc", 0, 0.2), ("c", "dfdc", 1, 0.8), ("d", "actors", 0, 0.9)]
    evaluation = evaluated(table_of(*videos))
    assert list(evaluation.per_method) == ["dfdc"]
    assert evaluation.per_method["dfdc"].num_videos_real == 3
    assert evaluation.per_method["dfdc"].num_videos_fake == 1
    assert evaluation.per_method["dfdc"].video.labels.tolist() == [0, 0, 1, 0]


def test_methods_of_one_name_in_two_datasets_are_two_against_their_own_reals():
    """The reals of B look forged to the detector: pooled, they would spoil the method of A."""
    videos = [(f"A/r{n}", "real", 0, 0.1) for n in range(4)] + [(f"A/f{n}", "swap", 1, 0.5) for n in range(4)]
    videos += [(f"B/r{n}", "real", 0, 0.8) for n in range(3)] + [
        (f"B/f{n}", "swap", 1, 0.9) for n in range(3)
    ]
    table = table_of(*videos, spread=0.0)
    pooled = evaluated(table)
    assert list(pooled.per_method) == ["swap"]
    assert pooled.per_method["swap"].video.metrics["auc"].value < 0.9
    datasets = np.array([video_id[0] for video_id in table.video_id], dtype=object)
    evaluation = evaluated(replace(table, details={"dataset": datasets}))
    assert list(evaluation.per_method) == ["A/swap", "B/swap"]
    counts = [(one.num_videos_real, one.num_videos_fake) for one in evaluation.per_method.values()]
    assert counts == [(4, 4), (3, 3)]
    assert [one.video.metrics["auc"].value for one in evaluation.per_method.values()] == [1.0, 1.0]
    assert evaluation.macro["video"]["auc"].value == 1.0
    assert [one.value for one in evaluation.slices["dataset"]] == ["A", "B"]
    shown = [line.split() for line in rendered(evaluation, 90).splitlines() if "dataset:" in line]
    assert [row[1:6] for row in shown] == [
        ["dataset:", "A", "4", "+", "4"],
        ["dataset:", "B", "3", "+", "3"],
    ]


def test_the_terminal_shows_some_slices_of_many_and_plain_names():
    videos = [(f"v{n:02d}", "real\x1b\n", n % 2, 0.5) for n in range(40)]
    table = table_of(*videos)
    cameras = np.array([f"[{int(video_id[1:]) // 2}]" for video_id in table.video_id], dtype=object)
    text = rendered(evaluated(replace(table, details={"camera": cameras}), slice_by=["camera"]), 90)
    assert text.count("camera: [") == 12
    assert "camera: ... 8 more in report.html" in " ".join(text.split())
    assert "\x1b" not in text


def test_progress_counts_every_measurement(monkeypatch):
    counts = []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def add_task(self, words, *, total, note):
            counts.append(total)

        def advance(self, task):
            counts.append(-1)

    asked = []
    monkeypatch.setattr(
        "deepfake_detect.evaluation.evaluate.progress_bar", lambda *, enabled: asked.append(enabled) or Bar()
    )
    evaluated(table_of(*four_methods()), show_progress=True, slice_by=["method"])
    assert asked == [True]
    assert counts[0] == 3 + 4 * 3 + 5 + len(AGGREGATION_RULES) - 1
    assert sum(counts) == 0


def test_the_order_of_rows_does_not_matter():
    table = table_of(*four_methods())
    shuffled = table.take(np.random.default_rng(1).permutation(len(table.label)))
    first, second = evaluated(table), evaluated(shuffled)
    assert first.video.metrics == second.video.metrics
    for name in METRIC_NAMES:
        found, expected = first.frame.metrics[name].low, second.frame.metrics[name].low
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_seeds_repeat_and_differ():
    table = table_of(*four_methods())
    assert evaluated(table, seed=3).to_json() == evaluated(table, seed=3).to_json()
    first, second = evaluated(table, seed=3), evaluated(table, seed=4)
    assert first.video.metrics["auc"].value == second.video.metrics["auc"].value
    assert first.video.metrics["auc"] != second.video.metrics["auc"]


def test_the_aggregation_rule_is_used():
    table = replace(
        table_of(("a", "youtube", 0, 0.1), ("b", "Deepfakes", 1, 0.1), num_faces=2, spread=0.0),
        track_id=np.array([0, 0, 0, 1]),
        fake_probability=np.array([0.125, 0.125, 0.25, 0.75]),
    )
    assert video_samples(table, aggregation_rule="mean").fake_probability.tolist() == [0.125, 0.5]
    evaluation = evaluated(table, aggregation_rule="most_suspicious_track")
    assert evaluation.video.scores.tolist() == [0.125, 0.75]
    assert evaluation.video.labels.tolist() == [0, 1]
    assert evaluation.settings.aggregation_rule == "most_suspicious_track"


def test_video_samples_are_sorted_and_point_back_to_rows():
    table = table_of(("z", "youtube", 0, 0.2), ("a", "Deepfakes", 1, 0.8))
    videos = video_samples(table, aggregation_rule="mean")
    assert videos.video_id.tolist() == ["a", "z"]
    assert videos.method.tolist() == ["Deepfakes", "youtube"]
    assert videos.label.tolist() == [1, 0]
    assert videos.of_row.tolist() == [1] * 4 + [0] * 4


def test_roc_points_come_with_each_level():
    curve = evaluated(table_of(*four_methods())).video.roc()
    area = np.sum(np.diff(curve.false_positive_rate) * curve.true_positive_rate[:-1])
    area += 0.5 * np.sum(np.diff(curve.false_positive_rate) * np.diff(curve.true_positive_rate))
    expected = evaluated(table_of(*four_methods())).video.metrics["auc"].value
    assert area == pytest.approx(expected)


def test_unscored_videos_are_reported_and_never_scored():
    table = table_of(*four_methods())
    coverage = Coverage(63, 60, 2, 1, (("x", "no face"), ("y", "no face"), ("z", "cut short")))
    evaluation = evaluate_scores(table, coverage, threshold=0.5, aggregation_rule="mean", num_resamples=2)
    assert len(evaluation.video.scores) == 60
    assert evaluation.to_json()["coverage"] == {
        "videos_expected": 63,
        "videos_scored": 60,
        "videos_without_face": 2,
        "videos_failed": 1,
        "unscored": [
            {"video_id": "x", "reason": "no face"},
            {"video_id": "y", "reason": "no face"},
            {"video_id": "z", "reason": "cut short"},
        ],
        "faces_unscored": 0,
        "videos_missing": 0,
    }


def test_the_worst_method_decides_the_worst_case_error_rates():
    evaluation = evaluated(table_of(*four_methods()))
    errors = evaluation.attack_errors
    apcer = {name: one.video.metrics["apcer"] for name, one in evaluation.per_method.items()}
    assert errors.apcer == apcer
    assert errors.worst_method == evaluation.worst_method == "Deepfakes"
    assert errors.worst_apcer.value == max(one.value for one in apcer.values()) == 1.0
    assert errors.mean_apcer.value == pytest.approx(np.mean([one.value for one in apcer.values()]))
    assert errors.bpcer == evaluation.video.metrics["bpcer"]
    # All of the twelve fakes of the worst method are called real: its interval is that of twelve.
    assert errors.worst_apcer.low == apcer["Deepfakes"].low
    for acer, rate in ((errors.worst_acer, errors.worst_apcer), (errors.mean_acer, errors.mean_apcer)):
        assert acer.value == pytest.approx((rate.value + errors.bpcer.value) / 2)
        assert acer.low < acer.value < acer.high
    stored = evaluation.to_json()["iso_30107_3"]
    assert stored["worst_method"] == "Deepfakes"
    assert stored["worst_acer"]["value"] == errors.worst_acer.value
    assert stored["apcer"]["FaceSwap"]["value"] == apcer["FaceSwap"].value
    assert "worst method Deepfakes: APCER 1.000" in " ".join(rendered(evaluation).split())


def test_without_fakes_there_are_no_attack_errors():
    evaluation = evaluated(table_of(*[one for one in four_methods() if one[2] == 0]))
    assert evaluation.attack_errors is None
    assert evaluation.to_json()["iso_30107_3"] is None
    assert evaluation.worst_method is None


# --- the terminal's table ------------------------------------------------------------------------


def rendered(evaluation, width=80):
    out = io.StringIO()
    print_evaluation(evaluation, file=out, width=width)
    return out.getvalue()


def test_table_fits_a_terminal_and_says_everything():
    evaluation = evaluated(table_of(*four_methods()))
    text = rendered(evaluation)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    assert "[low, high]" in text
    rows = [line.split() for line in text.splitlines() if line.strip().startswith(("video", "frame"))]
    assert [row[:2] for row in rows] == [[lv, m] for lv in ("video", "frame") for m in ("all", *METHODS)]
    metrics = evaluation.video.metrics
    numbers = " ".join(f"{metrics[name].value:.3f}" for name in ("accuracy", "eer", "log_loss"))
    assert " ".join(rows[0]) == f"video all 12 + 48 {metrics['auc'].text()} {numbers}"
    assert "60 of 60 videos scored, 0 without a face, 0 could not be read" in text
    assert "threshold 0.5, mean, 95% intervals over videos" in text


def test_table_keeps_numbers_whole_beside_a_long_name_and_brackets_in_it():
    videos = [("a", "youtube", 0, 0.1), ("b", "[bold]a_method_with_a_name_that_is_very_long", 1, 0.8)]
    text = rendered(evaluated(table_of(*videos)))
    assert text.count("1.000 [too few]") == 4
    assert "[bold]a" in text


def test_table_says_where_a_number_is_undefined():
    text = rendered(evaluated(table_of(("a", "Deepfakes", 1, 0.7), ("b", "Deepfakes", 1, 0.6))))
    assert text.count("n/a") == 8  # AUC and EER, two levels, over all and for the method
    assert "nan" not in text


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.array([0, 1])}, r"has columns that differ in shape: video_id \(4,\).*label \(2,\)"),
        ({"label": np.array([0, 0, 1, 2])}, "score table, label: has values other than 0 and 1"),
        ({"label": np.array([0.0, 0, 1, 1])}, "score table, label: has float64"),
        ({"track_id": np.array([0.0, 0, 0, 0])}, "score table, track_id: has float64"),
        ({"frame_index": np.array([None] * 4)}, "score table, frame_index: has object"),
        ({"video_id": np.array(["a", "a", "b", None])}, "score table, video_id: has empty or missing text"),
        ({"method": np.array(["a", "a", "b", ""])}, "score table, method: has empty or missing text"),
        (
            {"video_id": np.array(["a", "a", "b", "b\0"], object)},
            "has the character NUL; remove it",
        ),
        ({"fake_probability": np.array([0, 0, 0, np.nan])}, "fake_probability: has NaN or values outside"),
        ({"fake_probability": np.array([0, 0, 0, 1.5])}, "fake_probability: has NaN or values outside"),
    ],
)
def test_bad_columns_are_rejected(changes, message):
    table = table_of(("a", "youtube", 0, 0.2), ("b", "Deepfakes", 1, 0.8), num_faces=2)
    with pytest.raises(ManifestError, match=message):
        replace(table, **changes)


def test_refuses_an_empty_table():
    with pytest.raises(ManifestError, match="score table: has no row"):
        ScoreTable(*(np.array([]) for _ in range(6)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.array([0, 1, 1, 1])}, "video a: has rows that differ in the label: 0 and 1"),
        (
            {"method": np.array(["youtube", "actors", "Deepfakes", "Deepfakes"])},
            "video a: has rows that differ in the method: youtube and actors",
        ),
        ({"frame_index": np.array([0, 9, 9, 9])}, "video b: has track 0 2 times in frame 9"),
    ],
)
def test_rows_that_cannot_be_one_video_are_rejected(changes, message):
    table = table_of(("a", "youtube", 0, 0.2), ("b", "Deepfakes", 1, 0.8), num_faces=2)
    with pytest.raises(ManifestError, match=message):
        evaluated(replace(table, **changes))


@pytest.mark.parametrize(
    "counts", [(3, 2, 0, 0, ()), (3, 2, 1, 0, ()), (2, 2, 0, 0, (("x", "no face"),)), (1, 2, -1, 0, ())]
)
def test_refuses_coverage_that_does_not_add_up(counts):
    with pytest.raises(OptionError, match="coverage: .* listed as unscored do not add up"):
        Coverage(*counts)


def test_the_coverage_of_another_table_is_rejected():
    table = table_of(("a", "youtube", 0, 0.2), ("b", "Deepfakes", 1, 0.8))
    options = {"threshold": 0.5, "aggregation_rule": "mean"}
    with pytest.raises(OptionError, match="has 3 scored videos, the score table has 2"):
        evaluate_scores(table, Coverage(3, 3, 0, 0, ()), **options)
    with pytest.raises(OptionError, match="lists b as unscored, and it has scores"):
        evaluate_scores(table, Coverage(3, 2, 1, 0, (("b", "no face"),)), **options)


def test_an_unknown_rule_and_a_threshold_of_nan_are_rejected():
    table = table_of(("a", "youtube", 0, 0.2), ("b", "Deepfakes", 1, 0.8))
    with pytest.raises(OptionError, match="aggregation_rule: 'max' is unknown"):
        evaluated(table, aggregation_rule="max")
    with pytest.raises(OptionError, match="threshold: is nan; must be a finite number"):
        evaluated(table, threshold=float("nan"))
