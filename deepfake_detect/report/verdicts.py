"""A verdict in words that need no knowledge of the field."""

from __future__ import annotations

from deepfake_detect.records import ClipResult, Verdict

HEADLINES: dict[Verdict, str] = {
    "fake": "Probably forged",
    "real": "No traces of forgery found",
    "uncertain": "Undecided",
    "no_face": "No face to judge",
}
"""Each verdict as a headline."""

CAVEAT = (
    "This is the opinion of one automatic detector, not proof. It looks for traces that the forgeries it "
    "was trained on leave in faces. Forgeries of another kind can pass unnoticed, and unusual light, "
    "make-up, filters or compression can look like forgery to it. It does not judge voices, captions, or "
    "whether a real clip is shown out of context. Weigh it together with the clip's source and other "
    "evidence."
)
"""What holds of every verdict."""

LOCAL = "Everything was computed on this computer; neither the clip nor any part of it was sent anywhere."
"""Where the work was done."""


def explain_verdict(score: ClipResult) -> str:
    """Return what a clip's verdict means, in a few sentences.

    Args:
        score: A scored clip.
    """
    detector, probability = score.detector, score.fake_probability
    if probability is None:
        return (
            f"No face was found in the {len(score.frames)} frames that were looked at. The detector judges "
            "faces only, so it says nothing about this clip. Faces that are very small, turned away or "
            "covered are not found."
        )
    scale = f"On a scale from 0 (real) to 1 (forged) it gives {_whose(score)} {probability:.2f}"
    if score.verdict == "uncertain":
        return (
            f"{scale}. Between {detector.uncertain_low:.2f} and {detector.uncertain_high:.2f} the detector "
            "was wrong too often on clips whose truth was known, so the evidence is too weak either way."
        )
    if score.verdict == "fake":
        return (
            f"The detector finds traces of forgery. {scale}; from "
            f"{max(detector.threshold, detector.uncertain_high):.2f} on it calls a clip forged."
        )
    return (
        f"The detector finds none of the traces it knows. {scale}; up to "
        f"{min(detector.threshold, detector.uncertain_low):.2f} it calls a clip real. That does not prove "
        "that the clip is genuine."
    )


def steadiness(score: ClipResult) -> str:
    """Return what the interval over frames says; empty where there is none."""
    if score.fake_probability_interval is None:
        return ""
    low, high = score.fake_probability_interval
    return (
        f"With other frames of this clip it would most likely lie between {low:.2f} and {high:.2f} "
        "(95 % interval over frames; how often the detector errs on other clips is not in it)."
    )


def printable(name: str) -> str:
    r"""Return a clip's name fit to be shown: line ends, and marks that a terminal obeys, as escapes.

    Example:
        >>> print(printable("a\nb\x1b[31m.mp4"))
        a\nb\x1b[31m.mp4
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def person_number(track_id: int) -> int:
    """Return the number by which readers know a track: people are counted from 1."""
    return track_id + 1


def _whose(score: ClipResult) -> str:
    track = score.deciding_track
    if track is None:
        return "the clip"
    return f"person {person_number(track.track_id)}" if len(score.tracks) > 1 else "the face"
