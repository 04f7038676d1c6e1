"""Results of an evaluation, and their JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from deepfake_detect.evaluation.abstention import Abstention, abstain
from deepfake_detect.evaluation.gaps import Gap, largest_gaps
from deepfake_detect.evaluation.options import Resample
from deepfake_detect.evaluation.resampling import describe_resampling
from deepfake_detect.evaluation.score_table import Coverage
from deepfake_detect.evaluation.segment_metrics import SegmentMetrics
from deepfake_detect.evaluation.slices import SliceResult
from deepfake_detect.metrics import Interval, ReliabilityBins, RocCurve, reliability_bins, roc_curve
from deepfake_detect.records import FAKE, REAL

if TYPE_CHECKING:
    from deepfake_detect.evaluation.robustness import Robustness

Level = Literal["video", "track", "frame"]
LEVELS: tuple[Level, ...] = get_args(Level)
# Videos of each class; of fewer, evaluations carry a note.
_ENOUGH_VIDEOS = 50


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings that the metrics depend on.

    Attributes:
        threshold: Probability at or above which a sample is called fake.
        aggregation_rule: Name in ``AGGREGATION_RULES``.
        num_resamples: Number of bootstrap resamples; ``num_draws`` in JSON.
        confidence: Fraction of the resamples inside an interval.
        seed: Seed of the bootstrap.
        resample: What is resampled: ``"videos"``, or ``"identities"``, all videos of a person together.
        num_videos_alone: Videos without a known person, which are resampled alone.
        uncertain_low, uncertain_high: Probabilities strictly between are uncertain. Metrics of
            verdicts count all samples; only :attr:`Evaluation.abstention` leaves these out.
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
        """Return plain values."""
        values = asdict(self)
        return {"num_draws" if name == "num_resamples" else name: value for name, value in values.items()}


@dataclass(frozen=True, eq=False)
class LevelResult:
    """Samples of one level and the metrics over them.

    Attributes:
        labels: int64 (M,), 0 = real, 1 = fake; M = 0 if the scores do not have the level.
        scores: float64 (M,), fake probability, 0 to 1.
        metrics: An interval per metric; NaN where undefined.
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
    """Fakes of one forgery method against all real videos of its dataset.

    Attributes:
        video, track, frame: The three levels.
        num_videos_fake, num_videos_real: Number of videos.
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
class AttackErrors:
    """Error rates of ISO/IEC 30107-3 at video level: the worst method beside the mean over methods.

    Attributes:
        worst_method: The method with the highest APCER: most often called real.
        apcer: By method, its fraction of fakes called real.
        bpcer: Fraction of reals called fake.
        worst_apcer, mean_apcer: Over methods.
        worst_acer, mean_acer: Mean of BPCER and worst, or mean, APCER.
    """

    worst_method: str
    apcer: dict[str, Interval]
    bpcer: Interval
    worst_apcer: Interval
    mean_apcer: Interval
    worst_acer: Interval
    mean_acer: Interval

    def to_json(self) -> dict[str, Any]:
        """Return plain values by attribute; rates are ``{"value", "low", "high"}``."""
        rates = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            "worst_method": rates.pop("worst_method"),
            "apcer": intervals_to_json(rates.pop("apcer")),
            **intervals_to_json(rates),
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        video: One sample per video, in the order of ``video_ids``.
        track: One sample per person of each video.
        frame: One sample per scored face, in the order of the score table.
        video_ids: str (V,), sorted.
        per_method: A result per forgery method, by name; if the scores are of several datasets, by
            ``dataset/method``.
        macro: For each level the mean over the methods of each metric; empty without methods.
        slices: For each column that videos were sliced by, its values in order.
        aggregations: Video level under each aggregation rule, to compare them. The rule in use is
            ``settings.aggregation_rule``; it is chosen on validation, not here.
        coverage: Which videos were scored.
        settings: Threshold, rule and bootstrap.
        seen: Warnings about evaluated videos that the detector was trained or selected on.
        robustness: AUC on corrupted crops; ``None`` if not measured.
        attack_errors: Worst-case error rates; ``None`` without fakes.
        segments: How well forged segments are found; ``None`` where none are known.
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
    seen: tuple[str, ...] = ()
    robustness: Robustness | None = None
    attack_errors: AttackErrors | None = None
    segments: SegmentMetrics | None = None

    @property
    def abstention(self) -> Abstention:
        """Accuracy and fraction of the videos outside the uncertain band."""
        settings = self.settings
        band = (settings.uncertain_low, settings.uncertain_high)
        return abstain(self.video.labels, self.video.scores, threshold=settings.threshold, band=band)

    @property
    def num_videos_real(self) -> int:
        """Number of scored real videos."""
        return int((self.video.labels == REAL).sum())

    @property
    def num_videos_fake(self) -> int:
        """Number of scored fake videos."""
        return int((self.video.labels == FAKE).sum())

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what limits the evaluation: few videos."""
        num_reals, num_fakes = self.num_videos_real, self.num_videos_fake
        if min(num_reals, num_fakes) >= _ENOUGH_VIDEOS:
            return ()
        return (
            f"{num_reals:,} real and {num_fakes:,} fake videos are few: differences of a few percent are "
            f"chance, and metrics without an interval need more videos (from {_ENOUGH_VIDEOS} of each on)",
        )

    @property
    def gaps(self) -> dict[str, tuple[Gap, ...]]:
        """For each column of ``slices`` the two slices that differ most, by metric."""
        return {column: largest_gaps(found) for column, found in self.slices.items()}

    @property
    def worst_method(self) -> str | None:
        """The method with the highest APCER at video level."""
        return None if self.attack_errors is None else self.attack_errors.worst_method

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as in ``metrics.json``; undefined numbers are ``None``.

        An *interval* is ``{"value", "low", "high"}``, *metrics* are intervals by the name of
        the metric. Keys:

        - ``video``, ``track``, ``frame``: metrics over all methods; ``num_videos_real``,
          ``num_videos_fake``.
        - ``per_method``: by method (of several datasets by ``dataset/method``), ``video``,
          ``track``, ``frame`` (metrics), ``num_videos_fake``, ``num_videos_real``.
        - ``macro``: ``video``, ``track``, ``frame``: metrics, mean over methods; and
          ``worst_apcer_method``: the method most often called real, or ``None``.
        - ``iso_30107_3``: :class:`AttackErrors`, ``apcer`` by method; or ``None``.
        - ``slices``: by column, a list of ``{"value", "num_videos_real", "num_videos_fake",
          "video"}``, the last one metrics.
        - ``gaps``: by column, a list of ``{"metric", "highest", "lowest", "gap"}``: the two slices that
          differ most, and an interval.
        - ``aggregations``: by rule, metrics at video level.
        - ``reliability``: by level, lists ``edges``, ``weight``, ``mean_probability``,
          ``share_fake`` (:class:`metrics.ReliabilityBins`); empty if the scores do not have the level.
        - ``abstention``: :class:`abstention.Abstention`, at video level.
        - ``coverage``: :class:`Coverage`, ``unscored`` as ``{"video_id", "reason"}``.
        - ``settings``: :class:`EvaluationSettings`.
        - ``seen``: a list of warnings.
        - ``notes``: a list of sentences about what limits the evaluation.
        - ``robustness``: ``Robustness.to_json``, or ``None``.
        - ``segments``: ``num_videos``, ``num_segments``, and ``metrics`` and ``baseline`` as intervals by
          name (:class:`segment_metrics.SegmentMetrics`), or ``None``.
        """
        macro: dict[str, Any] = {level: intervals_to_json(one) for level, one in self.macro.items()}
        return {
            **{level: getattr(self, level).to_json() for level in LEVELS},
            "num_videos_real": self.num_videos_real,
            "num_videos_fake": self.num_videos_fake,
            "per_method": {name: result.to_json() for name, result in self.per_method.items()},
            "macro": {**macro, "worst_apcer_method": self.worst_method},
            "iso_30107_3": None if self.attack_errors is None else self.attack_errors.to_json(),
            "slices": {
                column: [_slice_to_json(one) for one in results] for column, results in self.slices.items()
            },
            "gaps": {column: [_gap_to_json(one) for one in found] for column, found in self.gaps.items()},
            "aggregations": {name: intervals_to_json(one) for name, one in self.aggregations.items()},
            "reliability": {level: _bins_to_json(getattr(self, level)) for level in LEVELS},
            "abstention": {name: nan_to_none(value) for name, value in asdict(self.abstention).items()},
            "coverage": self.coverage.to_json(),
            "settings": self.settings.to_json(),
            "seen": list(self.seen),
            "notes": list(self.notes),
            "robustness": None if self.robustness is None else self.robustness.to_json(),
            "segments": None if self.segments is None else _segments_to_json(self.segments),
        }


def intervals_to_json(metrics: dict[str, Interval]) -> dict[str, dict[str, float | None]]:
    """Return ``{metric: {"value", "low", "high"}}`` with ``None`` for an undefined number."""
    return {
        name: {key: nan_to_none(getattr(one, key)) for key in ("value", "low", "high")}
        for name, one in metrics.items()
    }


def _segments_to_json(segments: SegmentMetrics) -> dict[str, Any]:
    return {
        "num_videos": segments.num_videos,
        "num_segments": segments.num_segments,
        "metrics": intervals_to_json(segments.metrics),
        "baseline": intervals_to_json(segments.baseline),
    }


def _slice_to_json(one: SliceResult) -> dict[str, Any]:
    return {
        "value": one.value,
        "num_videos_real": one.num_videos_real,
        "num_videos_fake": one.num_videos_fake,
        "video": intervals_to_json(one.metrics),
    }


def _gap_to_json(one: Gap) -> dict[str, Any]:
    return {"metric": one.metric, "highest": one.highest, "lowest": one.lowest} | intervals_to_json(
        {"gap": one.gap}
    )


def _bins_to_json(level: LevelResult) -> dict[str, list[float | None]]:
    if len(level.labels) == 0:
        return {one.name: [] for one in fields(ReliabilityBins)}
    bins = reliability_bins(level.labels, level.scores)
    return {name: [nan_to_none(float(number)) for number in column] for name, column in vars(bins).items()}


def nan_to_none(number: float) -> float | None:
    """Return ``None`` for NaN, which JSON does not have."""
    return None if math.isnan(number) else number
