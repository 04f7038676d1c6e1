"""Metrics of finished scores at three levels, per method and per slice, with intervals.

**Video level**: one sample per video, its probability from :func:`aggregation.aggregate_clip`.
**Track level**: one sample per person in a video, the mean over the person's faces; absent if the
scores do not separate people.
**Frame level**: one sample per scored face; a frame with two faces is two samples.
A person or face has the label of its video, so a bystander in a forged clip counts as fake; where
only stretches of a video are forged, a face outside of them is real at frame level.
Intervals of all levels resample whole videos, or all videos of a person together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import LEARNED_RULE
from deepfake_detect.evaluation.options import Resample, ResamplingOptions
from deepfake_detect.evaluation.resampling import resampling_groups
from deepfake_detect.evaluation.results import (
    LEVELS,
    AttackErrors,
    Evaluation,
    EvaluationSettings,
    Level,
    LevelResult,
    MethodResult,
)
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
    GroupCounts,
    Interval,
    count_groups,
    intervals_of,
    metric_names,
    resample_groups,
    resampled_metrics,
)
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE

_log = logging.getLogger(__name__)


def evaluate_scores(
    table: ScoreTable,
    coverage: Coverage,
    *,
    threshold: float,
    aggregation_rule: str,
    aggregation_weights: Sequence[float] = (),
    num_resamples: int = ResamplingOptions.num_resamples,
    seed: int = ResamplingOptions.seed,
    resample: Resample = ResamplingOptions.resample,
    slice_by: Sequence[str] = (),
    uncertain_band: tuple[float, float] | None = None,
    metrics: Sequence[str] = (),
    show_progress: bool = False,
) -> Evaluation:
    """Return the metrics of finished scores at every level, overall, per method and per slice.

    All of them use the same bootstrap resamples.

    Args:
        table: Scored faces.
        coverage: Which videos were expected, and which of them are not in the table.
        threshold: Probability at or above which a sample is called fake.
        aggregation_rule: A name in ``AGGREGATION_RULES``.
        aggregation_weights: Weights of the rule ``"logistic"``.
        num_resamples, seed, resample: See :class:`ResamplingOptions`. ``"identities"`` needs the detail
            ``identity`` of at least one video; videos without it are resampled alone.
        slice_by: Columns of the table to slice the videos by in addition to ``DEFAULT_SLICES``.
        uncertain_band: Probabilities strictly between are uncertain in ``abstention``; ``None`` for no
            band.
        metrics: Registered metrics in addition to the built-in ones.
        show_progress: Whether to show a progress bar.

    Returns:
        The evaluation. A metric that needs both classes is NaN where one is absent.

    Raises:
        ManifestError: Rows of one video disagree on label or method, or list a face twice.
        OptionError: The coverage does not match the table; a rule, column or metric is unknown; an
            option is out of range.

    Source: video level and per-method protocol of FaceForensics++ (arXiv:1901.08971): the fakes of
    each method against all reals of its dataset.

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
    ResamplingOptions(resample, num_resamples, seed)
    _log.info("%d faces, threshold %.3f, aggregation %s", len(table.label), threshold, aggregation_rule)
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
        found = {level: measure.level(level, everything) for level in LEVELS}
        overall = {level: one for level, (one, _, _) in found.items()}
        counts = count_groups(videos.label, group)
        per_method, macro, attack_errors = _per_method(measure, methods, counts, found["video"][1:])
        clips = clips_of(table, videos.of_row, weights=aggregation_weights)
        by_rule = {
            rule: measure.resampled(videos.label, aggregate_clips(clips, rule), np.arange(len(clips)))
            for rule in rules
        }
        return Evaluation(
            overall["video"],
            overall["track"],
            overall["frame"],
            video_ids=videos.video_id,
            per_method=per_method,
            macro=macro,
            slices={
                column: tuple(_slice(measure, name, of_video == name) for name in found)
                for column, (of_video, found) in sliced.items()
            },
            aggregations={rule: measure.intervals(*found, counts) for rule, found in by_rule.items()},
            coverage=coverage,
            settings=settings,
            attack_errors=attack_errors,
        )


@dataclass(frozen=True, eq=False)
class _Samples:
    """Labels and scores (M,) of the samples of one level, and the index of each sample's video."""

    labels: np.ndarray
    scores: np.ndarray
    video: np.ndarray


@dataclass(frozen=True, eq=False)
class _Measure:
    """Computes the metrics of any subset of videos on the same resamples.

    ``group`` (V,) is the column of ``resample_counts`` (R, G) of each video; ``advance`` is called after
    each computation.
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
            "frame": _Samples(table.crop_labels, scores, videos.of_row),
        }
        return cls(samples, group, resample_counts, settings, names, advance)

    def level(self, level: Level, chosen: np.ndarray) -> tuple[LevelResult, np.ndarray, np.ndarray]:
        """Return the result of the chosen videos (bool (V,)), and its metrics (M,) and resamples (R, M)."""
        samples = self.samples[level]
        rows = chosen[samples.video]
        labels, scores = samples.labels[rows], samples.scores[rows]
        values, resampled = self.resampled(labels, scores, samples.video[rows])
        intervals = self.intervals(values, resampled, count_groups(labels, self.group[samples.video[rows]]))
        return LevelResult(labels, scores, intervals), values, resampled

    def resampled(
        self, labels: np.ndarray, scores: np.ndarray, video: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        self.advance()
        if len(labels) == 0:  # the scores do not have the level
            undefined = np.full((len(self.resample_counts) + 1, len(self.names)), np.nan)
            return undefined[0], undefined[1:]
        return resampled_metrics(
            labels,
            scores,
            self.group[video],
            self.resample_counts,
            threshold=self.settings.threshold,
            extra=self.names,
        )

    def intervals(
        self, values: np.ndarray, resampled: np.ndarray, counts: GroupCounts
    ) -> dict[str, Interval]:
        return intervals_of(values, resampled, counts, confidence=self.settings.confidence, extra=self.names)


def _methods(table: ScoreTable, videos: VideoSamples) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each method its fakes and the reals of its dataset, both bool (V,)."""
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
    measure: _Measure,
    methods: dict[str, tuple[np.ndarray, np.ndarray]],
    counts: GroupCounts,
    overall: tuple[np.ndarray, np.ndarray],
) -> tuple[dict[str, MethodResult], dict[Level, dict[str, Interval]], AttackErrors | None]:
    results: dict[str, MethodResult] = {}
    values: dict[Level, list[np.ndarray]] = {level: [] for level in LEVELS}
    resampled: dict[Level, list[np.ndarray]] = {level: [] for level in LEVELS}
    for method, (fakes, reals) in methods.items():
        levels = {}
        for level in LEVELS:
            levels[level], value, of_resamples = measure.level(level, fakes | reals)
            values[level].append(value)
            resampled[level].append(of_resamples)
        sizes = int(fakes.sum()), int(reals.sum())
        results[method] = MethodResult(levels["video"], levels["track"], levels["frame"], *sizes)
    if not methods:
        return results, {}, None
    # A resample in which a metric of one method is undefined has no mean.
    macro = {
        level: measure.intervals(np.mean(values[level], axis=0), np.mean(resampled[level], axis=0), counts)
        for level in LEVELS
    }
    of_methods = np.array(values["video"]), np.array(resampled["video"])
    return results, macro, _attack_errors(measure, results, of_methods, overall, counts)


def _attack_errors(
    measure: _Measure,
    results: dict[str, MethodResult],
    of_methods: tuple[np.ndarray, np.ndarray],
    overall: tuple[np.ndarray, np.ndarray],
    counts: GroupCounts,
) -> AttackErrors:
    """Return the error rates over methods.

    Args:
        measure, results: The resamples; the methods.
        of_methods: Metrics (methods, M) of each method, and their resamples (methods, R, M).
        overall, counts: Metrics (M,) of all videos and their resamples (R, M); numbers of groups.
    """
    apcer, bpcer, acer = (measure.names.index(name) for name in ("apcer", "bpcer", "acer"))
    worst_method = list(results)[int(np.argmax(of_methods[0][:, apcer]))]
    num_worst = min(counts.fakes, results[worst_method].num_videos_fake)
    rates: dict[str, dict[str, Interval]] = {}
    for kind, over, num_fakes in (("worst", np.max, num_worst), ("mean", np.mean, counts.fakes)):
        numbers = overall[0].copy(), overall[1].copy()
        for number, of_each in zip(numbers, of_methods, strict=True):
            number[..., apcer] = over(of_each[..., apcer], axis=0)
            number[..., acer] = 0.5 * (number[..., apcer] + number[..., bpcer])
        rates[kind] = measure.intervals(*numbers, counts._replace(fakes=num_fakes))
    return AttackErrors(
        worst_method,
        apcer={name: one.video.metrics["apcer"] for name, one in results.items()},
        bpcer=rates["worst"]["bpcer"],
        worst_apcer=rates["worst"]["apcer"],
        mean_apcer=rates["mean"]["apcer"],
        worst_acer=rates["worst"]["acer"],
        mean_acer=rates["mean"]["acer"],
    )


def _slice(measure: _Measure, name: str, chosen: np.ndarray) -> SliceResult:
    level, _, _ = measure.level("video", chosen)
    num_fake = int((level.labels == FAKE).sum())
    return SliceResult(name, len(level.labels) - num_fake, num_fake, level.metrics)


def _tracks(table: ScoreTable, videos: VideoSamples) -> _Samples:
    if not table.has_tracks:
        return _Samples(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
    pairs = np.stack([videos.of_row, table.track_id.astype(np.int64)], axis=1)
    tracks, of_row = np.unique(pairs, axis=0, return_inverse=True)
    of_row = of_row.reshape(-1)  # numpy 2.0 adds a second axis
    sums = np.bincount(of_row, weights=table.fake_probability)
    # Rounding may lift a mean of ones above 1.
    scores = np.clip(sums / np.bincount(of_row), 0.0, 1.0)
    return _Samples(videos.label[tracks[:, 0]], scores, tracks[:, 0])


def _check_coverage(coverage: Coverage, video_ids: np.ndarray) -> None:
    if coverage.videos_scored != len(video_ids):
        raise OptionError(
            "coverage",
            f"has {coverage.videos_scored} scored videos, the score table has {len(video_ids)}",
            "make both in the same run",
        )
    both = sorted({video_id for video_id, _ in coverage.unscored} & set(video_ids.tolist()))
    if both:
        raise OptionError("coverage", f"lists {both[0]} as unscored, and it has scores", "list it once")
