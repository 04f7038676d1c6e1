"""A detector on damaged clips beside the same clips undamaged: AUC, its paired change, faces lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from deepfake_detect.evaluation.results import intervals_to_json
from deepfake_detect.metrics import (
    Interval,
    count_groups,
    difference_intervals,
    intervals_of,
    resample_groups,
    resampled_metrics,
)

CLEAN = "none"
_FEWEST = 3  # groups of each class, for an interval of the change
_ENOUGH_VIDEOS = 50
_UNKNOWN = Interval(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class ClipScore:
    """What a detector made of one clip.

    Attributes:
        video_id: Identity of the video.
        group: Resampled together: the video, or its person.
        label: 0 = real, 1 = fake.
        fake_probability: ``None`` without a face, or with an error.
        num_frames, num_frames_with_face: Sampled frames, and those of them with a face.
        error: Why the clip could not be damaged or scored; empty if it could.
    """

    video_id: str
    group: str
    label: int
    fake_probability: float | None
    num_frames: int = 0
    num_frames_with_face: int = 0
    error: str = ""


@dataclass(frozen=True)
class DamageResult:
    """One damage.

    Attributes:
        damage: Name; ``"none"`` for the clips as they are.
        num_videos_real, num_videos_fake: Videos that have a score both undamaged and damaged.
        auc: On these videos.
        change: Of the AUC to that of the same videos undamaged, on the same resamples.
        fpr, tpr: Fractions of reals and of fakes called fake, at the detector's threshold.
        num_without_face: Videos in which no face is found any more.
        num_failed: Videos that could not be damaged or scored.
        frames_with_face: Fraction of the sampled frames with a face, over videos that have one undamaged.
    """

    damage: str
    num_videos_real: int
    num_videos_fake: int
    auc: Interval
    change: Interval
    fpr: Interval
    tpr: Interval
    num_without_face: int
    num_failed: int
    frames_with_face: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values; undefined numbers are ``None``."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        rates = {name: value for name, value in values.items() if isinstance(value, Interval)}
        values["frames_with_face"] = None if np.isnan(self.frames_with_face) else self.frames_with_face
        return values | intervals_to_json(rates)


@dataclass(frozen=True)
class Stress:
    """The result of a stress test.

    Attributes:
        detector: Name and version.
        threshold: Of its verdicts.
        num_frames: Sampled per clip.
        clean: The clips as they are.
        damages: In the given order.
        num_resamples, seed: Of the bootstrap, and of the choice of videos.
    """

    detector: str
    threshold: float
    num_frames: int
    clean: DamageResult
    damages: tuple[DamageResult, ...]
    num_resamples: int
    seed: int

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what limits the test."""
        counts = self.clean.num_videos_real, self.clean.num_videos_fake
        if min(counts) >= _ENOUGH_VIDEOS:
            return ()
        return (
            f"{counts[0]:,} real and {counts[1]:,} fake videos are few: differences of a few percent are "
            "chance",
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as in ``stress.json``.

        Keys: ``detector``, ``threshold``, ``num_frames``, ``num_draws``, ``seed``, ``notes``; ``clean`` and a
        list ``damages``, each :class:`DamageResult`, intervals as ``{"value", "low", "high"}``.
        """
        return {
            **{name: getattr(self, name) for name in ("detector", "threshold", "num_frames", "seed")},
            "num_draws": self.num_resamples,
            "notes": list(self.notes),
            "clean": self.clean.to_json(),
            "damages": [one.to_json() for one in self.damages],
        }


def measure_damage(
    damage: str,
    clean: Sequence[ClipScore],
    damaged: Sequence[ClipScore],
    *,
    threshold: float,
    num_resamples: int,
    seed: int,
) -> DamageResult:
    """Compare damaged clips with the same clips undamaged.

    Args:
        damage: Name.
        clean, damaged: The same videos.
        threshold: Probability at or above which a video is called fake.
        num_resamples, seed: Of the bootstrap.
    """
    before = {one.video_id: one for one in clean if one.fake_probability is not None}
    after = {one.video_id: one for one in damaged if one.video_id in before}
    common = [name for name in before if name in after and after[name].fake_probability is not None]
    labels = np.array([before[name].label for name in common], dtype=np.int64)
    fractions = [one.num_frames_with_face / one.num_frames for one in after.values() if one.num_frames]
    return DamageResult(
        damage,
        int((labels == 0).sum()),
        int((labels == 1).sum()),
        **_rates(common, before, after, labels, threshold, num_resamples, seed),
        num_without_face=sum(
            one.fake_probability is None and not one.error
            for one in (damaged if damage == CLEAN else after.values())
        ),
        num_failed=sum(bool(one.error) for one in damaged),
        frames_with_face=float(np.mean(fractions)) if fractions else np.nan,
    )


def _rates(
    common: Sequence[str],
    before: Mapping[str, ClipScore],
    after: Mapping[str, ClipScore],
    labels: np.ndarray,
    threshold: float,
    num_resamples: int,
    seed: int,
) -> dict[str, Interval]:
    if not common:
        return dict.fromkeys(("auc", "change", "fpr", "tpr"), _UNKNOWN)
    _, groups = np.unique([before[name].group for name in common], return_inverse=True)
    resamples = resample_groups(int(groups.max()) + 1, num_resamples=num_resamples, seed=seed)
    reference, found = (
        resampled_metrics(
            labels,
            np.array([one[name].fake_probability for name in common], dtype=np.float64),
            groups,
            resamples,
            threshold=threshold,
        )
        for one in (before, after)
    )
    counts = count_groups(labels, groups)
    metrics = intervals_of(*found, counts)
    change = difference_intervals(found[0] - reference[0], found[1] - reference[1])["auc"]
    if min(counts.reals, counts.fakes) < _FEWEST:
        change = Interval(change.value, np.nan, np.nan)
    apcer = metrics["apcer"]
    return {
        "auc": metrics["auc"],
        "change": change,
        "fpr": metrics["bpcer"],
        "tpr": Interval(1.0 - apcer.value, 1.0 - apcer.high, 1.0 - apcer.low),
    }


def scores_to_plain(scores: Sequence[ClipScore]) -> list[dict[str, Any]]:
    """Return scores as plain values, which make :class:`ClipScore` again."""
    return [asdict(one) for one in scores]
