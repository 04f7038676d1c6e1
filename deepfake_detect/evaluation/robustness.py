"""AUC of a detector on corrupted crops, by level of the corruption."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepfake_detect.data.manifest import ALL_SPLITS, Manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.corruptions import CORRUPTIONS, Corrupted, check_corruptions
from deepfake_detect.evaluation.options import ResamplingOptions
from deepfake_detect.evaluation.predict import score_manifest
from deepfake_detect.evaluation.results import intervals_to_json
from deepfake_detect.evaluation.score_table import VideoSamples, video_samples
from deepfake_detect.metrics import (
    Interval,
    count_groups,
    difference_intervals,
    intervals_of,
    resample_groups,
    resampled_metrics,
)
from deepfake_detect.models.detector import BaseDetector

# With fewer crops, starting processes to read them takes longer than reading them.
_FEW_CROPS = 1000


@dataclass(frozen=True, eq=False)
class RobustnessPoint:
    """The detector at one level of one corruption, at video level.

    Attributes:
        level: As in ``corruptions.CORRUPTIONS``.
        auc: With a bootstrap interval over videos.
        change: AUC minus that of the unchanged crops, on the same resamples.
    """

    level: float
    auc: Interval
    change: Interval


@dataclass(frozen=True, eq=False)
class Robustness:
    """AUC by level, for each corruption.

    Attributes:
        unchanged: AUC of the unchanged crops of the same videos.
        curves: By corruption, a point per level, the mildest first.
        num_videos_real, num_videos_fake: Number of videos.
        seed: Seed of the choice of videos and of the bootstrap.
    """

    unchanged: Interval
    curves: dict[str, tuple[RobustnessPoint, ...]]
    num_videos_real: int
    num_videos_fake: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values.

        Keys: ``unchanged``; ``curves``, by corruption a list of ``level``, ``auc`` and ``change``;
        ``num_videos_real``, ``num_videos_fake`` and ``seed``. AUCs are ``{"value", "low", "high"}``.
        """
        curves = {
            name: [
                {"level": one.level, **intervals_to_json({"auc": one.auc, "change": one.change})}
                for one in points
            ]
            for name, points in self.curves.items()
        }
        unchanged = intervals_to_json({"auc": self.unchanged})["auc"]
        counts = {name: asdict(self)[name] for name in ("num_videos_real", "num_videos_fake", "seed")}
        return {"unchanged": unchanged, "curves": curves, **counts}


def measure_robustness(
    scorer: BaseDetector,
    manifest: Manifest,
    *,
    split: str,
    num_videos: int,
    names: tuple[str, ...] = tuple(CORRUPTIONS),
    aggregation_rule: str | None = None,
    num_resamples: int = ResamplingOptions.num_resamples,
    seed: int = ResamplingOptions.seed,
    num_workers: int | None = None,
    show_progress: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> Robustness:
    """Measure the AUC of a detector on corrupted crops of some videos of a split.

    Stored crops are corrupted after they are narrowed to the detector's margin and before they are
    resized to its input: H.264 encodes a crop as a key frame of its own, not the frame that it was cut
    from, and the faces are those detected in the original frames.

    Args:
        scorer: Detector of any kind.
        manifest: Crops; filters select the measured ones.
        split: Which to measure on.
        num_videos: Number of videos chosen at random, even, half of them real; all of a class that has
            fewer.
        names: Of ``CORRUPTIONS``.
        aggregation_rule: From faces to a video; the detector's own when ``None``.
        num_resamples: Number of bootstrap resamples of videos.
        seed: Seed of the choice of videos and of the bootstrap.
        num_workers, show_progress: As for ``predict.score_manifest``.
        log: Called with a line after each corruption.

    Returns:
        AUC at every level, all on the same videos and resamples.

    Raises:
        OptionError: A corruption is unknown, the number of videos is odd or below 2, or as for
            ``score_manifest``.
        ManifestError: A class is absent, or none of the crops can be read.

    Source: sweeps over levels as in Hendrycks & Dietterich, ICLR 2019, and the perturbations of
    DeeperForensics-1.0 (arXiv:2001.03024).
    """
    check_robustness(manifest, split=split, num_videos=num_videos, names=names)
    chosen = manifest.split(split).sample_videos(num_videos // 2, per=["label"], seed=seed)
    if num_workers is None and chosen.num_rows < _FEW_CROPS:
        num_workers = 0
    rule = aggregation_rule or scorer.config.aggregation_rule
    weights = scorer.config.aggregation_weights

    def videos(change: Corrupted | None) -> VideoSamples:
        table, _ = score_manifest(
            scorer,
            chosen,
            split=ALL_SPLITS,
            num_workers=num_workers,
            show_progress=show_progress,
            change=change,
        )
        return video_samples(table, aggregation_rule=rule, weights=weights)

    plain = videos(None)
    if len(np.unique(plain.label)) < 2:
        raise ManifestError(manifest.path, "has only one class", "measure on real and fake videos")
    resample_counts = resample_groups(len(plain.video_id), num_resamples=num_resamples, seed=seed)
    counts = count_groups(plain.label, plain.video_id)
    reference = _resampled(plain, resample_counts, scorer.config.threshold)
    curves = {}
    for name in names:
        points = []
        for level in CORRUPTIONS[name].levels:
            found = _resampled(videos(Corrupted(name, level)), resample_counts, scorer.config.threshold)
            change = difference_intervals(found[0] - reference[0], found[1] - reference[1])["auc"]
            points.append(RobustnessPoint(level, intervals_of(*found, counts)["auc"], change))
        curves[name] = tuple(points)
        log(f"{CORRUPTIONS[name].words}: " + ", ".join(f"{p.level:g}: {p.auc.value:.3f}" for p in points))
    num_fake = int(plain.label.sum())
    unchanged = intervals_of(*reference, counts)["auc"]
    return Robustness(unchanged, curves, len(plain.label) - num_fake, num_fake, seed)


def check_robustness(manifest: Manifest, *, split: str, num_videos: int, names: Collection[str]) -> None:
    """Check the options of :func:`measure_robustness` before any work is done.

    Args, Raises:
        As for :func:`measure_robustness`.
    """
    check_corruptions(tuple(names))
    if num_videos < 2 or num_videos % 2:
        raise OptionError("robustness_videos", f"is {num_videos}", "must be an even number from 2")
    labels = manifest.split(split).query("select distinct label from rows")
    if labels.num_rows < 2:
        raise ManifestError(manifest.path, "has only one class", "measure on real and fake videos")


def _resampled(
    videos: VideoSamples, resample_counts: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    positions = np.arange(len(videos.label))
    return resampled_metrics(
        videos.label, videos.fake_probability, positions, resample_counts, threshold=threshold
    )
