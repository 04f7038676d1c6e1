"""Detectors compared on the videos that all of them scored, with the significance of differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.decision import DecisionFacts
from deepfake_detect.evaluation.options import Resample, ResamplingOptions
from deepfake_detect.evaluation.resampling import resampling_groups
from deepfake_detect.evaluation.results import LevelResult, intervals_to_json, nan_to_none
from deepfake_detect.evaluation.score_table import Coverage, ScoreTable, VideoSamples, video_samples
from deepfake_detect.metrics import (
    AucDifference,
    Interval,
    count_groups,
    delong_test,
    difference_intervals,
    intervals_of,
    resample_groups,
    resampled_metrics,
)
from deepfake_detect.plurals import counted

# With a smaller fraction of a detector's videos in common, the comparison gets a warning.
_ENOUGH_FRACTION = 0.9
# Videos of each class; of fewer there are no p-values.
ENOUGH_FOR_P_VALUES = 20


@dataclass(frozen=True, eq=False)
class NamedScores:
    """Scores of one detector.

    Attributes:
        decision: How the scores become verdicts; its name is unique among the compared ones.
        table: The scores.
        coverage: Which videos it should have scored; ``None`` if unknown.
    """

    decision: DecisionFacts
    table: ScoreTable
    coverage: Coverage | None = None

    @property
    def name(self) -> str:
        """Name of the detector."""
        return self.decision.name


@dataclass(frozen=True, eq=False)
class DetectorResult:
    """One detector on the common videos.

    Attributes:
        video: Labels, scores and metrics at video level.
        num_left_out: Videos that it scored and another did not.
        decision, coverage: As in :class:`NamedScores`.
    """

    video: LevelResult
    num_left_out: int
    decision: DecisionFacts
    coverage: Coverage | None


@dataclass(frozen=True, eq=False)
class PairResult:
    """Two detectors on the common videos.

    Attributes:
        first, second: Their names.
        differences: First minus second, with paired bootstrap intervals, by metric.
        auc: DeLong's test; ``None`` with fewer than 20 reals or 20 fakes, of which chance alone may give
            any p-value.
        adjusted_p_value: DeLong's p-value after Holm's correction for the number of pairs; ``None`` if
            the test is undefined.
    """

    first: str
    second: str
    differences: dict[str, Interval]
    auc: AucDifference | None
    adjusted_p_value: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of a comparison.

    Attributes:
        video_ids: str (V,), the common videos.
        detectors: Result of each detector by name, in the given order.
        pairs: Every two of them.
        num_resamples, seed, resample, num_videos_alone: As in ``EvaluationSettings``.
        notes: Warnings about what limits the comparison.
    """

    video_ids: np.ndarray
    detectors: dict[str, DetectorResult]
    pairs: tuple[PairResult, ...]
    num_resamples: int
    seed: int
    resample: Resample = ResamplingOptions.resample
    num_videos_alone: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values, undefined numbers as ``None``.

        Keys: ``num_videos``; ``detectors``: by name ``video`` (metrics), ``num_left_out``,
        ``threshold``, ``aggregation_rule``, ``coverage`` (:class:`Coverage`, or ``None``), ``seen``;
        ``pairs``: a list of ``first``, ``second``, ``differences`` (first minus second), ``delong``
        (fields of ``metrics.AucDifference``) and ``adjusted_p_value`` (Holm); ``num_resamples``,
        ``seed``, ``resample``, ``num_videos_alone``, ``notes``.
        """
        detectors = {
            name: {
                "video": one.video.to_json(),
                "num_left_out": one.num_left_out,
                "threshold": one.decision.threshold,
                "aggregation_rule": one.decision.aggregation_rule,
                "coverage": None if one.coverage is None else one.coverage.to_json(),
                "seen": list(one.decision.seen),
            }
            for name, one in self.detectors.items()
        }
        pairs = [
            {
                "first": pair.first,
                "second": pair.second,
                "differences": intervals_to_json(pair.differences),
                "delong": None
                if pair.auc is None
                else {key: nan_to_none(value) for key, value in asdict(pair.auc).items()},
                "adjusted_p_value": pair.adjusted_p_value,
            }
            for pair in self.pairs
        ]
        return {
            "num_videos": len(self.video_ids),
            "detectors": detectors,
            "pairs": pairs,
            "num_draws": self.num_resamples,
            "seed": self.seed,
            "resample": self.resample,
            "num_videos_alone": self.num_videos_alone,
            "notes": list(self.notes),
        }


def compare_scores(
    detectors: Sequence[NamedScores],
    *,
    num_resamples: int = ResamplingOptions.num_resamples,
    seed: int = ResamplingOptions.seed,
    resample: Resample = ResamplingOptions.resample,
) -> Comparison:
    """Compare detectors on their common videos, all on the same bootstrap resamples.

    Args:
        detectors: Two or more, with different names.
        num_resamples, seed, resample: See :class:`ResamplingOptions`. For ``"identities"`` one of the
            tables must name them; DeLong's test always uses videos.

    Returns:
        The comparison, at video level.

    Raises:
        OptionError: There are fewer than two detectors, or two of one name; an option is out of range;
            there are no identities to resample.
        ManifestError: No video is common to all, or a video is real for one and fake for another.

    Source: DeLong et al., Biometrics 44 (1988); Holm, Scandinavian Journal of Statistics 6 (1979).

    Example:
        >>> def scores(name, probabilities):
        ...     labels = np.array([0, 0, 1, 1])
        ...     ids = np.array(["a", "b", "c", "d"])
        ...     table = ScoreTable(ids, ids, labels, labels * 0, labels * 0, np.array(probabilities))
        ...     return NamedScores(DecisionFacts(name), table)
        >>> good, bad = scores("good", [0.1, 0.2, 0.8, 0.9]), scores("bad", [0.1, 0.9, 0.8, 0.2])
        >>> found = compare_scores([good, bad])
        >>> found.pairs[0].differences["auc"].value
        0.5
    """
    ResamplingOptions(resample, num_resamples, seed)
    names = [one.name for one in detectors]
    if len(detectors) < 2 or len(set(names)) < len(names):
        raise OptionError(
            "detectors", f"are {', '.join(names) or 'none'}", "pass two or more, with different names"
        )
    videos = [
        video_samples(
            one.table,
            aggregation_rule=one.decision.aggregation_rule,
            weights=one.decision.aggregation_weights,
        )
        for one in detectors
    ]
    common = _common(names, videos)
    chosen = [np.isin(of_one.video_id, common) for of_one in videos]
    labels = videos[0].label[chosen[0]]
    tables = [one.table for one in detectors]
    group, num_alone = resampling_groups(list(zip(tables, videos, strict=True)), common, resample)
    resample_counts = resample_groups(int(group.max()) + 1, num_resamples=num_resamples, seed=seed)
    results, resampled = {}, {}
    for one, of_one, rows in zip(detectors, videos, chosen, strict=True):
        scores = of_one.fake_probability[rows]
        resampled[one.name] = resampled_metrics(
            labels, scores, group, resample_counts, threshold=one.decision.threshold
        )
        level = LevelResult(labels, scores, intervals_of(*resampled[one.name], count_groups(labels, group)))
        num_left_out = len(of_one.video_id) - len(common)
        results[one.name] = DetectorResult(level, num_left_out, one.decision, one.coverage)
    settings = (num_resamples, seed, resample, num_alone)
    return Comparison(common, results, _pairs(results, resampled), *settings, _notes(results, len(common)))


def _notes(results: dict[str, DetectorResult], num_common: int) -> tuple[str, ...]:
    notes = [f"{name}: {line}" for name, one in results.items() for line in one.decision.seen]
    for name, one in results.items():
        num_scored = num_common + one.num_left_out
        num_expected = num_scored if one.coverage is None else one.coverage.videos_expected
        if num_common < _ENOUGH_FRACTION * num_expected:
            notes.append(
                f"{name}: the comparison has {num_common:,} of its {counted(num_expected, 'video')} "
                f"({num_scored:,} scored): the others may be easier or harder"
            )
    num_reals, num_fakes = np.bincount(next(iter(results.values())).video.labels, minlength=2)
    if min(num_reals, num_fakes) < ENOUGH_FOR_P_VALUES:
        notes.append(
            f"{num_reals} real and {num_fakes} fake common videos are too few for p-values, which need "
            f"{ENOUGH_FOR_P_VALUES} of each"
        )
    rules = {name: one.decision.aggregation_rule for name, one in results.items()}
    if len(set(rules.values())) > 1:
        listed = ", ".join(f"{name} {rule}" for name, rule in rules.items())
        notes.append(f"the detectors use different aggregation rules ({listed})")
    return tuple(notes)


def _common(names: Sequence[str], videos: Sequence[VideoSamples]) -> np.ndarray:
    """Return the ids of the common videos, sorted, after checking that their labels agree."""
    common = videos[0].video_id
    for of_one in videos[1:]:
        common = np.intersect1d(common, of_one.video_id)
    if len(common) == 0:
        examples = " and ".join(str(of_one.video_id[0]) for of_one in videos[:2])
        raise ManifestError(
            "detectors",
            f"have no video in common; their videos are called, for example, {examples}",
            "use the same dataset, method and video_id for the same video, and add the column compression "
            "if the other identities have one: dataset/method/compression/video_id",
        )
    labels = [of_one.label[np.isin(of_one.video_id, common)] for of_one in videos]
    for name, others in zip(names[1:], labels[1:], strict=True):
        disagreeing = np.flatnonzero(others != labels[0])
        if len(disagreeing):
            raise ManifestError(
                f"video {common[disagreeing[0]]}",
                f"has one label for {names[0]} and another for {name}",
                "label 1 means fake; correct the wrong scores",
            )
    return common


def _pairs(
    results: dict[str, DetectorResult], resampled: dict[str, tuple[np.ndarray, np.ndarray]]
) -> tuple[PairResult, ...]:
    pairs = list(combinations(results, 2))
    labels = next(iter(results.values())).video.labels
    enough = min(np.bincount(labels, minlength=2)) >= ENOUGH_FOR_P_VALUES
    tests = [
        delong_test(labels, results[first].video.scores, results[second].video.scores) if enough else None
        for first, second in pairs
    ]
    p_values = [math.nan if test is None else test.p_value for test in tests]
    defined = [number for number, p_value in enumerate(p_values) if not math.isnan(p_value)]
    corrected = dict(zip(defined, holm([p_values[number] for number in defined]), strict=True))
    adjusted = [corrected.get(number) for number in range(len(pairs))]
    return tuple(
        PairResult(
            first,
            second,
            difference_intervals(
                resampled[first][0] - resampled[second][0], resampled[first][1] - resampled[second][1]
            ),
            test,
            p_value,
        )
        for (first, second), test, p_value in zip(pairs, tests, adjusted, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number: the smallest times n, the next times n - 1, ...

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    found: list[float] = adjusted.tolist()
    return found
