"""The picture: what is drawn, that nothing covers anything, and that no file is left half written."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from deepfake_detect.errors import OptionError, OutputError
from deepfake_detect.evaluation import Coverage, ScoreTable, evaluate_scores
from deepfake_detect.report.roc import save_roc_figure


def evaluation_of(methods, *, num_reals=20, num_fakes=20, num_faces=3):
    generator = np.random.default_rng(0)
    sources = [("youtube", 0, num_reals)] + [(method, 1, num_fakes) for method in methods]
    rows = [
        (f"{method}/{n}", method, label, 0, frame, np.clip(generator.normal(0.4 + 0.2 * label, 0.2), 0, 1))
        for method, label, count in sources
        for n in range(count)
        for frame in range(num_faces)
    ]
    table = ScoreTable(*(np.array(column) for column in zip(*rows, strict=True)))
    count = len(set(table.video_id))
    coverage = Coverage(count + 1, count, 1, 0, (("youtube/dark", "no face"),))
    return evaluate_scores(table, coverage, threshold=0.5, aggregation_rule="mean", num_resamples=20)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return a function that saves an evaluation's figure and returns the figure as it was drawn."""
    figures = []
    save = Figure.savefig

    def remember(self, *args, **kwargs):
        figures.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)

    def draw(evaluation):
        save_roc_figure(evaluation, tmp_path / "roc.png")
        return figures[-1]

    return draw


def legend_lines(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def all_text(figure):
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_file_is_a_picture_of_readable_size_and_not_blank(tmp_path):
    path = tmp_path / "new folder" / "roc.png"
    save_roc_figure(evaluation_of(["Deepfakes", "FaceSwap"]), path)
    pixels = imread(path)
    assert pixels.shape[0] > 800
    assert pixels.shape[1] > 1200
    colors = (pixels[..., :3] * 255).round().astype(int) @ (1, 256, 256**2)
    assert len(np.unique(colors)) > 50
    assert [file.name for file in path.parent.iterdir()] == ["roc.png"]


def test_both_levels_methods_and_chance_are_drawn_with_their_numbers(drawn):
    evaluation = evaluation_of(["Deepfakes", "FaceSwap", "$a_b$"])
    figure = drawn(evaluation)
    expected = [
        f"{evaluation.video.metrics['auc'].text()}  Video level",
        f"{evaluation.frame.metrics['auc'].text()}  Frame level, each face",
        "0.500  Chance",
    ]
    by_auc = sorted(evaluation.per_method.items(), key=lambda item: -item[1].video.metrics["auc"].value)
    expected += [f"{result.video.metrics['auc'].text()}  {name}" for name, result in by_auc]
    assert legend_lines(figure) == expected
    assert not any(text.get_parse_math() for legend in figure.legends for text in legend.get_texts())
    assert "ROC: 20 real and 60 fake videos" in all_text(figure)
    assert "80 of 81 videos scored, 1 without a face, 0 could not be read" in all_text(figure)


def test_curves_are_those_of_the_evaluation(drawn):
    evaluation = evaluation_of(["Deepfakes", "FaceSwap"])
    lines = {line.get_label().split("  ")[-1]: line for line in drawn(evaluation).axes[0].lines}
    assert len(lines) == 5
    for name, level in [
        ("Video level", evaluation.video),
        ("Frame level, each face", evaluation.frame),
        ("FaceSwap", evaluation.per_method["FaceSwap"].video),
    ]:
        curve = level.roc()
        np.testing.assert_array_equal(lines[name].get_xdata(), curve.false_positive_rate)
        np.testing.assert_array_equal(lines[name].get_ydata(), curve.true_positive_rate)


@pytest.mark.parametrize(("num_methods", "num_thin"), [(1, 0), (2, 2), (8, 8), (9, 0)])
def test_methods_are_drawn_one_by_one_while_they_can_be_told_apart(drawn, num_methods, num_thin):
    figure = drawn(evaluation_of([f"method {n}" for n in range(num_methods)], num_fakes=5))
    lines = figure.axes[0].lines
    assert len(lines) == 3 + num_thin
    assert len({line.get_color() for line in lines}) == len(lines)
    assert ("9 methods: too many to show each" in all_text(figure)) == (num_methods == 9)


@pytest.mark.parametrize("num_methods", [1, 8, 9])
def test_nothing_covers_anything_and_all_is_on_the_canvas(drawn, num_methods):
    figure = drawn(evaluation_of([f"a method with a long name {n}" for n in range(num_methods)], num_fakes=5))
    renderer = figure.canvas.get_renderer()
    (axes,) = figure.axes
    note = [text for text in axes.texts if "too many" in text.get_text()]
    boxes = [axes.bbox, *(item.get_window_extent(renderer) for item in [*figure.legends, *note])]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
    title, subtitle = axes.title.get_window_extent(renderer), axes.texts[0].get_window_extent(renderer)
    assert title.y0 > subtitle.y1
    assert subtitle.y0 > axes.bbox.y1
    picture = figure.get_tightbbox(renderer)
    dots = figure.dpi
    for box in boxes:
        assert box.x1 <= picture.x1 * dots + 1
        assert box.y0 >= picture.y0 * dots - 1


@pytest.mark.parametrize(
    ("num_reals", "num_fakes", "words"),
    [
        (0, 7, "No curve: all 7 scored videos are fake."),
        (4, 0, "No curve: all 4 scored videos are real."),
        (0, 1, "No curve: the only scored video is fake."),
    ],
)
def test_a_single_class_says_why_there_is_no_curve(drawn, num_reals, num_fakes, words):
    figure = drawn(evaluation_of(["Deepfakes"], num_reals=num_reals, num_fakes=num_fakes))
    assert words in all_text(figure)
    assert not figure.axes[0].lines
    assert not figure.legends


def test_a_failed_drawing_leaves_the_old_file(monkeypatch, tmp_path):
    path = tmp_path / "roc.png"
    path.write_bytes(b"old")

    def fail(self, *args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OutputError, match="disk full"):
        save_roc_figure(evaluation_of(["Deepfakes"]), path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_refuses_another_format(tmp_path):
    with pytest.raises(OptionError, match=r"roc.pdf does not end in .png"):
        save_roc_figure(evaluation_of(["Deepfakes"]), tmp_path / "roc.pdf")


def test_importing_the_module_does_not_import_matplotlib():
    program = "import sys, deepfake_detect.report.roc; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_drawing_does_not_touch_pyplot():
    # In a process of its own, since another test may have imported it.
    program = """
import sys, tempfile
from tests.report.test_roc import evaluation_of, save_roc_figure
save_roc_figure(evaluation_of(["Deepfakes"], num_reals=3, num_fakes=3), tempfile.mkdtemp() + "/roc.png")
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
