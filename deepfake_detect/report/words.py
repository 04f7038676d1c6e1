"""The text that users read: verdicts and their explanations, percentages, people, metric names.

The terminal, annotated clips, reports, the web page, notebooks and the HTTP API take their text from
here. It depends only on a result's numbers, and importing this module loads no other library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deepfake_detect.plurals import counted
from deepfake_detect.records import ClipResult, Segment, Verdict

HEADLINES: dict[Verdict, str] = {
    "fake": "Signs of forgery found",
    "real": "No signs of forgery found",
    "uncertain": "Undecided",
    "no_face": "No face found",
    "score": "Score only: the detector is not calibrated",
}
"""Each verdict as a headline."""

SIGNS: dict[Verdict, str] = {"fake": "!", "real": "○", "uncertain": "?", "no_face": "–", "score": "·"}
"""Each verdict as one character. A clip without signs of forgery gets no check mark: it was not verified."""

BLIND_SPOTS = (
    "The detector cannot recognize fully generated faces, forgeries unlike those it was trained on, or "
    "edits outside the face, so this does not prove that the clip is genuine."
)
"""What the detector misses, for clips without signs of forgery."""

CAVEAT = (
    "This is the output of one automatic detector, not proof. It looks for traces that the forgery methods "
    "it was trained on leave in faces. Other kinds of forgery can go unnoticed, and unusual lighting, "
    "makeup, filters or compression can look like forgery to it. It does not examine voices, captions, or "
    "whether a real clip is shown out of context. Consider it together with the clip's source and other "
    "evidence."
)
"""Limits of every verdict."""

LOCAL = "Everything was computed on this computer; neither the clip nor any part of it was sent anywhere."
"""Where the verdict was computed."""

CREDENTIALS = "Content Credentials are reported alongside the verdict but do not affect it."
"""Role of the file's Content Credentials."""

_HEAT_MAPS = (
    "Next to each face is a Grad-CAM heat map: red marks the regions that raise the fake score most, "
    "relative to the strongest region of that face. It shows where the model looks, not where the image "
    "was altered."
)
_CLOSE = 0.05  # of the probability to a limit of the undecided range
_MAX_DIFFERING_PEOPLE = 4
_MAX_NAMED_PARTS = 2
_BETTER_COPY = (
    "Look for a better copy: the original, or one that no messaging app or website has recompressed."
)
_BETTER_PART = "Try another part of the clip, where the face is large, well lit and facing the camera."
_ADVICE = {
    "single_picture": "Look for the video that the image was taken from.",
    "few_frames": _BETTER_PART,
    "small_faces": _BETTER_COPY,
    "blurred_faces": _BETTER_COPY,
    "unsure_faces": _BETTER_PART,
    "heavy_compression": _BETTER_COPY,
    "damaged_file": "Look for an intact copy of the file.",
    "missing_frames": _BETTER_COPY,
    "other_streams": "If the other streams show faces, save them as separate files and score those.",
    "detectors_differ": "Compare what the detectors were trained on: only one may know this kind of forgery.",
    "another_rule": "Score the clip with the detector's own aggregation rule.",
}
_INTERVAL = (
    "Sampling other frames would probably give {}. This does not include how often the detector is wrong."
)
_SOURCE = "Find out who published the clip first, and whether other recordings of the same event exist."


@dataclass(frozen=True)
class VerdictWords:
    """A clip's verdict in plain language.

    Attributes:
        kind: The verdict, which sets the color.
        sign: One character that stands for the verdict.
        headline: The verdict in a few words.
        meaning: One or two sentences: the probability, the limit it is compared with, and what the
            detector cannot see.
        interval: How much the probability depends on the choice of frames; empty if unknown.
        reasons_title: Title of the reasons.
        reasons: For an undecided clip, the causes found in it; otherwise what limits the verdict.
        advice: What to try next; empty if the verdict is real or fake.
    """

    kind: Verdict
    sign: str
    headline: str
    meaning: str
    interval: str
    reasons_title: str
    reasons: tuple[str, ...]
    advice: tuple[str, ...]


def headline(verdict: Verdict, fake_probability: float | None) -> str:
    """Return a verdict as a headline, or the score of a detector that is not calibrated.

    Example:
        >>> headline("score", 0.834), headline("real", 0.1)
        ('Score 0.83 (not calibrated: run calibrate)', 'No signs of forgery found')
    """
    if verdict == "score" and fake_probability is not None:
        return f"Score {fake_probability:.2f} (not calibrated: run calibrate)"
    return HEADLINES[verdict]


def verdict_words(result: ClipResult) -> VerdictWords:
    """Return a clip's verdict in words.

    Args:
        result: A scored clip.

    Example:
        >>> from deepfake_detect.records import DetectorInfo
        >>> info = DetectorInfo("x", "1", 0.4, 0.6, "mean")
        >>> words = verdict_words(ClipResult("a.mp4", "no_face", None, 0, (), (), info))
        >>> words.headline, words.advice[0]
        ('No face found', 'Check that a face is visible: very small, turned or covered faces can be missed.')
    """
    if result.fused is not None or _disagree(result):
        return _words_of_several(result)
    is_undecided, interval = result.verdict == "uncertain", result.fake_probability_interval
    causes = _causes(result) if is_undecided else [(one.kind, one.text) for one in result.warnings]
    return VerdictWords(
        kind=result.verdict,
        sign=SIGNS[result.verdict],
        headline=clip_headline(result),
        meaning=_meaning(result),
        interval="" if interval is None else _INTERVAL.format(percent_range(*interval)),
        reasons_title="Why undecided" if is_undecided else "Limits of this verdict",
        reasons=tuple(text for _, text in causes),
        advice=tuple(_advice(result, [kind for kind, _ in causes])),
    )


def clip_headline(result: ClipResult) -> str:
    """Return a clip's verdict as a headline, with times if only parts of the clip are forged.

    With several detectors, the headline is the fused verdict or that they disagree.

    Example:
        >>> from deepfake_detect.records import DetectorInfo, Segment
        >>> info = DetectorInfo("x", "1", 0.4, 0.6, "mean")
        >>> part = Segment(0, 4.0, 8.02, 0.9, None, 10, False)
        >>> clip_headline(ClipResult("a.mp4", "fake", 0.9, 0, (), (), info, segments=(part,)))
        'Signs of forgery from 0:04.0 to 0:08.0'
    """
    if result.fused is not None:
        return HEADLINES[result.fused.verdict]
    if _disagree(result):
        return "The detectors disagree"
    parts = forged_parts(result)
    if not parts:
        return headline(result.verdict, result.fake_probability)
    if len(parts) > _MAX_NAMED_PARTS:
        return f"Signs of forgery in {len(parts)} parts of the clip"
    return f"Signs of forgery {_when(parts)}"


def forged_parts(result: ClipResult) -> tuple[Segment, ...]:
    """Return the forged segments of a clip, in order of time; empty if a person is forged throughout."""
    if any(one.is_whole for one in result.segments):
        return ()
    return tuple(sorted(result.segments, key=lambda one: one.start_seconds))


def clock(seconds: float) -> str:
    """Return a time in minutes and seconds.

    Example:
        >>> clock(4.0), clock(75.26)
        ('0:04.0', '1:15.3')
    """
    tenths = round(10 * max(seconds, 0.0))
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def segment_words(segment: Segment) -> str:
    """Return one line on a segment: who, when, and the fake probability.

    Example:
        >>> segment_words(Segment(0, 4.0, 8.02, 0.9, None, 10, False))
        'person 1 from 0:04.0 to 0:08.0: 90%'
    """
    return f"{person(segment.track_id)} {_when([segment])}: {percent(segment.fake_probability)}"


def _when(parts: Iterable[Segment]) -> str:
    return " and ".join(f"from {clock(one.start_seconds)} to {clock(one.end_seconds)}" for one in parts)


def _meaning(result: ClipResult) -> str:
    probability = result.fake_probability
    if probability is None:
        return (
            f"No face was found in {counted(len(result.frames), 'sampled frame')}. The detector examines "
            "only faces, so this clip has no score."
        )
    value, low, high = _distinct(probability, result.detector.uncertain_low, result.detector.uncertain_high)
    track = result.deciding_track
    subject = (
        "the clip" if track is None else person(track.track_id) if len(result.tracks) > 1 else "the face"
    )
    if result.verdict == "score":
        return (
            f"The detector's score for {subject} is {probability:.2f} on a scale from 0 (real) to 1 (fake). "
            "It was not calibrated on labeled clips, so it is neither a probability nor a verdict."
        )
    if parts := forged_parts(result):
        whose = f" of {person(parts[0].track_id)}" * (len(result.tracks) > 1)
        number = "this part" if len(parts) == 1 else "these parts"
        return (
            f"In {number} of the clip, the face{whose} scores far higher than the same face in the rest of "
            f"the clip: the fake probability there is {value}."
        )
    if result.verdict == "uncertain":
        return (
            f"The fake probability of {subject}, {value}, is between {low} and {high}. In that range the "
            "detector was wrong too often on labeled clips to give a verdict."
        )
    if result.verdict == "fake":
        return (
            f"The detector found traces of forgery in {subject}: the fake probability is {value}, at or "
            f"above the limit of {high}."
        )
    return (
        f"The detector found none of the traces it knows in {subject}: the fake probability is {value}, "
        f"below the limit of {low}. {BLIND_SPOTS}"
    )


def _causes(result: ClipResult) -> list[tuple[str, str]]:
    """Return kind and text of everything that makes a clip undecided."""
    causes = [(one.kind, one.text) for one in result.warnings]
    if len({track.verdict for track in result.tracks}) > 1:
        people = sorted(result.tracks, key=lambda track: (not track.decides, -track.num_frames))
        shown = [f"{person(one.track_id)} {percent(one.fake_probability)}" for one in people]
        more = ", …" * (len(shown) > _MAX_DIFFERING_PEOPLE)
        text = f"the people differ: {', '.join(shown[:_MAX_DIFFERING_PEOPLE])}{more}"
        causes.append(("people_differ", text))
    probability = result.fake_probability or 0.0
    low, high = result.detector.uncertain_low, result.detector.uncertain_high
    spread = result.fake_probability_interval or (probability, probability)
    for limit, headline, is_near in (
        (low, HEADLINES["real"], min(spread) < low or probability - low <= _CLOSE),
        (high, HEADLINES["fake"], max(spread) >= high or high - probability <= _CLOSE),
    ):
        if is_near:
            text = f"the probability is near {percent(limit)}, the limit of “{headline}”"
            causes.append(("near_limit", text))
    if not causes:
        causes.append(
            ("weak", "the traces are weak or contradict each other; the clip itself has no known defects")
        )
    return causes


def _advice(result: ClipResult, kinds: Iterable[str]) -> Iterator[str]:
    """Yield what to try next, without repeats, the most promising first."""
    if result.verdict == "score":
        yield "Calibrate the detector on labeled validation videos: deepfake-detect calibrate."
    if result.verdict not in ("uncertain", "no_face"):
        return
    if result.verdict == "no_face":
        yield "Check that a face is visible: very small, turned or covered faces can be missed."
    if result.frames and result.frames[-1].frame_index >= len(result.frames):
        yield f"Score more than {counted(len(result.frames), 'frame')}."
    if len(result.tracks) > 1 and result.deciding_track is not None:
        yield f"Look at each person: the clip's verdict is that of {person(result.deciding_track.track_id)}."
    yield from dict.fromkeys(_ADVICE[kind] for kind in kinds if kind in _ADVICE)
    yield _SOURCE


def _disagree(result: ClipResult) -> bool:
    """Return whether several detectors give different verdicts."""
    return result.agreement not in (None, 1.0)


def _words_of_several(result: ClipResult) -> VerdictWords:
    """Return the words of a fused verdict, or of detectors that disagree."""
    fused = result.fused
    kind: Verdict = "uncertain" if fused is None else fused.verdict
    if fused is None:
        said = "; ".join(f"{name}: {verdict} ({value})" for name, value, verdict in opinion_words(result))
        meaning = f"The detectors give different verdicts. {said}. There is no fused probability for them."
    else:
        value, low, high = _distinct(fused.fake_probability, fused.uncertain_low, fused.uncertain_high)
        meaning = (
            f"The fused fake probability of these detectors is {value}. Signs of forgery are reported at "
            f"{high} or more, none below {low}. "
            f"{BLIND_SPOTS if kind == 'real' else ''}"
        ).strip()
    return VerdictWords(
        kind=kind,
        sign=SIGNS[kind],
        headline=clip_headline(result),
        meaning=meaning,
        interval="",
        reasons_title="Why undecided" if kind == "uncertain" else "Limits of this verdict",
        reasons=tuple(one.text for one in result.warnings),
        advice=(_ADVICE["detectors_differ"], _SOURCE) if _disagree(result) else (),
    )


def opinion_words(result: ClipResult) -> list[tuple[str, str, str]]:
    """Return name, probability and verdict of each detector, and of their fusion."""
    rows = []
    for one in result.opinions:
        name = printable(f"{one.detector.name} {one.detector.version}")
        spread = one.fake_probability_interval
        over = "" if spread is None else f" [{percent_range(*spread)}]"
        value = "none" if one.fake_probability is None else f"{percent(one.fake_probability)}{over}"
        verdict = HEADLINES[one.verdict].lower()
        if one.verdict == "score" and one.fake_probability is not None:  # which is no probability
            value, verdict = f"score {one.fake_probability:.2f}", "none (not calibrated)"
        rows.append((name, value, verdict))
    if result.fused is not None:
        fused = result.fused
        rows.append(("all, fused", percent(fused.fake_probability), HEADLINES[fused.verdict].lower()))
    return rows


def agreement_words(result: ClipResult) -> str:
    """Return how far the detectors agree."""
    calibrated = [one for one in result.opinions if one.verdict != "score"]
    probabilities = [one.fake_probability for one in calibrated if one.fake_probability is not None]
    if result.agreement is None:
        return "unknown: fewer than two of the detectors give a verdict"
    if not probabilities:
        return "no detector found a face to score"
    same = "the detectors disagree"
    if not _disagree(result):
        same = f"the detectors agree: {HEADLINES[calibrated[0].verdict].lower()}"
    apart = 100 * (max(probabilities) - min(probabilities))
    return f"{same}; their probabilities are {apart:.0f} percentage points apart"


def heat_map_note(why_none: str) -> str:
    """Return how to read the heat maps, or why they are missing.

    Example:
        >>> heat_map_note("the model has no gradient")
        'There are no heat maps: the model has no gradient.'
    """
    return f"There are no heat maps: {why_none}." if why_none else _HEAT_MAPS


def percent(probability: float) -> str:
    r"""Return a probability in percent; never 0% or 100%, because nothing is certain.

    Example:
        >>> percent(0.876), percent(0.9999), percent(0.0)
        ('88%', '99%', '1%')
    """
    return f"{_digits(probability)}%"


def percent_range(low: float, high: float) -> str:
    r"""Return an interval of probabilities in percent.

    Example:
        >>> percent_range(0.67, 0.82), percent_range(0.981, 0.999)
        ('67–82%', '98–99%')
    """
    ends = dict.fromkeys((_digits(low), _digits(high)))
    return f"{'–'.join(ends)}%"


def _digits(probability: float, *, decimals: int = 0) -> str:
    least = 10.0**-decimals
    return f"{min(100 - least, max(least, 100 * probability)):.{decimals}f}"


def _distinct(probability: float, *limits: float) -> list[str]:
    """Return probability and limits in percent, with decimals where it would look equal to a limit."""
    others = [limit for limit in limits if limit != probability]
    for decimals in range(4):
        shown = _digits(probability, decimals=decimals)
        if shown not in [_digits(limit, decimals=decimals) for limit in others]:
            break
    return [f"{_digits(value, decimals=decimals)}%" for value in (probability, *limits)]


def printable(name: str) -> str:
    r"""Return a clip's name with line breaks and terminal control characters escaped.

    Example:
        >>> print(printable("a\nb\x1b[31m.mp4"))
        a\nb\x1b[31m.mp4
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def person(track_id: int) -> str:
    """Return a track's name for users, who count people from 1.

    Example:
        >>> person(0)
        'person 1'
    """
    return f"person {track_id + 1}"


METRIC_WORDS = {
    "auc": "AUC",
    "partial_auc": "partial AUC, FPR ≤ 10%",
    "average_precision": "average precision",
    "eer": "equal error rate",
    "tpr_at_1pct_fpr": "TPR at 1% FPR",
    "tpr_at_5pct_fpr": "TPR at 5% FPR",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "apcer": "APCER (fakes classified as real)",
    "bpcer": "BPCER (reals classified as fake)",
    "acer": "ACER",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
"""Name of each metric of ``METRIC_NAMES`` in reports."""


def metric_title(name: str) -> str:
    """Return the title of a metric's column.

    Example:
        >>> metric_title("eer")
        'equal error rate'
    """
    from deepfake_detect.metrics import METRICS  # here: a verdict's words need no metric

    return METRIC_WORDS.get(name) or METRICS.find(name).title or name
