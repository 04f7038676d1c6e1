"""A verdict in words for readers without knowledge of the field."""

from __future__ import annotations

from deepfake_detect.records import ClipResult, Verdict

_NO_BREAK = "\N{NO-BREAK SPACE}"

HEADLINES: dict[Verdict, str] = {
    "fake": "Probably forged",
    "real": "No traces of forgery found",
    "uncertain": "Undecided",
    "no_face": "No face found",
}
"""Each verdict as a headline."""

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


def explain_verdict(result: ClipResult) -> str:
    """Return the meaning of a clip's verdict in a few sentences.

    Args:
        result: A scored clip.
    """
    detector, probability = result.detector, result.fake_probability
    if probability is None:
        return (
            f"No face was found in the {len(result.frames)} sampled frames. The detector examines faces "
            "only, so there is no score for this clip. Very small, turned or covered faces can be missed."
        )
    scale = (
        f"On a scale from 0{_NO_BREAK}% (real) to 100{_NO_BREAK}% (fake), {_subject(result)} has a fake "
        f"probability of {percent(probability)}"
    )
    if result.verdict == "uncertain":
        return (
            f"{scale}. Between {percent(detector.uncertain_low)} and {percent(detector.uncertain_high)} the "
            "detector was wrong too often on clips with known labels: the evidence is too weak either way."
        )
    if result.verdict == "fake":
        limit = max(detector.threshold, detector.uncertain_high)
        return (
            f"The detector found signs of forgery. {scale}; at {percent(limit)} and above it classifies a "
            "clip as fake."
        )
    limit = min(detector.threshold, detector.uncertain_low)
    return (
        f"The detector found none of the signs of forgery that it knows. {scale}; up to {percent(limit)} it "
        "classifies a clip as real. This does not prove that the clip is genuine."
    )


def describe_interval(result: ClipResult) -> str:
    """Return the meaning of the interval over frames; empty where there is none."""
    if result.fake_probability_interval is None:
        return ""
    low, high = result.fake_probability_interval
    return (
        f"Sampling other frames would probably give {percent_range(low, high)}. This does not include how "
        "often the detector is wrong."
    )


def percent(probability: float) -> str:
    r"""Return a probability in percent, on one line; never 0 % or 100 %, as nothing is certain.

    Example:
        >>> percent(0.876), percent(0.9999), percent(0.0)
        ('88\xa0%', '99\xa0%', '1\xa0%')
    """
    return f"{_rounded(probability)}{_NO_BREAK}%"


def percent_range(low: float, high: float) -> str:
    r"""Return an interval of probabilities in percent, on one line.

    Example:
        >>> percent_range(0.67, 0.82), percent_range(0.981, 0.999)
        ('67–82\xa0%', '98–99\xa0%')
    """
    if _rounded(low) == _rounded(high):
        return percent(low)
    return f"{_rounded(low)}\N{EN DASH}{_rounded(high)}{_NO_BREAK}%"


def _rounded(probability: float) -> int:
    return min(99, max(1, round(100 * probability)))


def printable(name: str) -> str:
    r"""Return a clip's name fit to be shown: line breaks and terminal control characters as escapes.

    Example:
        >>> print(printable("a\nb\x1b[31m.mp4"))
        a\nb\x1b[31m.mp4
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def person_number(track_id: int) -> int:
    """Return the number by which readers know a track: people are counted from 1."""
    return track_id + 1


def person(track_id: int) -> str:
    """Return the name by which readers know a track.

    Example:
        >>> person(0)
        'person 1'
    """
    return f"person {person_number(track_id)}"


def _subject(result: ClipResult) -> str:
    track = result.deciding_track
    if track is None:
        return "the clip"
    return person(track.track_id) if len(result.tracks) > 1 else "the face"
