"""The options of scoring: default, type, range and help of each stand here, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepfake_detect.options import check_options, option
from deepfake_detect.records import InferencePrecision
from deepfake_detect.runtimes.options import Runtime

Segments = Literal["on", "off"]


def _rules() -> tuple[str, ...]:
    from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES  # which loads NumPy

    return tuple(AGGREGATION_RULES)


@dataclass(frozen=True)
class ScoringOptions:
    """How clips are scored; see :func:`load_detector` and :meth:`Detector.score_video`."""

    detector: tuple[str, ...] | None = option(
        None,
        is_repeated=True,
        help=(
            "detector file (.safetensors, .onnx, .xml), zoo:NAME or hf://owner/name[@revision]; "
            "can be repeated (default: the bundled one)"
        ),
    )
    fusion: Path | None = option(
        None, metavar="FILE", help="fusion file from `combine` for these detectors; adds a fused probability"
    )
    runtime: Runtime = option(
        "auto",
        help=(
            "inference runtime; auto: that of an exported file, else torch on a GPU, else onnx "
            "if possible (default auto)"
        ),
    )
    device: str = option("auto", help="auto, cpu or cuda", metavar="DEVICE")
    precision: InferencePrecision = option(
        "fp32",
        help=(
            "precision of the detector; bf16 is about twice as fast on hardware that supports it "
            "and changes a face's probability by a few hundredths"
        ),
    )
    num_frames: int = option(32, low=1, flag="--frames", help="number of evenly spaced frames to score")
    aggregation_rule: str | None = option(
        None,
        choices=_rules,
        flag="--aggregation",
        metavar="RULE",
        help=(
            "how to aggregate faces to a clip: most_suspicious_track, mean, median, "
            "longest_track, frame_maxima, top_k_mean, trimmed_mean, confident, logistic "
            "(default: the detector's own)"
        ),
    )
    min_face: float | None = option(
        None,
        low=12,
        help="smallest face to detect, in pixels (default: a tenth of the frame's shorter side)",
    )
    allow_truncated: bool = option(False, help="score the readable part of truncated clips")
    segments: Segments = option(
        "on",
        help="on: find forged parts of clips; off: one score for the whole clip",
    )
    max_download_mb: float = option(
        500.0, above=0, help="largest clip to download, in MB (2^20 bytes), with `allow_url`"
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class BatchOptions:
    """What is written about a batch of clips, and how many are scored at a time."""

    results: Path | None = option(
        None,
        metavar="FILE",
        help=(
            "write one row per clip to a table (.csv or .parquet); a second run scores only new "
            "or changed clips"
        ),
    )
    retry_failed: bool = option(False, help="score the clips that failed in the results table again")
    out: Path | None = option(
        None, metavar="DIR", help="write NAME.json, NAME_timeline.png and NAME_annotated.mp4 per clip"
    )
    json: Path | None = option(
        None,
        metavar="FILE",
        help=("write the result as JSON (- for standard output): an object, or a list for several clips"),
    )
    report: Path | None = option(None, metavar="FILE", help="write an HTML report on one clip")
    annotate: Path | None = option(
        None, metavar="FILE", help="write an MP4 of one clip with boxes and probabilities"
    )
    workers: int | None = option(
        None,
        low=1,
        metavar="N",
        help=(
            "number of clips to score in parallel, one process each (default: number of cores, "
            "at most 4; 1 for fewer than 3 clips and on a GPU); on Ray: total number of workers"
        ),
    )
    allow_url: bool = option(False, help="download clips given as URLs (extra: url)")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class LiveOptions:
    """How a camera or stream is scored."""

    live: str | None = option(
        None, metavar="SOURCE", help="score a camera (0, /dev/video0) or a stream (rtsp or http URL)"
    )
    window_seconds: float = option(
        10.0,
        above=0,
        flag="--live-seconds",
        help="length of the window that the live verdict covers, in seconds",
    )

    def __post_init__(self) -> None:
        check_options(self)
