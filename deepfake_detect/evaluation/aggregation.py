"""Face probabilities -> people (tracks) -> one probability of the clip.

Scoring a single clip and evaluating a dataset both go through :func:`aggregate_clip`, so that a
published number and a verdict follow the same rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.errors import OptionError
from deepfake_detect.records import TrackScore

# A track shorter than this share of the longest one is more often a false detection than a person.
_LONG_ENOUGH_SHARE = 0.25

AggregationRule = Callable[[np.ndarray, tuple[TrackScore, ...]], tuple[float, int | None]]
"""Face probabilities (N,) and their tracks -> the clip's probability, and whose it is if one person's."""


@dataclass(frozen=True)
class ClipAggregate:
    """The probability of a clip and where it comes from.

    Attributes:
        fake_probability: Probability that the clip shows a forged face, 0 to 1.
        deciding_track_id: The track whose probability it is; ``None`` when all faces share in it.
        tracks: Every track of the clip by rising number; ``decides`` marks the deciding one.
    """

    fake_probability: float
    deciding_track_id: int | None
    tracks: tuple[TrackScore, ...]


def most_suspicious_track(
    probabilities: np.ndarray, tracks: tuple[TrackScore, ...]
) -> tuple[float, int | None]:
    """Return the highest mean among tracks with at least a quarter of the longest one's faces.

    One forged person among real ones makes the clip fake. The quarter keeps a single false
    detection beside a person seen in 32 frames from deciding, and lets a clip of one frame have a
    verdict. Equal means: the longer track, then the lower number.
    """
    longest = max(track.num_frames for track in tracks)
    long_enough = [track for track in tracks if track.num_frames >= _LONG_ENOUGH_SHARE * longest]
    best = max(long_enough, key=lambda track: (track.fake_probability, track.num_frames, -track.track_id))
    return best.fake_probability, best.track_id


def mean(probabilities: np.ndarray, tracks: tuple[TrackScore, ...]) -> tuple[float, int | None]:
    """Return the mean over all faces, whoever they belong to: the common protocol of papers."""
    return _exact_mean(probabilities), None


def longest_track(probabilities: np.ndarray, tracks: tuple[TrackScore, ...]) -> tuple[float, int | None]:
    """Return the mean of the track with most faces. Ties: the larger mean, then the lower number."""
    best = max(tracks, key=lambda track: (track.num_frames, track.fake_probability, -track.track_id))
    return best.fake_probability, best.track_id


AGGREGATION_RULES: dict[str, AggregationRule] = {
    "most_suspicious_track": most_suspicious_track,
    "mean": mean,
    "longest_track": longest_track,
}
"""Every rule by the name that a detector file and the command line use for it.

``most_suspicious_track``: the person most likely forged, brief false detections aside (default).
``mean``: all faces alike; one forged person among several real ones is diluted.
``longest_track``: the person seen most, for clips about one person.
"""


def aggregate_clip(
    track_ids: ArrayLike, probabilities: ArrayLike, *, rule: str = "most_suspicious_track"
) -> ClipAggregate:
    """Return the probability of a clip from those of its faces.

    The order of the faces does not matter, to the last bit.

    Args:
        track_ids: int (N,), the track of each scored face, N >= 1. A track has at most one face a
            frame, so its faces count its frames.
        probabilities: float (N,), fake probability of each face, 0 to 1.
        rule: A name in ``AGGREGATION_RULES``:
            ``"most_suspicious_track"``, the highest mean among the tracks that have at least a
            quarter of the faces of the longest track (ties: more faces, then lower number);
            ``"mean"``, the mean over all faces;
            ``"longest_track"``, the mean of the track with most faces (ties: larger mean, then
            lower number).

    Returns:
        The clip's probability, the track that decided and all tracks.

    Raises:
        OptionError: No face (a clip without a face has no probability), arrays that do not pair
            up, track numbers that are no integers, probabilities outside 0 to 1, an unknown rule.

    Source: :func:`most_suspicious_track` takes the maximum over people of the mean over time;
    self-blended images (arXiv:2204.08376) take the maximum over faces frame by frame, which lets a
    different person decide in each frame. ``mean`` is the standard test of the field.

    Example:
        >>> clip = aggregate_clip([0, 0, 1, 1, 2], [0.1, 0.2, 0.75, 0.75, 0.9], rule="longest_track")
        >>> clip.fake_probability, clip.deciding_track_id
        (0.75, 1)
        >>> [track.num_frames for track in clip.tracks]
        [2, 2, 1]
    """
    if rule not in AGGREGATION_RULES:
        raise OptionError("rule", f"there is no {rule!r}", f"choose one of: {', '.join(AGGREGATION_RULES)}")
    ids, values = _check_faces(track_ids, probabilities)
    tracks = _summarise_tracks(ids, values)
    probability, decider = AGGREGATION_RULES[rule](values, tracks)
    marked = tuple(replace(track, decides=track.track_id == decider) for track in tracks)
    return ClipAggregate(probability, decider, marked)


def _summarise_tracks(track_ids: np.ndarray, probabilities: np.ndarray) -> tuple[TrackScore, ...]:
    tracks = []
    for track_id in np.unique(track_ids):
        faces = probabilities[track_ids == track_id]
        tracks.append(TrackScore(int(track_id), len(faces), _exact_mean(faces), decides=False))
    return tuple(tracks)


def _exact_mean(values: np.ndarray) -> float:
    # A correctly rounded sum does not depend on the order, so equal tracks tie exactly.
    return math.fsum(values.tolist()) / len(values)


def _check_faces(track_ids: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    ids, values = np.asarray(track_ids), np.asarray(probabilities, dtype=np.float64)
    if ids.ndim != 1 or values.shape != ids.shape:
        raise OptionError(
            "track_ids",
            f"shape {ids.shape} and probabilities of shape {values.shape} do not pair up",
            "pass two arrays (N,), one track and one probability per face",
        )
    if len(ids) == 0:
        raise OptionError(
            "probabilities", "a clip without a face has no probability", "call it no_face before aggregating"
        )
    if not np.issubdtype(ids.dtype, np.integer):
        raise OptionError("track_ids", f"are {ids.dtype} and not integers", "pass the number of each track")
    # Written so that NaN fails too.
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise OptionError(
            "probabilities", "are NaN or outside 0 to 1", "pass the sigmoid of the detector's logits"
        )
    return ids, values
