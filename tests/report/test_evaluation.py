"""The folder an evaluation leaves: numbers, scores, a page that needs nothing else, a paper's table."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.evaluation import Coverage, Evaluation, ScoreTable, evaluate_scores
from deepfake_detect.evaluation.compare import NamedScores, compare_scores
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.evaluation.inputs import CropSource
from deepfake_detect.evaluation.robustness import Robustness, RobustnessPoint
from deepfake_detect.evaluation.score_files import read_scores
from deepfake_detect.metrics import METRIC_NAMES, Interval
from deepfake_detect.report.compare import write_comparison
from deepfake_detect.report.evaluation import ReportContext, write_evaluation
from deepfake_detect.report.figures import methods_figure, reliability_figure, slices_figure
from deepfake_detect.report.words import METRIC_WORDS


def made_scores(root: Path, *, num_videos: int = 24, label: int | None = None) -> ScoreTable:
    """Two faces a video with a crop of one gray each; every fifth video is judged wrongly."""
    numbers = np.repeat(np.arange(num_videos), 2)
    labels = numbers % 2 if label is None else np.full(len(numbers), label)
    methods = np.where(labels == 0, "youtube", np.where(numbers % 4 == 1, "Deepfakes", "<b>Swap|$x$"))
    generator = np.random.default_rng(0)
    right = np.where(labels == 1, 0.8, 0.2) + generator.uniform(-0.15, 0.15, len(numbers))
    (root / "crops").mkdir(exist_ok=True)
    paths = [f"crops/{row}.png" for row in range(len(numbers))]
    for row, path in enumerate(paths):
        cv2.imwrite(str(root / path), np.full((40, 40, 3), row, np.uint8))
    probabilities = np.where(numbers % 5 == 0, 1 - right, right)
    return ScoreTable(
        video_id=np.array([f"made/<i>{number:02d}" for number in numbers], object),
        method=methods.astype(object),
        label=labels,
        track_id=np.zeros(len(numbers), int),
        frame_index=np.tile([0, 9], num_videos),
        fake_probability=probabilities,
        details={
            "path": np.array(paths, object),
            "native_size": 60.0 + 10 * numbers,
            "logit": 3 * np.log(probabilities / (1 - probabilities)),
        },
    )


def evaluated(table: ScoreTable, *, coverage: Coverage | None = None) -> Evaluation:
    count = len(set(table.video_id))
    return evaluate_scores(
        table,
        coverage or Coverage(count, count, 0, 0, ()),
        threshold=0.5,
        aggregation_rule="mean",
        num_resamples=20,
    )


def written(
    folder: Path,
    table: ScoreTable,
    *,
    coverage: Coverage | None = None,
    crops: CropSource | None = None,
    seen: tuple[str, ...] = (),
    robustness: Robustness | None = None,
) -> Evaluation:
    evaluation = evaluated(table, coverage=coverage)
    evaluation = replace(evaluation, seen=seen, robustness=robustness)
    context = ReportContext("A <title>", DecisionFacts("made", seen=seen), crops)
    write_evaluation(folder, evaluation, table, context)
    return evaluation


SEEN = "m: the detector was trained on 3 of the 24 measured videos"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """The folder of an evaluation with a video that failed and a warning."""
    root = tmp_path_factory.mktemp("report")
    coverage = Coverage(25, 24, 0, 1, (("made/<broken>", "cut short"),))
    return root / "out", written(root / "out", made_scores(root), coverage=coverage, seen=(SEEN,))


class Page(HTMLParser):
    """Tags that were opened and not closed, addresses, and the text without style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.links += [named["href"] or ""] if "href" in named else []
        self.sources += [named["src"] or ""] if "src" in named else []
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data.replace("\N{NO-BREAK SPACE}", " "))


def test_the_words_name_every_metric() -> None:
    assert set(METRIC_WORDS) == set(METRIC_NAMES)


def test_the_folder_holds_numbers_that_anyone_can_recompute(report: tuple[Path, Evaluation]) -> None:
    folder, evaluation = report
    assert sorted(path.name for path in folder.iterdir()) == [
        *("metrics.json", "report.html", "report.md", "roc.png", "scores.parquet")
    ]
    stored = json.loads((folder / "metrics.json").read_text())
    assert stored == evaluation.to_json()
    assert stored["seen"] == [SEEN]
    file = read_scores(folder)
    again = evaluate_scores(
        file.table,
        file.coverage,
        threshold=file.decision.threshold,
        aggregation_rule=file.decision.aggregation_rule,
        num_resamples=20,
    )
    assert replace(again, seen=file.decision.seen).to_json() == evaluation.to_json()


def test_the_page_is_whole_and_needs_nothing_else(report: tuple[Path, Evaluation]) -> None:
    folder, evaluation = report
    html = (folder / "report.html").read_text()
    page = Page(html)
    assert page.open == []
    assert page.links == []
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert len(page.sources) == 6  # ROC, DET, reliability, abstention, methods, native size
    for source in page.sources:
        image = cv2.imdecode(np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8), 1)
        assert image.std() > 5
    words = " ".join(page.words)
    assert page.words.count("A <title>") == 2  # of the page, and on it
    assert SEEN in words
    assert "24 of 25 videos scored, 0 without a face, 1 could not be read" in words
    assert "1 could not be read" in words
    assert "made/<broken>" in words
    assert "video: <b>Swap|$x$" in words
    assert "video: mean over methods" in words
    assert evaluation.video.metrics["auc"].text() in words
    assert all(name in words for name in METRIC_WORDS.values())
    assert '<p class="red">m: the detector was trained' in html


@pytest.mark.usefixtures("blank_figures")
def test_the_worst_faces_are_shown_with_their_clips(tmp_path: Path) -> None:
    table = made_scores(tmp_path)
    clip = tmp_path / "clip of 05.mp4"
    clip.write_bytes(b"")
    source = CropSource(tmp_path, {"made/<i>05": str(clip)})
    evaluation = written(tmp_path / "out", table, crops=source)
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.open == []
    wrong = (evaluation.video.scores >= 0.5) != (evaluation.video.labels == 1)
    assert len(page.links) == wrong.sum() == 5
    assert clip.as_uri() in page.links
    shown = [word for word in page.words if word.startswith("made/<i>")]
    reals = np.flatnonzero(wrong & (evaluation.video.labels == 0))
    worst_first = reals[np.argsort(-evaluation.video.scores[reals])]
    assert shown[: len(reals)] == evaluation.video_ids[worst_first].tolist()
    # The face that speaks most against the truth: the crop's gray is the number of its row.
    row = int(
        np.flatnonzero(table.video_id == shown[0])[
            table.fake_probability[table.video_id == shown[0]].argmax()
        ]
    )
    (first, *_) = [source for source in page.sources if "jpeg" in source]
    gray = cv2.imdecode(np.frombuffer(base64.b64decode(first.split(",")[1]), np.uint8), 1)
    assert abs(float(gray.mean()) - row) < 1.5


@pytest.mark.usefixtures("blank_figures")
def test_a_crop_that_is_gone_is_said_and_no_end(tmp_path: Path) -> None:
    table = made_scores(tmp_path)
    for crop in (tmp_path / "crops").iterdir():
        crop.unlink()
    written(tmp_path / "out", table, crops=CropSource(tmp_path, {}))
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert " ".join(page.words).count("(the crop can no longer be read)") == 5
    assert page.links == []


@pytest.mark.usefixtures("blank_figures")
def test_without_mistakes_the_sheets_say_none(tmp_path: Path) -> None:
    table = made_scores(tmp_path)
    right = replace(table, fake_probability=table.label * 0.5 + 0.25)
    written(tmp_path / "out", right, crops=CropSource(tmp_path, {}))
    assert Page((tmp_path / "out" / "report.html").read_text()).words.count("None.") == 2


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_a_page_too(tmp_path: Path, label: int) -> None:
    written(tmp_path / "out", made_scores(tmp_path, label=label))
    words = " ".join(Page((tmp_path / "out" / "report.html").read_text()).words)
    assert "n/a" in words
    assert "nan" not in words


def test_robustness_is_a_figure_and_a_table(tmp_path: Path) -> None:
    points = tuple(
        RobustnessPoint(level, Interval(0.9 - 0.1 * n, 0.3, 0.95), Interval(-0.1 * n, -0.2, 0.0))
        for n, level in enumerate((90, 70, 50, 30, 10))
    )
    found = Robustness(Interval(0.9, 0.8, 0.95), {"jpeg": points}, 7, 8, 0)
    written(tmp_path / "out", made_scores(tmp_path), robustness=found)
    page = Page((tmp_path / "out" / "report.html").read_text())
    words = " ".join(page.words)
    assert "7 real and 8 fake videos; unchanged: AUC 0.900 [0.800, 0.950]" in words
    assert "JPEG quality 10" in words
    assert len(page.sources) == 7
    assert (
        "| JPEG quality 10 | 0.500 [0.300, 0.950] | -0.400 " in (tmp_path / "out" / "report.md").read_text()
    )
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["robustness"] == found.to_json()


def test_the_paper_table_is_markdown(report: tuple[Path, Evaluation]) -> None:
    folder, evaluation = report
    text = (folder / "report.md").read_text()
    rows = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows[:14]}) == 1
    errors = evaluation.attack_errors
    assert errors is not None
    assert rows[16][1].strip().startswith("worst case: ")
    assert [cell.strip() for cell in rows[16][2:5]] == [
        errors.worst_apcer.text(),
        errors.bpcer.text(),
        errors.worst_acer.text(),
    ]
    slices = [row[1:3] for row in rows[20:]]
    assert slices[0] == [" native_size ", " real + fake videos "]
    assert slices[2] == [" below 100 ", " 2 + 2 "]
    names = ["all", "&lt;b&gt;Swap\\|$x$", "Deepfakes", "mean over methods"]
    assert [(row[1].strip(), row[2].strip()) for row in rows[2:14]] == [
        (level, name) for level in ("video", "track", "frame") for name in names
    ]
    assert rows[2][4].strip() == evaluation.video.metrics["auc"].text()
    assert f"**Warning: {SEEN}**" in text
    assert "24 of 25 videos scored" in text


def test_scores_that_are_used_again_keep_the_warning(report: tuple[Path, Evaluation]) -> None:
    assert read_scores(report[0]).decision.seen == (SEEN,)


def test_slices_are_tables_too(report: tuple[Path, Evaluation]) -> None:
    folder, evaluation = report
    words = Page((folder / "report.html").read_text()).words
    first = evaluation.slices["native_size"][0]
    start = words.index("below 100")
    assert words[start + 1 : start + 3] == ["2 + 2", first.metrics["auc"].text()]


def titles(evaluation: Evaluation, table: ScoreTable, *, has_logits: bool) -> list[str]:
    figure = reliability_figure(evaluation, table, has_logits=has_logits)
    return [axes.get_title(loc="left").split(":")[0] for axes in figure.axes]


@pytest.mark.usefixtures("blank_figures")
def test_reliability_before_calibration_needs_logits_of_our_own(tmp_path: Path) -> None:
    table = made_scores(tmp_path)
    evaluation = evaluated(table)
    before = "faces, before calibration"
    assert titles(evaluation, table, has_logits=True) == [before, "faces", "videos"]
    assert titles(evaluation, table, has_logits=False) == ["faces", "videos"]
    for odd in (np.full(48, "high", object), np.where(np.arange(48) == 3, np.nan, 1.0)):
        other = replace(table, details={**table.details, "logit": odd})
        assert titles(evaluation, other, has_logits=True) == ["faces", "videos"]
        written(tmp_path / "other", other)  # a text column of that name is no matter


@pytest.mark.usefixtures("blank_figures")
def test_without_tracks_the_report_says_so(tmp_path: Path) -> None:
    table = replace(made_scores(tmp_path), has_tracks=False)
    written(tmp_path / "out", table)
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "No track level: the scores have no column track_id" in text
        assert "| track |" not in text
        assert "track: all" not in text


def test_names_in_any_script_are_drawn_without_a_warning(tmp_path: Path) -> None:
    table = made_scores(tmp_path)
    names = np.where(table.label == 1, "\u6362\u8138\x07\n" + "x" * 90, "youtube").astype(object)
    written(tmp_path / "out", replace(table, method=names))  # a warning would be an error here
    first, *_ = (line for line in (tmp_path / "out" / "report.md").read_text().splitlines() if "xxx" in line)
    assert first.startswith("| video | \u6362\u8138\x07 xxx")


@pytest.mark.usefixtures("blank_figures")
def test_figures_of_many_rows_are_cut_and_tables_are_not(tmp_path: Path) -> None:
    table = made_scores(tmp_path, num_videos=120)
    numbers = np.repeat(np.arange(120), 2)
    many = np.array([f"m{number:03d}" if number % 2 else "youtube" for number in numbers], object)
    evaluation = written(tmp_path / "out", replace(table, method=many))
    labels = [text.get_text() for text in methods_figure(evaluation).axes[0].get_yticklabels()]
    assert len(labels) == 40
    assert labels[-1] == "mean over methods (21 not shown)"
    assert len(evaluation.per_method) == 60
    assert "video: m119" in Page((tmp_path / "out" / "report.html").read_text()).words
    slices = (evaluation.slices["native_size"][0],) * 70
    assert len(slices_figure("x", slices).axes[0].get_yticklabels()) == 40


@pytest.mark.usefixtures("blank_figures")
def test_a_face_in_a_tar_links_to_the_tar(tmp_path: Path) -> None:
    table = made_scores(tmp_path)
    (tmp_path / "crops.tar").write_bytes(b"")
    inside = np.array([f"crops.tar/{row}.png" for row in range(48)], object)
    table = replace(table, details={**table.details, "path": inside})
    written(tmp_path / "out", table, crops=CropSource(tmp_path, {}))
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.links == [(tmp_path / "crops.tar").as_uri()] * 5
    assert "Faces link to their crops; with an index, to their clips." in " ".join(page.words)


def test_a_comparison_shows_coverage_and_warnings(tmp_path: Path) -> None:
    table = made_scores(tmp_path)
    coverage = Coverage.of(24, {"x": "no_face", **{f"y{n}": "cut short" for n in range(9)}})
    first = NamedScores(DecisionFacts("a", seen=("m: trained on 3",)), table, coverage)
    second = NamedScores(DecisionFacts("b\x07"), table)
    write_comparison(tmp_path / "out", compare_scores([first, second], num_resamples=5))
    page = (tmp_path / "out" / "compare.html").read_text()
    assert '<p class="red">a: m: trained on 3</p>' in page
    assert '<p class="red">a: the comparison has 24 of its 34 videos' in page
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "| a | 24 of 34 videos scored, 1 without a face, 9 could not be read | 0.5 | mean |" in text
    assert "**Warning: a: m: trained on 3**" in text
    stored = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert stored["detectors"]["a"]["coverage"]["videos_without_face"] == 1
