"""Results as tables in the terminal: a clip's verdict, an evaluation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TextIO

from deepfake_detect.plurals import counted
from deepfake_detect.records import ClipResult
from deepfake_detect.report.terminal import Column, print_facts, print_table
from deepfake_detect.report.words import (
    agreement_words,
    clip_headline,
    forged_parts,
    opinion_words,
    percent,
    percent_range,
    person,
    printable,
    segment_words,
    verdict_words,
)

if TYPE_CHECKING:
    # A clip's table needs none of what an evaluation loads.
    from deepfake_detect.evaluation import Evaluation
    from deepfake_detect.evaluation.fusion import Fusion
    from deepfake_detect.metrics import Interval
    from deepfake_detect.models.config import FigureFacts

_MAX_PEOPLE = 8
_MAX_SLICES = 12


def print_clip(result: ClipResult, *, seconds: float, file: TextIO | None = None) -> None:
    """Print a clip's verdict and its main numbers.

    Args:
        result: Of the clip.
        seconds: Time that scoring took, above 0.
        file: Where to print; standard output when ``None``.
    """
    print_facts(clip_rows(result, seconds=seconds), file=file)


def clip_line(result: ClipResult) -> str:
    """Return a clip's name, verdict and main numbers in one line."""
    line = f"{printable(result.video)}: {clip_headline(result)}"
    if result.fake_probability is None:
        return f"{line} (in {counted(len(result.frames), 'frame')})"
    if result.opinions:
        said = ", ".join(f"{name} {value}" for name, value, _ in opinion_words(result))
        return f"{line} ({said})"
    peak, time_seconds = max(
        (face.fake_probability, frame.time_seconds) for frame in result.frames for face in frame.faces
    )
    shown = "" if result.verdict == "score" else f", fake probability {percent(result.fake_probability)}"
    return (
        f"{line}{shown} "
        f"({counted(len(result.tracks), 'person', 'people')} "
        f"in {result.num_frames_scored} of {counted(len(result.frames), 'frame')}; "
        f"highest {percent(peak)} at {time_seconds:.1f} s)"
    )


def clip_rows(result: ClipResult, *, seconds: float) -> list[tuple[str, str]]:
    """Return the rows that :func:`print_clip` prints: name and value."""
    words = verdict_words(result)
    rows = [("verdict", words.headline), ("meaning", words.meaning)]
    if result.fake_probability is not None:
        interval = result.fake_probability_interval
        over = "" if interval is None else f" ({percent_range(*interval)} with other frames)"
        track = result.deciding_track
        whose = "" if track is None else f" for {person(track.track_id)}"
        named = "score" if result.verdict == "score" else "fake probability"
        rows.append((named, f"{percent(result.fake_probability)}{whose}{over}"))
        tracks = sorted(result.tracks, key=lambda track: (not track.decides, -track.fake_probability))
        people = [f"{person(track.track_id)} {percent(track.fake_probability)}" for track in tracks]
        shown = ", ".join([*people[:_MAX_PEOPLE], *["..."] * (len(people) > _MAX_PEOPLE)])
        rows.append(("people", f"{len(people)} people: {shown}" if len(people) > 1 else "1 person"))
    for number, one in enumerate(forged_parts(result)):
        rows.append(("" if number else "forged part", segment_words(one)))
    rows.append(("frames with a face", f"{result.num_frames_scored} of {len(result.frames)} sampled"))
    rows.append(("time", f"{seconds:.1f} s, {len(result.frames) / seconds:.0f} frames per second"))
    for title, lines in ((words.reasons_title.lower(), words.reasons), ("what to try next", words.advice)):
        rows += [("" if number else title, line) for number, line in enumerate(lines)]
    rows += opinion_rows(result) or [("detector", f"{result.detector.name} {result.detector.version}")]
    return rows


def opinion_rows(result: ClipResult) -> list[tuple[str, str]]:
    """Return each detector's verdict, their agreement and the fused probability; empty for one detector."""
    if not result.opinions:
        return []
    words = [f"{name}: {probability}, {verdict}" for name, probability, verdict in opinion_words(result)]
    rows = [("" if number else "detectors", line) for number, line in enumerate(words)]
    return [*rows, ("agreement", agreement_words(result))]


def print_fusion(fusion: Fusion, *, file: TextIO | None = None) -> None:
    """Print a fusion: each detector's AUC and weight, and the cross-validated AUC of the fusion.

    Args:
        fusion: What ``combine`` returned.
        file: Where to print; standard output when ``None``.
    """
    rows = [[one.name, _figure(one.auc), f"{one.weight:.3f}"] for one in fusion.members]
    total = fusion.auc
    caption = (
        f"{total.num_real:,} real and {total.num_fake:,} fake validation videos, 95% intervals; fused: "
        f"held out, {fusion.num_folds} folds\nthreshold {fusion.threshold:.4g}, uncertain from "
        f"{fusion.uncertain_low:.3f} to {fusion.uncertain_high:.3f}"
    )
    columns = [Column("detector", "name"), Column("AUC\n[low, high]"), Column("weight")]
    print_table("", columns, [*rows, None, ["fused", _figure(total), ""]], caption=caption, file=file)


def _figure(figure: FigureFacts) -> str:
    bounds = "" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:.4f}{bounds}"


def print_evaluation(evaluation: Evaluation, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Print an evaluation: video and frame level, over all and for each method, then slices.

    Each row has the level, the method, the number of real + fake videos, AUC with its interval,
    accuracy, equal error rate and log loss; ``n/a`` where undefined. Slices, at video level, have
    column and value in place of the method. The caption gives coverage and settings.

    Args:
        evaluation: Result of ``evaluation.evaluate_scores``.
        file: Where to print; standard output when ``None``.
        width: In characters; that of the terminal when ``None``.
    """
    settings = evaluation.settings
    columns = [
        Column("Level", "id"),
        Column("Method", "name"),
        *map(Column, ("Real +\nfake", "AUC\n[low, high]", "Accuracy", "EER", "Log\nloss")),
    ]
    caption = (
        f"{evaluation.coverage.sentence()}\nthreshold {settings.threshold:.4g}, "
        f"{settings.aggregation_rule}, {settings.confidence:.0%} intervals over {settings.resampled}"
        + _worst_case(evaluation)
        + "".join(f"\n{note}" for note in evaluation.notes)
    )
    print_table("", columns, _evaluation_rows(evaluation), caption=caption, file=file, width=width)


def _worst_case(evaluation: Evaluation) -> str:
    errors = evaluation.attack_errors
    if errors is None or len(errors.apcer) < 2:
        return ""
    return (
        f"\nworst method {printable(errors.worst_method)}: APCER {errors.worst_apcer.text()}, ACER "
        f"{errors.worst_acer.text()} (means over methods {errors.mean_apcer.value:.3f}, "
        f"{errors.mean_acer.value:.3f}); BPCER {errors.bpcer.text()}"
    )


def _evaluation_rows(evaluation: Evaluation) -> list[list[str] | None]:
    num_real, num_fake = evaluation.num_videos_real, evaluation.num_videos_fake
    rows: list[list[str] | None] = []
    for level in ("video", "frame"):
        rows.append(_row(level, "all", num_real, num_fake, getattr(evaluation, level).metrics))
        rows += [
            _row(level, name, one.num_videos_real, one.num_videos_fake, getattr(one, level).metrics)
            for name, one in evaluation.per_method.items()
        ]
        rows.append(None)
    for column, slices in evaluation.slices.items():
        for one in slices[:_MAX_SLICES]:
            name = f"{column}: {one.value}"
            rows.append(_row("slice", name, one.num_videos_real, one.num_videos_fake, one.metrics))
        if len(slices) > _MAX_SLICES:
            rows.append(["slice", f"{column}: ... {len(slices) - _MAX_SLICES} more in report.html"])
        rows.append(None)
    return rows


def _row(level: str, name: str, num_real: int, num_fake: int, metrics: dict[str, Interval]) -> list[str]:
    values = [metrics[key].value for key in ("accuracy", "eer", "log_loss")]
    numbers = ["n/a" if math.isnan(value) else f"{value:.3f}" for value in values]
    return [level, name, f"{num_real} + {num_fake}", metrics["auc"].text(), *numbers]
