"""Options of evaluation, comparison and calibration.

They are apart from the functions that take them so that ``--help`` does not wait for PyTorch and SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from deepfake_detect.data.audit_report import LeakKind
from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option
from deepfake_detect.records import InferencePrecision

_THRESHOLDS = ("threshold", "threshold_from", "max_fpr")
Resample = Literal["videos", "identities"]
CalibrationMethod = Literal["temperature", "platt", "isotonic"]
CorruptionName = Literal[
    "jpeg", "h264", "downscale", "blur", "noise", "brightness", "contrast", "saturation", "occlusion"
]


def _rules() -> tuple[str, ...]:
    from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES

    return AGGREGATION_RULES.names()


def _metrics() -> tuple[str, ...]:
    from deepfake_detect.metrics import METRICS

    return METRICS.names()


@dataclass(frozen=True)
class ResamplingOptions:
    """How bootstrap intervals are computed.

    Raises:
        OptionError: A value is not allowed.
    """

    resample: Resample = option(
        "videos", help="what to resample: videos, or identities (all videos of a person together)"
    )
    num_resamples: int = option(1000, help="number of bootstrap resamples", low=1, flag="--bootstrap-draws")
    seed: int = option(0, help="random seed of the bootstrap and of the videos chosen for robustness", low=0)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how scores become verdicts.

    ``None`` is "not given": with scores, all options that need a manifest must be so.

    Raises:
        OptionError: A value is not allowed.
    """

    split: str | None = option(None, help="split to evaluate, or all (default: test)", metavar="NAME")
    protocol: str | None = option(
        None, help="evaluate only the rows of this protocol (default: none)", metavar="NAME"
    )
    where: str | None = option(None, help="SQL condition on the rows (default: all)", metavar="EXPR")
    allow_leak: tuple[LeakKind, ...] = option(
        (),
        help=(
            "evaluate even if other splits of the manifest share these with the evaluated rows: "
            "videos, identities, identical-crops, near-duplicate-crops (default: none)"
        ),
        metavar="KIND",
    )
    threshold: float | None = option(
        None,
        help=("smallest probability that counts as fake (default: the detector's own; 0.5 for scores)"),
        low=0,
        high=1,
    )
    threshold_from: Path | None = option(
        None,
        help=(
            "use the threshold of an earlier evaluation, such as one on the validation split: "
            "its folder or metrics.json (default: none)"
        ),
        metavar="REPORT",
    )
    max_fpr: float | None = option(
        None,
        help=(
            "choose the threshold so that at most this fraction of the evaluated reals is called "
            "fake; use it on a validation split, then pass the result as threshold_from "
            "(default: none)"
        ),
        low=0,
        high=1,
    )
    aggregation_rule: str | None = option(
        None,
        help=(
            "how to aggregate faces to a video: most_suspicious_track, mean, median, "
            "longest_track, frame_maxima, top_k_mean, trimmed_mean, confident or logistic "
            "(default: the detector's own; mean for scores)"
        ),
        choices=_rules,
        flag="--aggregation",
        metavar="RULE",
    )
    slice_by: tuple[str, ...] = option(
        (), help="extra columns to slice the results by", flag="--slice", metavar="COLUMN"
    )
    metrics: tuple[str, ...] = option(
        (),
        help="registered metrics to report in addition to the built-in ones",
        choices=_metrics,
        metavar="NAME",
    )
    index: Path | None = option(
        None, help="index of the videos, used to link faces to their clips", metavar="FILE"
    )
    robustness: tuple[CorruptionName, ...] | None = option(
        None,
        help=(
            "also evaluate on corrupted crops: jpeg, h264, downscale, blur, noise, brightness, "
            "contrast, saturation, occlusion; all of them if none is named"
        ),
        metavar="KIND",
    )
    robustness_videos: int | None = option(
        None, help="number of random videos for the corruptions; half of them are real (default: 200)", low=2
    )
    num_workers: int | None = option(
        None, help="number of processes that read crops (default: number of cores, at most 8)", low=0
    )
    device: str | None = option(None, help="auto, cpu or cuda (default: auto)", metavar="DEVICE")
    precision: InferencePrecision | None = option(
        None, help="precision of the detector's computations (default: fp32)"
    )

    def __post_init__(self) -> None:
        check_options(self)
        if (self.robustness_videos or 0) % 2:
            raise OptionError("robustness_videos", f"is {self.robustness_videos}", "must be an even number")
        given = [f"`{name}`" for name in _THRESHOLDS if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError("threshold", f"is set by {' and '.join(given)}", "pass one of them")

    def for_manifest(self) -> EvaluationOptions:
        """Return the options with the defaults that only a manifest has."""
        return replace(
            self,
            split=self.split or "test",
            robustness_videos=self.robustness_videos or 200,
            device=self.device or "auto",
            precision=self.precision or "fp32",
        )


@dataclass(frozen=True)
class StressOptions:
    """Which clips are damaged, and how.

    Raises:
        OptionError: A value is not allowed.
    """

    damages: tuple[str, ...] = option(
        (),
        help=("kinds of damage; join several with + to apply them in order (default: all, one at a time)"),
        metavar="NAME",
    )
    split: str = option("test", help="split of the index to use, or all", metavar="NAME")
    where: str | None = option(None, help="SQL condition on the videos (default: all)", metavar="EXPR")
    num_videos: int = option(
        100, help="number of random videos; half of them are real", low=2, flag="--videos"
    )
    workers: int | None = option(
        None,
        help=("number of clips to score in parallel, one process each (default: number of cores, at most 4)"),
        low=1,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.num_videos % 2:
            raise OptionError("num_videos", f"is {self.num_videos}", "must be an even number")


@dataclass(frozen=True)
class CalibrationOptions:
    """How a detector is calibrated.

    Raises:
        OptionError: A value is not allowed.
    """

    method: CalibrationMethod = option("temperature", help="how to turn logits into probabilities")
    max_fpr: float | None = option(
        None,
        help=(
            "choose the threshold that calls at most this fraction of the reals fake (default: "
            "the threshold with the best balanced accuracy)"
        ),
        low=0,
        high=1,
    )
    target_accuracy: float = option(
        0.95, help="accuracy of the verdicts outside the uncertain band", above=0, high=1
    )
    choose_aggregation: bool = option(False, help="choose the aggregation rule with the best validation AUC")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class ComparisonOptions:
    """How detectors are compared.

    Raises:
        OptionError: A value is not allowed.
    """

    names: tuple[str, ...] | None = option(
        None, help="names of the detectors (default: from the paths)", metavar="NAME"
    )
    aggregation_rule: str | None = option(
        None,
        help=(
            "how to aggregate faces to a video, for all detectors (default: each detector's own, else mean)"
        ),
        choices=_rules,
        flag="--aggregation",
        metavar="RULE",
    )

    def __post_init__(self) -> None:
        check_options(self)
