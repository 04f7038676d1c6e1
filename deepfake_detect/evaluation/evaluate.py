"""Finished scores -> what a paper reports: video and frame level, per method, with intervals.

Takes numbers, not a network: whoever scored the crops fills a :class:`ScoreTable` and says in a
:class:`Coverage` which videos have no score and why.

**Video level**: one sample a video, its probability from :func:`aggregate_clip`.
**Frame level**: one sample per scored face of every frame, with the label of its video; a frame
with two faces is two samples. Intervals of both levels resample whole videos.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.aggregation import aggregate_clip
from deepfake_detect.metrics import CONFIDENCE, Interval, RocCurve, bootstrap_intervals, roc_curve
from deepfake_detect.records import FAKE, REAL


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """One row per scored face crop; every array has the same length N >= 1.

    Attributes:
        video_id: text (N,), object or str dtype. *The* identity of a video, unique across methods
            and datasets; never a folder or file name, which four methods may share.
        method: text (N,), the forgery method, or for reals their source.
        label: int (N,), 0 = real, 1 = fake.
        track_id: int (N,), the person's track within the video, from 0.
        frame_index: int (N,), position in presentation order, from 0.
        fake_probability: float (N,), 0 to 1.

    Raises:
        ManifestError: Arrays that are empty or of unequal length, missing text, numbers of the
            wrong kind, labels other than 0 and 1, probabilities that are NaN or outside 0 to 1.
    """

    video_id: np.ndarray
    method: np.ndarray
    label: np.ndarray
    track_id: np.ndarray
    frame_index: np.ndarray
    fake_probability: np.ndarray

    def __post_init__(self) -> None:
        shapes = {name: np.shape(column) for name, column in vars(self).items()}
        if set(shapes.values()) != {(len(self.video_id),)}:
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ManifestError(
                "score table", f"columns of unequal shape: {listed}", "pass one value per face in each"
            )
        if len(self.video_id) == 0:
            raise ManifestError("score table", "has no row", "score at least one face")
        for name in ("video_id", "method"):
            if not all(isinstance(value, str) and value for value in getattr(self, name)):
                raise ManifestError(f"score table, {name}", "holds empty or missing text", "name every row")
        for name in ("label", "track_id", "frame_index"):
            if not np.issubdtype(getattr(self, name).dtype, np.integer):
                kind = getattr(self, name).dtype
                raise ManifestError(f"score table, {name}", f"holds {kind}", "pass an array of integers")
        if not np.isin(self.label, (REAL, FAKE)).all():
            raise ManifestError(
                "score table, label", "holds values other than 0 and 1", "pass 0 for real and 1 for fake"
            )
        # Written so that NaN fails too.
        if not ((self.fake_probability >= 0.0) & (self.fake_probability <= 1.0)).all():
            raise ManifestError(
                "score table, fake_probability",
                "holds NaN or values outside 0 to 1",
                "leave out what was not scored and list it in the coverage",
            )


@dataclass(frozen=True)
class Coverage:
    """How many of the videos asked for stand behind the numbers.

    Attributes:
        videos_expected: Videos of the list or split that was to be evaluated.
        videos_scored: Videos with at least one scored face.
        videos_without_face: Videos read well in which no face was found.
        videos_failed: Videos that could not be read or scored.
        unscored: ``(video_id, reason)`` of each video without a score.

    Raises:
        OptionError: A negative count, or counts that do not add up.
    """

    videos_expected: int
    videos_scored: int
    videos_without_face: int
    videos_failed: int
    unscored: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        num_unscored = self.videos_without_face + self.videos_failed
        counts = (self.videos_expected, self.videos_scored, self.videos_without_face, self.videos_failed)
        adds_up = self.videos_expected == self.videos_scored + num_unscored
        if min(counts) < 0 or not adds_up or num_unscored != len(self.unscored):
            raise OptionError(
                "coverage",
                f"{self.sentence()} and {len(self.unscored)} listed as unscored do not add up",
                "count every expected video once and list each unscored one",
            )

    def sentence(self) -> str:
        """Return the coverage in words.

        Example:
            >>> Coverage(10, 9, 1, 0, (("c23/000", "no face"),)).sentence()
            '9 of 10 videos scored, 1 without a face, 0 failed'
        """
        return (
            f"{self.videos_scored} of {self.videos_expected} videos scored, "
            f"{self.videos_without_face} without a face, {self.videos_failed} failed"
        )


@dataclass(frozen=True, eq=False)
class VideoSamples:
    """The V videos of a score table as samples, sorted by identity.

    Attributes:
        video_id: str (V,), each once, rising.
        method: str (V,).
        label: int64 (V,), 0 = real, 1 = fake.
        fake_probability: float64 (V,), 0 to 1, aggregated over the video's faces.
        of_row: int64 (N,), for each row of the score table its video's position in the above.
    """

    video_id: np.ndarray
    method: np.ndarray
    label: np.ndarray
    fake_probability: np.ndarray
    of_row: np.ndarray


@dataclass(frozen=True)
class EvaluationSettings:
    """All that the numbers depend on beside the scores.

    Attributes:
        threshold: Probability at or above which a sample is called fake.
        aggregation_rule: Name in ``AGGREGATION_RULES``.
        num_draws: Bootstrap draws.
        confidence: Share of draws inside an interval.
        seed: Of the bootstrap.
    """

    threshold: float
    aggregation_rule: str
    num_draws: int
    confidence: float
    seed: int


@dataclass(frozen=True, eq=False)
class LevelResult:
    """Samples of one level and the metrics over them.

    Attributes:
        labels: int64 (M,), 0 = real, 1 = fake.
        scores: float64 (M,), fake probability, 0 to 1.
        metrics: An interval per name of ``metrics.METRIC_NAMES``; NaN where undefined.
    """

    labels: np.ndarray
    scores: np.ndarray
    metrics: dict[str, Interval]

    def roc(self) -> RocCurve:
        """Return the ROC curve; its rates are NaN for an absent class."""
        return roc_curve(self.labels, self.scores)

    def to_json(self) -> dict[str, dict[str, float | None]]:
        """Return ``{metric: {"value", "low", "high"}}`` with ``None`` for an undefined number."""
        return {
            name: {"value": _or_none(one.value), "low": _or_none(one.low), "high": _or_none(one.high)}
            for name, one in self.metrics.items()
        }


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One forgery method's fakes against all real videos.

    Attributes:
        video, frame: The two levels.
        num_videos_fake, num_videos_real: Videos behind them.
    """

    video: LevelResult
    frame: LevelResult
    num_videos_fake: int
    num_videos_real: int

    def to_json(self) -> dict[str, Any]:
        """Return both levels and the counts as plain values."""
        return {
            "video": self.video.to_json(),
            "frame": self.frame.to_json(),
            "num_videos_fake": self.num_videos_fake,
            "num_videos_real": self.num_videos_real,
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything an evaluation found.

    Attributes:
        video: One sample per video, in the order of ``video_ids``.
        frame: One sample per scored face, in the order of the score table.
        video_ids: str (V,), sorted.
        per_method: A result per forgery method, by name; sources of reals alone are not listed.
        coverage: Which videos stand behind the numbers.
        settings: Threshold, rule and bootstrap.
    """

    video: LevelResult
    frame: LevelResult
    video_ids: np.ndarray
    per_method: dict[str, MethodResult]
    coverage: Coverage
    settings: EvaluationSettings

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``files.write_json`` takes; undefined numbers are ``None``."""
        unscored = [{"video_id": video_id, "reason": reason} for video_id, reason in self.coverage.unscored]
        return {
            "video": self.video.to_json(),
            "frame": self.frame.to_json(),
            "per_method": {name: result.to_json() for name, result in self.per_method.items()},
            "coverage": {**asdict(self.coverage), "unscored": unscored},
            "settings": asdict(self.settings),
        }


def evaluate_scores(
    table: ScoreTable,
    coverage: Coverage,
    *,
    threshold: float,
    aggregation_rule: str,
    num_draws: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Return video- and frame-level metrics of finished scores, overall and per forgery method.

    Args:
        table: Scored faces.
        coverage: Which videos were expected and which are not in the table.
        threshold: Probability at or above which a sample is called fake.
        aggregation_rule: A name in ``AGGREGATION_RULES``.
        num_draws: Bootstrap draws for the 95 % intervals, from 1.
        seed: Of the bootstrap, from 0; equal seeds give equal numbers.

    Returns:
        The evaluation. A metric that needs both classes is NaN where one is absent.

    Raises:
        ManifestError: Rows of one video disagree on label or method, or list a face twice.
        OptionError: The coverage does not fit the table; an unknown rule; an option out of range.

    Source: video level and per-method protocol of FaceForensics++ (arXiv:1901.08971) as the field
    reports it: each method's fakes against all reals.

    Example:
        >>> table = ScoreTable(
        ...     video_id=np.array(["youtube/000", "youtube/000", "Deepfakes/000_003"]),
        ...     method=np.array(["youtube", "youtube", "Deepfakes"]),
        ...     label=np.array([0, 0, 1]),
        ...     track_id=np.array([0, 0, 0]),
        ...     frame_index=np.array([0, 9, 0]),
        ...     fake_probability=np.array([0.1, 0.6, 0.8]),
        ... )
        >>> evaluation = evaluate_scores(
        ...     table, Coverage(2, 2, 0, 0, ()), threshold=0.5, aggregation_rule="mean", num_draws=20)
        >>> evaluation.video.metrics["accuracy"].value, evaluation.to_json()["video"]["auc"]["value"]
        (1.0, 1.0)
    """
    videos = video_samples(table, aggregation_rule=aggregation_rule)
    _check_coverage(coverage, videos.video_id)
    settings = EvaluationSettings(threshold, aggregation_rule, num_draws, CONFIDENCE, seed)

    is_fake = videos.label == FAKE
    video, frame = _both_levels(table, videos, np.ones(len(is_fake), dtype=bool), settings)
    per_method = {}
    for method in np.unique(videos.method[is_fake]):
        of_method = is_fake & (videos.method == method)
        levels = _both_levels(table, videos, of_method | ~is_fake, settings)
        per_method[str(method)] = MethodResult(*levels, int(of_method.sum()), int((~is_fake).sum()))
    return Evaluation(video, frame, videos.video_id, per_method, coverage, settings)


def video_samples(table: ScoreTable, *, aggregation_rule: str) -> VideoSamples:
    """Return one sample per video, aggregated as in scoring a clip.

    Args:
        table: Scored faces.
        aggregation_rule: A name in ``AGGREGATION_RULES``.

    Returns:
        The videos, sorted by identity.

    Raises:
        ManifestError: Rows of one video disagree on label or method, or list a face twice.
        OptionError: An unknown rule.

    Source: videos are told apart by ``video_id`` alone; tools that take a folder's name merge
    the four FaceForensics++ fakes called ``000_003`` and report a wrong AUC.

    Example:
        >>> table = ScoreTable(*(np.array(column) for column in (
        ...     ["youtube/000", "Deepfakes/000_003", "Deepfakes/000_003"],
        ...     ["youtube", "Deepfakes", "Deepfakes"], [0, 1, 1], [0, 0, 0], [0, 0, 9], [0.1, 0.5, 1.0])))
        >>> videos = video_samples(table, aggregation_rule="mean")
        >>> videos.video_id.tolist(), videos.fake_probability.tolist()
        (['Deepfakes/000_003', 'youtube/000'], [0.75, 0.1])
    """
    ids, first_row, of_row = np.unique(table.video_id.astype(str), return_index=True, return_inverse=True)
    _check_agreement(table, first_row, of_row)
    _check_faces_once(table, of_row)
    return VideoSamples(
        ids,
        method=table.method[first_row].astype(str),
        label=table.label[first_row].astype(np.int64),
        fake_probability=_aggregate_videos(table, of_row, len(ids), aggregation_rule),
        of_row=of_row,
    )


def format_table(evaluation: Evaluation) -> Table:
    """Return the evaluation as a table for the terminal: one row per level and method.

    Args:
        evaluation: Result of :func:`evaluate_scores`.

    Returns:
        rich table of text: level, method, number of real + fake videos, AUC with its interval,
        accuracy, equal error rate and log loss; ``n/a`` where undefined. The caption tells
        coverage and settings.

    Source: the columns of the field's result tables, video level first.

    Example:
        >>> table = ScoreTable(*(np.array(column) for column in (
        ...     ["youtube/000", "Deepfakes/000_003"], ["youtube", "Deepfakes"],
        ...     [0, 1], [0, 0], [0, 0], [0.1, 0.8])))
        >>> evaluation = evaluate_scores(
        ...     table, Coverage(2, 2, 0, 0, ()), threshold=0.5, aggregation_rule="mean", num_draws=20)
        >>> format_table(evaluation).row_count  # video and frame, each over all and for Deepfakes
        4
    """
    settings = evaluation.settings
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
        caption=f"{evaluation.coverage.sentence()}\nthreshold {settings.threshold:.4g}, "
        f"{settings.aggregation_rule}, {settings.confidence:.0%} intervals over videos",
        caption_justify="left",
    )
    table.add_column("Level", no_wrap=True)
    # In a narrow terminal names give way; numbers never do. The rest fits 80 columns.
    table.add_column("Method", overflow="fold")
    for header in ("Real +\nfake", escape("AUC\n[low, high]"), "Accuracy", "EER", "Log\nloss"):
        table.add_column(header, justify="right", no_wrap=True)
    num_fake = int((evaluation.video.labels == FAKE).sum())
    num_real = len(evaluation.video_ids) - num_fake
    overall = MethodResult(evaluation.video, evaluation.frame, num_fake, num_real)
    for level in ("video", "frame"):
        for name, result in [("all", overall), *evaluation.per_method.items()]:
            table.add_row(*_table_row(level, name, result))
        table.add_section()
    return table


def _table_row(level: str, name: str, result: MethodResult) -> list[str]:
    metrics = (result.video if level == "video" else result.frame).metrics
    values = [metrics[key].value for key in ("accuracy", "eer", "log_loss")]
    numbers = ["n/a" if math.isnan(value) else f"{value:.3f}" for value in values]
    counts = f"{result.num_videos_real} + {result.num_videos_fake}"
    # Square brackets are markup to rich.
    return [level, escape(name), counts, escape(metrics["auc"].text()), *numbers]


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number


def _check_agreement(table: ScoreTable, first_row: np.ndarray, of_row: np.ndarray) -> None:
    for name in ("label", "method"):
        column = getattr(table, name)
        of_first = column[first_row][of_row]
        disagreeing = np.flatnonzero(column != of_first)
        if len(disagreeing):
            row = disagreeing[0]
            raise ManifestError(
                f"video {table.video_id[row]}",
                f"its rows disagree on the {name}: {of_first[row]} and {column[row]}",
                "give each video an identity of its own, such as dataset/method/name",
            )


def _check_faces_once(table: ScoreTable, of_row: np.ndarray) -> None:
    faces = np.stack([of_row, table.frame_index, table.track_id], axis=1)  # (N, 3)
    _, first_row, times = np.unique(faces, axis=0, return_index=True, return_counts=True)
    if times.max() > 1:
        row = first_row[times.argmax()]
        raise ManifestError(
            f"video {table.video_id[row]}",
            f"track {table.track_id[row]} is listed {times.max()} times in frame {table.frame_index[row]}",
            "score each face once and give each video an identity of its own",
        )


def _aggregate_videos(table: ScoreTable, of_row: np.ndarray, num_videos: int, rule: str) -> np.ndarray:
    """Return the fake probability of each video, float64 (V,)."""
    by_video = np.argsort(of_row, kind="stable")
    starts = np.searchsorted(of_row[by_video], np.arange(1, num_videos))
    return np.array(
        [
            aggregate_clip(table.track_id[rows], table.fake_probability[rows], rule=rule).fake_probability
            for rows in np.split(by_video, starts)
        ]
    )


def _check_coverage(coverage: Coverage, video_ids: np.ndarray) -> None:
    if coverage.videos_scored != len(video_ids):
        raise OptionError(
            "coverage",
            f"says {coverage.videos_scored} videos are scored, the score table holds {len(video_ids)}",
            "fill both from the same run",
        )
    both = sorted({video_id for video_id, _ in coverage.unscored} & set(video_ids.tolist()))
    if both:
        raise OptionError("coverage", f"lists {both[0]} as unscored, but it has scores", "list it once")


def _both_levels(
    table: ScoreTable, videos: VideoSamples, chosen: np.ndarray, settings: EvaluationSettings
) -> tuple[LevelResult, LevelResult]:
    """Return the video and the frame level of the chosen videos (bool (V,))."""
    rows = chosen[videos.of_row]
    of_row = videos.of_row[rows]
    video = _level(videos.label[chosen], videos.fake_probability[chosen], np.flatnonzero(chosen), settings)
    frame = _level(videos.label[of_row], table.fake_probability[rows], of_row, settings)
    return video, frame


def _level(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, settings: EvaluationSettings
) -> LevelResult:
    metrics = bootstrap_intervals(
        labels,
        scores,
        groups,
        threshold=settings.threshold,
        num_draws=settings.num_draws,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    return LevelResult(labels, scores.astype(np.float64), metrics)
