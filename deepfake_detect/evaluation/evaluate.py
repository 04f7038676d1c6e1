"""Finished scores -> what a paper reports: three levels, per method, per slice, with intervals.

Takes numbers, not a network: whoever scored the crops fills a :class:`ScoreTable` and says in a
:class:`Coverage` which videos have no score and why.

**Video level**: one sample a video, its probability from :func:`aggregation.aggregate_clip`.
**Track level**: one sample per person followed through a video, the mean over the person's faces;
not there where the scores do not tell people apart.
**Frame level**: one sample per scored face of every frame; a frame with two faces is two samples.
A person or face has the label of its video, so a bystander in a forged clip counts as fake.
Intervals of all levels resample whole videos, or all videos of a person at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.abstention import Abstention, abstain
from deepfake_detect.evaluation.aggregation import LEARNED_RULE
from deepfake_detect.evaluation.score_table import (
    Coverage,
    ScoreTable,
    VideoSamples,
    aggregate_clips,
    clips_of,
    rules_for,
    video_samples,
)
from deepfake_detect.evaluation.slices import SliceResult, slice_columns, slice_of_videos
from deepfake_detect.metrics import (
    CONFIDENCE,
    Interval,
    ReliabilityBins,
    RocCurve,
    intervals_of,
    metric_names,
    reliability_bins,
    resample_groups,
    resampled_metrics,
    roc_curve,
)
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE

Level = Literal["video", "track", "frame"]
LEVELS: tuple[Level, ...] = get_args(Level)
Resample = Literal["videos", "identities"]
RESAMPLE_CHOICES: tuple[Resample, ...] = get_args(Resample)


@dataclass(frozen=True)
class EvaluationSettings:
    """All that the numbers depend on beside the scores.

    Attributes:
        threshold: Probability at or above which a sample is called fake.
        aggregation_rule: Name in ``AGGREGATION_RULES``.
        num_resamples: Bootstrap draws.
        confidence: Share of draws inside an interval.
        seed: Of the bootstrap.
        resample: What a draw takes whole: ``"videos"``, or ``"identities"``: all videos in which
            the same person is seen.
        num_videos_alone: Videos of nobody known, which are drawn by themselves where identities are
            drawn whole.
        uncertain_low, uncertain_high: Probabilities strictly between would get no verdict; metrics
            that need verdicts give all samples one, :attr:`Evaluation.abstention` does not.
    """

    threshold: float
    aggregation_rule: str
    num_resamples: int
    confidence: float
    seed: int
    resample: Resample = "videos"
    num_videos_alone: int = 0
    uncertain_low: float = 0.5
    uncertain_high: float = 0.5

    @property
    def resampled(self) -> str:
        """What is resampled, in words."""
        return describe_resampling(self.resample, self.num_videos_alone)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``num_resamples`` is called ``num_draws``."""
        values = asdict(self)
        return {"num_draws" if name == "num_resamples" else name: value for name, value in values.items()}


@dataclass(frozen=True, eq=False)
class LevelResult:
    """Samples of one level and the metrics over them.

    Attributes:
        labels: int64 (M,), 0 = real, 1 = fake; M = 0 where the scores do not have the level.
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
        return intervals_to_json(self.metrics)


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One forgery method's fakes against all real videos of its dataset.

    Attributes:
        video, track, frame: The three levels.
        num_videos_fake, num_videos_real: Videos behind them.
    """

    video: LevelResult
    track: LevelResult
    frame: LevelResult
    num_videos_fake: int
    num_videos_real: int

    def to_json(self) -> dict[str, Any]:
        """Return all levels and the counts as plain values."""
        return {
            **{level: getattr(self, level).to_json() for level in LEVELS},
            "num_videos_fake": self.num_videos_fake,
            "num_videos_real": self.num_videos_real,
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything an evaluation found.

    Attributes:
        video: One sample per video, in the order of ``video_ids``.
        track: One sample per person of each video.
        frame: One sample per scored face, in the order of the score table.
        video_ids: str (V,), sorted.
        per_method: A result per forgery method, by name; sources of reals alone are not listed.
            Where the scores are of several datasets, by ``dataset/method``.
        macro: For each level the mean over the methods of each metric; empty without a method.
        slices: For each column that videos were sliced by, its values in order.
        aggregations: Video level under each rule by name, to compare them; the one used is
            ``settings.aggregation_rule``, which is chosen on validation, not from here.
        coverage: Which videos stand behind the numbers.
        settings: Threshold, rule and bootstrap.
    """

    video: LevelResult
    track: LevelResult
    frame: LevelResult
    video_ids: np.ndarray
    per_method: dict[str, MethodResult]
    macro: dict[Level, dict[str, Interval]]
    slices: dict[str, tuple[SliceResult, ...]]
    aggregations: dict[str, dict[str, Interval]]
    coverage: Coverage
    settings: EvaluationSettings

    @property
    def abstention(self) -> Abstention:
        """What the band called uncertain leaves, at video level."""
        settings = self.settings
        band = (settings.uncertain_low, settings.uncertain_high)
        return abstain(self.video.labels, self.video.scores, threshold=settings.threshold, band=band)

    @property
    def worst_method(self) -> str | None:
        """The method with the highest APCER at video level, as ISO/IEC 30107-3 reports attacks."""
        rates = {name: one.video.metrics["apcer"].value for name, one in self.per_method.items()}
        return max(rates, key=lambda name: rates[name]) if rates else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``files.write_json`` takes; undefined numbers are ``None``.

        An *interval* is ``{"value", "low", "high"}``, *metrics* are intervals by the names of
        ``metrics.METRIC_NAMES``. Keys:

        - ``video``, ``track``, ``frame``: metrics over all methods.
        - ``per_method``: by method (of several datasets by ``dataset/method``), ``video``,
          ``track``, ``frame`` (metrics), ``num_videos_fake``, ``num_videos_real``.
        - ``macro``: ``video``, ``track``, ``frame``: metrics, mean over methods; and
          ``worst_apcer_method``: the method most often called real, or ``None``.
        - ``slices``: by column, a list of ``{"value", "num_videos_real", "num_videos_fake",
          "video"}``, the last one metrics.
        - ``aggregations``: by rule, metrics at video level.
        - ``reliability``: by level, lists ``edges``, ``weight``, ``mean_probability``,
          ``share_fake`` (:class:`metrics.ReliabilityBins`); empty where the level is not there.
        - ``abstention``: :class:`abstention.Abstention`, at video level.
        - ``coverage``: :class:`Coverage`, ``unscored`` as ``{"video_id", "reason"}``.
        - ``settings``: :class:`EvaluationSettings`.
        """
        macro: dict[str, Any] = {level: intervals_to_json(one) for level, one in self.macro.items()}
        return {
            **{level: getattr(self, level).to_json() for level in LEVELS},
            "per_method": {name: result.to_json() for name, result in self.per_method.items()},
            "macro": {**macro, "worst_apcer_method": self.worst_method},
            "slices": {
                column: [_slice_to_json(one) for one in results] for column, results in self.slices.items()
            },
            "aggregations": {name: intervals_to_json(one) for name, one in self.aggregations.items()},
            "reliability": {level: _bins_to_json(getattr(self, level)) for level in LEVELS},
            "abstention": {name: nan_to_none(value) for name, value in asdict(self.abstention).items()},
            "coverage": self.coverage.to_json(),
            "settings": self.settings.to_json(),
        }


def evaluate_scores(
    table: ScoreTable,
    coverage: Coverage,
    *,
    threshold: float,
    aggregation_rule: str,
    aggregation_weights: Sequence[float] = (),
    num_resamples: int = 1000,
    seed: int = 0,
    resample: Resample = "videos",
    slice_by: Sequence[str] = (),
    uncertain_band: tuple[float, float] | None = None,
    metrics: Sequence[str] = (),
    show_progress: bool = False,
) -> Evaluation:
    """Return the metrics of finished scores at every level, overall, per method and per slice.

    All of them are measured on the same bootstrap draws.

    Args:
        table: Scored faces.
        coverage: Which videos were expected and which are not in the table.
        threshold: Probability at or above which a sample is called fake.
        aggregation_rule: A name in ``AGGREGATION_RULES``.
        aggregation_weights: Of the rule ``"logistic"``.
        num_resamples: Bootstrap draws for the 95 % intervals, from 1.
        seed: Of the bootstrap, from 0; equal seeds give equal numbers.
        resample: What a draw takes whole, see :class:`EvaluationSettings`. ``"identities"`` needs
            the detail ``identity`` of at least one video; one without stands for itself.
        slice_by: Columns of the table to slice the videos by, beside ``DEFAULT_SLICES``.
        uncertain_band: Probabilities strictly between get no verdict in ``abstention``; ``None`` for
            verdicts on all.
        metrics: Registered metrics besides the built-in ones.
        show_progress: Whether to show a progress bar.

    Returns:
        The evaluation. A metric that needs both classes is NaN where one is absent.

    Raises:
        ManifestError: Rows of one video disagree on label or method, or list a face twice.
        OptionError: The coverage does not fit the table; an unknown rule, column or way to
            resample; an option out of range.

    Source: video level and per-method protocol of FaceForensics++ (arXiv:1901.08971) as the field
    reports it: each method's fakes against all reals of its dataset.

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
        ...     table, Coverage(2, 2, 0, 0, ()), threshold=0.5, aggregation_rule="mean", num_resamples=20)
        >>> evaluation.video.metrics["accuracy"].value, evaluation.to_json()["video"]["auc"]["value"]
        (1.0, 1.0)
    """
    videos = video_samples(table, aggregation_rule=aggregation_rule, weights=aggregation_weights)
    _check_coverage(coverage, videos.video_id)
    names = metric_names(tuple(metrics))
    columns = slice_columns(table, tuple(slice_by))
    group, num_alone = resampling_groups([(table, videos)], videos.video_id, resample)
    band = uncertain_band or (threshold, threshold)
    settings = EvaluationSettings(
        threshold, aggregation_rule, num_resamples, CONFIDENCE, seed, resample, num_alone, *band
    )
    methods = _methods(table, videos)
    sliced = {column: slice_of_videos(table, videos, column) for column in columns}
    rules = [rule for rule in rules_for(table) if rule != LEARNED_RULE or len(aggregation_weights)]
    steps = len(LEVELS) * (1 + len(methods)) + sum(len(names) for _, names in sliced.values()) + len(rules)
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("bootstrap", total=steps, note="")
        measure = _Measure.over(table, videos, settings, group, names, lambda: progress.advance(task))
        everything = np.ones(len(videos.video_id), dtype=bool)
        overall = {level: measure.level(level, everything)[0] for level in LEVELS}
        per_method, macro = _per_method(videos, measure, methods)
        return Evaluation(
            **overall,
            video_ids=videos.video_id,
            per_method=per_method,
            macro=macro,
            slices={column: _slices(measure, *found) for column, found in sliced.items()},
            aggregations=_compare_rules(table, videos, measure, rules, aggregation_weights),
            coverage=coverage,
            settings=settings,
        )


def intervals_to_json(metrics: dict[str, Interval]) -> dict[str, dict[str, float | None]]:
    """Return ``{metric: {"value", "low", "high"}}`` with ``None`` for an undefined number."""
    return {
        name: {key: nan_to_none(getattr(one, key)) for key in ("value", "low", "high")}
        for name, one in metrics.items()
    }


@dataclass(frozen=True, eq=False)
class _Samples:
    """One level: label and score (M,) of each sample, and the position of its video."""

    labels: np.ndarray
    scores: np.ndarray
    video: np.ndarray


@dataclass(frozen=True, eq=False)
class _Measure:
    """Measures any choice of videos on the same draws.

    ``group`` (V,) is the column of ``resample_counts`` (D, G) of each video; ``advance`` is called after
    each measurement.
    """

    samples: dict[Level, _Samples]
    group: np.ndarray
    resample_counts: np.ndarray = field(repr=False)
    settings: EvaluationSettings
    names: tuple[str, ...]
    advance: Callable[[], None]

    @classmethod
    def over(
        cls,
        table: ScoreTable,
        videos: VideoSamples,
        settings: EvaluationSettings,
        group: np.ndarray,
        names: tuple[str, ...],
        advance: Callable[[], None],
    ) -> _Measure:
        resample_counts = resample_groups(
            int(group.max()) + 1, num_resamples=settings.num_resamples, seed=settings.seed
        )
        positions = np.arange(len(videos.video_id))
        scores = table.fake_probability.astype(np.float64)
        samples: dict[Level, _Samples] = {
            "video": _Samples(videos.label, videos.fake_probability, positions),
            "track": _tracks(table, videos),
            "frame": _Samples(videos.label[videos.of_row], scores, videos.of_row),
        }
        return cls(samples, group, resample_counts, settings, names, advance)

    def level(self, level: Level, chosen: np.ndarray) -> tuple[LevelResult, np.ndarray, np.ndarray]:
        """Return the result of the chosen videos (bool (V,)), and its values (M,) and draws (D, M)."""
        samples = self.samples[level]
        rows = chosen[samples.video]
        labels, scores = samples.labels[rows], samples.scores[rows]
        values, draws = self.draws(labels, scores, samples.video[rows])
        return LevelResult(labels, scores, self.intervals(values, draws)), values, draws

    def draws(
        self, labels: np.ndarray, scores: np.ndarray, video: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        self.advance()
        if len(labels) == 0:  # a level that is not there
            undefined = np.full((len(self.resample_counts) + 1, len(self.names)), np.nan)
            return undefined[0], undefined[1:]
        groups = self.group[video]
        return resampled_metrics(
            labels,
            scores,
            groups,
            self.resample_counts,
            threshold=self.settings.threshold,
            extra=self.names,
        )

    def intervals(self, values: np.ndarray, draws: np.ndarray) -> dict[str, Interval]:
        return intervals_of(values, draws, confidence=self.settings.confidence, extra=self.names)


def _methods(table: ScoreTable, videos: VideoSamples) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return by name of each method its fakes and the reals beside them, both bool (V,)."""
    is_fake = videos.label == FAKE
    _, first_row = np.unique(videos.of_row, return_index=True)
    datasets = np.array([str(name) for name in table.details.get("dataset", table.label * 0)[first_row]])
    several = len(np.unique(datasets)) > 1
    return {
        f"{dataset}/{method}" if several else str(method): (
            is_fake & (datasets == dataset) & (videos.method == method),
            ~is_fake & (datasets == dataset),
        )
        for dataset, method in sorted(set(zip(datasets[is_fake], videos.method[is_fake], strict=True)))
    }


def _per_method(
    videos: VideoSamples, measure: _Measure, methods: dict[str, tuple[np.ndarray, np.ndarray]]
) -> tuple[dict[str, MethodResult], dict[Level, dict[str, Interval]]]:
    results: dict[str, MethodResult] = {}
    values: dict[Level, list[np.ndarray]] = {level: [] for level in LEVELS}
    draws: dict[Level, list[np.ndarray]] = {level: [] for level in LEVELS}
    for method, (fakes, reals) in methods.items():
        levels = {}
        for level in LEVELS:
            levels[level], value, drawn = measure.level(level, fakes | reals)
            values[level].append(value)
            draws[level].append(drawn)
        counts = int(fakes.sum()), int(reals.sum())
        results[method] = MethodResult(levels["video"], levels["track"], levels["frame"], *counts)
    # A draw that leaves a metric of one method undefined leaves the mean undefined.
    macro = {
        level: measure.intervals(np.mean(values[level], axis=0), np.mean(draws[level], axis=0))
        for level in LEVELS
        if values[level]
    }
    return results, macro


def _slices(measure: _Measure, of_video: np.ndarray, names: list[str]) -> tuple[SliceResult, ...]:
    results = []
    for name in names:
        level, _, _ = measure.level("video", of_video == name)
        num_fake = int((level.labels == FAKE).sum())
        results.append(SliceResult(name, len(level.labels) - num_fake, num_fake, level.metrics))
    return tuple(results)


def _compare_rules(
    table: ScoreTable,
    videos: VideoSamples,
    measure: _Measure,
    rules: Sequence[str],
    weights: Sequence[float],
) -> dict[str, dict[str, Interval]]:
    clips = clips_of(table, videos.of_row, weights=weights)
    positions = np.arange(len(clips))
    return {
        rule: measure.intervals(*measure.draws(videos.label, aggregate_clips(clips, rule), positions))
        for rule in rules
    }


def _tracks(table: ScoreTable, videos: VideoSamples) -> _Samples:
    if not table.has_tracks:
        return _Samples(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
    pairs = np.stack([videos.of_row, table.track_id.astype(np.int64)], axis=1)
    tracks, of_row = np.unique(pairs, axis=0, return_inverse=True)
    of_row = of_row.reshape(-1)  # numpy 2.0 alone gives it a second axis
    sums = np.bincount(of_row, weights=table.fake_probability)
    # A mean of ones may come out a little above 1.
    scores = np.clip(sums / np.bincount(of_row), 0.0, 1.0)
    return _Samples(videos.label[tracks[:, 0]], scores, tracks[:, 0])


def describe_resampling(resample: Resample, num_videos_alone: int) -> str:
    """Return what a draw takes whole, in words.

    Example:
        >>> describe_resampling("videos", 0), describe_resampling("identities", 3)
        ('videos', 'identities (3 videos of nobody known stand alone)')
    """
    if resample == "videos":
        return "videos"
    return f"identities ({num_videos_alone:,} videos of nobody known stand alone)"


def resampling_groups(
    sources: Sequence[tuple[ScoreTable, VideoSamples]], video_ids: np.ndarray, resample: Resample
) -> tuple[np.ndarray, int]:
    """Return for each video the number, from 0, of what is drawn whole with it.

    Args:
        sources: Tables that may tell who is seen, with their videos; the first that knows counts.
        video_ids: str (V,), the videos that are drawn.
        resample: See :class:`EvaluationSettings`.

    Returns:
        int64 (V,), and how many videos show nobody known, so that each stands alone.

    Raises:
        OptionError: Another way to resample, or nobody is known.
    """
    if resample == "videos":
        return np.arange(len(video_ids)), 0
    if resample not in RESAMPLE_CHOICES:
        raise OptionError("resample", f"is {resample!r}", f"choose one of: {', '.join(RESAMPLE_CHOICES)}")
    people: dict[str, str] = {}
    for table, videos in reversed(sources):
        people.update(_people(table, videos))
    names = [f"person {people[one]}" if one in people else f"video {one}" for one in video_ids.tolist()]
    num_alone = sum(one not in people for one in video_ids.tolist())
    if num_alone == len(names):
        raise OptionError("resample", "the scores name no identities", "fill a column identity")
    numbers: np.ndarray = np.unique(names, return_inverse=True)[1]
    return numbers, num_alone


def _people(table: ScoreTable, videos: VideoSamples) -> dict[str, str]:
    """Return who is seen, by video, where it is known."""
    if "identity" not in table.details:
        return {}
    _, first_row = np.unique(videos.of_row, return_index=True)
    named = zip(videos.video_id.tolist(), table.details["identity"][first_row].tolist(), strict=True)
    return {video: str(person) for video, person in named if person == person and person not in (None, "")}


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


def _slice_to_json(one: SliceResult) -> dict[str, Any]:
    return {
        "value": one.value,
        "num_videos_real": one.num_videos_real,
        "num_videos_fake": one.num_videos_fake,
        "video": intervals_to_json(one.metrics),
    }


def _bins_to_json(level: LevelResult) -> dict[str, list[float | None]]:
    if len(level.labels) == 0:
        return {one.name: [] for one in fields(ReliabilityBins)}
    bins = reliability_bins(level.labels, level.scores)
    return {name: [nan_to_none(float(number)) for number in column] for name, column in vars(bins).items()}


def nan_to_none(number: float) -> float | None:
    """Return a number as JSON can hold it."""
    return None if math.isnan(number) else number
