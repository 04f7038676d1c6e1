"""Face probabilities -> people (tracks) -> one probability of the clip.

Scoring a single clip and evaluating a dataset both go through :func:`aggregate_clip`, so that a
published number and a verdict follow the same rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from deepfake_detect.errors import OptionError
from deepfake_detect.metrics import PROBABILITY_EPSILON
from deepfake_detect.plugins import PluginPart
from deepfake_detect.records import TrackScore
from deepfake_detect.registry import Registry

# A track shorter than this share of the longest one is more often a false detection than a person.
_LONG_ENOUGH_SHARE = 0.25
_TOP_SHARE = 0.25
_TRIMMED_SHARE = 0.1
LEARNED_RULE = "logistic"
_NUM_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class ClipFaces:
    """The scored faces of one clip.

    Attributes:
        probabilities: float64 (N,), fake probability of each face, 0 to 1.
        frame_indices: int (N,), or ``None`` where it is not known which faces share a frame.
        tracks: The people they belong to, by rising number.
        weights: Of the learned rule; empty for all others.
        track_ids: int (N,), the track of each face.
    """

    probabilities: np.ndarray
    frame_indices: np.ndarray | None
    tracks: tuple[TrackScore, ...]
    weights: Sequence[float]
    track_ids: np.ndarray


AggregationRule = Callable[[ClipFaces], tuple[float, int | None]]
"""A clip's faces -> its probability, and the track whose it is, if it is one person's."""


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


def most_suspicious_track(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the highest mean among tracks with at least a quarter of the longest one's faces.

    One forged person among real ones makes the clip fake. The quarter keeps a single false
    detection beside a person seen in 32 frames from deciding, and lets a clip of one frame have a
    verdict. Equal means: the longer track, then the lower number.
    """
    longest = max(track.num_frames for track in faces.tracks)
    long_enough = [track for track in faces.tracks if track.num_frames >= _LONG_ENOUGH_SHARE * longest]
    best = max(long_enough, key=lambda track: (track.fake_probability, track.num_frames, -track.track_id))
    return best.fake_probability, best.track_id


def mean(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean over all faces, whoever they belong to: the common protocol of papers."""
    return _exact_mean(faces.probabilities), None


def median(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the median over all faces, which a few odd frames do not move."""
    return float(np.median(faces.probabilities)), None


def longest_track(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean of the track with most faces. Ties: the larger mean, then the lower number."""
    best = max(faces.tracks, key=lambda track: (track.num_frames, track.fake_probability, -track.track_id))
    return best.fake_probability, best.track_id


def frame_maxima(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean over frames of the most suspicious face of each (self-blended images)."""
    if faces.frame_indices is None:
        raise OptionError(
            "rule", "frame_maxima needs to know which faces share a frame", "pass frame_indices too"
        )
    frames, of_face = np.unique(faces.frame_indices, return_inverse=True)
    highest = np.zeros(len(frames))
    np.maximum.at(highest, of_face, faces.probabilities)
    return _exact_mean(highest), None


def top_k_mean(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean of the highest quarter of the faces, rounded up: forged in parts is forged."""
    count = math.ceil(_TOP_SHARE * len(faces.probabilities))
    return _exact_mean(np.sort(faces.probabilities)[-count:]), None


def trimmed_mean(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean without the highest and the lowest tenth of the faces, each rounded down."""
    count = int(_TRIMMED_SHARE * len(faces.probabilities))
    return _exact_mean(np.sort(faces.probabilities)[count : len(faces.probabilities) - count]), None


def confident(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean of the sure faces, where there are enough of one kind, else of all.

    Sure fakes (above 0.8) count where they are more than 11 and more than 1 in 2.5; sure reals
    (below 0.2) where they are more than 9 in 10.
    """
    values = faces.probabilities
    fakes, reals = values[values > 0.8], values[values < 0.2]
    if len(fakes) > len(values) / 2.5 and len(fakes) > 11:
        return _exact_mean(fakes), None
    if len(reals) > 0.9 * len(values):
        return _exact_mean(reals), None
    return _exact_mean(values), None


def logistic(faces: ClipFaces) -> tuple[float, int | None]:
    """Return what a logistic regression on :func:`clip_features` says, fitted on validation."""
    from scipy.special import expit  # a quarter of a second that no other rule needs

    features = clip_features(faces)
    if len(faces.weights) != len(features) + 1:
        raise OptionError(
            "rule",
            f"logistic needs {len(features) + 1} weights, there are {len(faces.weights)}",
            "fit them on validation with calibration.fit_clip_weights",
        )
    return float(expit(faces.weights[0] + np.dot(faces.weights[1:], features))), None


def clip_features(faces: ClipFaces) -> np.ndarray:
    """Return what the learned rule knows of a clip, float64 (4,).

    In logits: mean and median of all faces, the most suspicious track, the mean of the top quarter.
    """
    from scipy.special import logit

    values = [rule(faces)[0] for rule in (mean, median, most_suspicious_track, top_k_mean)]
    features: np.ndarray = logit(np.clip(values, PROBABILITY_EPSILON, 1.0 - PROBABILITY_EPSILON))
    return features


AGGREGATION_RULES: Registry[AggregationRule] = Registry(
    "aggregation_rule",
    {
        "most_suspicious_track": most_suspicious_track,
        "mean": mean,
        "median": median,
        "longest_track": longest_track,
        "frame_maxima": frame_maxima,
        "top_k_mean": top_k_mean,
        "trimmed_mean": trimmed_mean,
        "confident": confident,
        LEARNED_RULE: logistic,
    },
)
"""The aggregation rules by name.

``most_suspicious_track``: the most suspicious person, ignoring brief false detections (default).
``mean``: all faces with equal weight; one forged person among several real ones is diluted.
``median``: as ``mean``, and robust against outlier frames.
``longest_track``: the most visible person, for clips about one person.
``frame_maxima``: the most suspicious face of each frame; several real people raise it.
``top_k_mean``: the most suspicious quarter of the faces.
``trimmed_mean``: the mean without the highest and lowest tenth.
``confident``: the DFDC winner's rule: the confident faces, if there are enough of one kind.
``logistic``: learned from four of the above on validation; needs the detector's weights.
"""

_TRACK_RULES = {"most_suspicious_track", "longest_track", LEARNED_RULE}


def register_aggregation(name: str, rule: AggregationRule, *, needs_tracks: bool = False) -> None:
    """Add a rule that scoring, evaluation and calibration find by name.

    Args:
        name: Its name, not taken yet.
        rule: From the faces of a clip to the clip's probability, 0 to 1, and the id of the track that
            decided; ``None`` where all faces count.
        needs_tracks: Whether it needs to know which faces belong to one person.

    Raises:
        OptionError: The name is taken.

    Example:
        >>> register_aggregation("highest", lambda faces: (float(faces.probabilities.max()), None))
        >>> aggregate_clip([0, 0], [0.2, 0.7], rule="highest").fake_probability
        0.7
    """
    AGGREGATION_RULES.register(name, rule)
    if needs_tracks:
        _TRACK_RULES.add(name)


def needs_tracks(rule: str) -> bool:
    """Return whether a rule needs to know which faces belong to one person."""
    return rule in _TRACK_RULES


def aggregate_clip(
    track_ids: ArrayLike,
    probabilities: ArrayLike,
    *,
    rule: str = "most_suspicious_track",
    frame_indices: ArrayLike | None = None,
    weights: Sequence[float] = (),
) -> ClipAggregate:
    """Return the probability of a clip from those of its faces.

    The order of the faces does not matter, to the last bit.

    Args:
        track_ids: int (N,), the track of each scored face, N >= 1. A track has at most one face a
            frame, so its faces count its frames.
        probabilities: float (N,), fake probability of each face, 0 to 1.
        rule: A name in ``AGGREGATION_RULES``.
        frame_indices: int (N,), the frame of each face; only ``"frame_maxima"`` needs it.
        weights: Of the rule ``"logistic"``, as ``calibration.fit_clip_weights`` found them.

    Returns:
        The clip's probability, the track that decided and all tracks.

    Raises:
        OptionError: No face (a clip without a face has no probability), arrays that do not pair
            up, track numbers that are no integers, probabilities outside 0 to 1, an unknown rule,
            a rule without the frames or weights it needs.

    Source: :func:`most_suspicious_track` takes the maximum over people of the mean over time;
    self-blended images (arXiv:2204.08376) take the maximum over faces frame by frame, which lets a
    different person decide in each frame. ``mean`` is the standard test of the field, ``confident``
    that of selimsef/dfdc_deepfake_challenge, for 32 frames.

    Example:
        >>> clip = aggregate_clip([0, 0, 1, 1, 2], [0.1, 0.2, 0.75, 0.75, 0.9], rule="longest_track")
        >>> clip.fake_probability, clip.deciding_track_id
        (0.75, 1)
        >>> [track.num_frames for track in clip.tracks]
        [2, 2, 1]
    """
    check_rule(rule)
    faces = clip_faces(track_ids, probabilities, frame_indices=frame_indices, weights=weights)
    probability, decider = AGGREGATION_RULES[rule](faces)
    marked = tuple(replace(track, decides=track.track_id == decider) for track in faces.tracks)
    return ClipAggregate(probability, decider, marked)


def frames_interval(faces: ClipFaces, rule: str, *, seed: int = 0) -> tuple[float, float] | None:
    """Return how far a clip's probability moves with the choice of its frames.

    Frames are drawn again with replacement (percentile bootstrap, Efron 1979), each with all its
    faces; a draw that has no face is left out. Frames of one clip resemble each other, so the
    interval says how steady the detector is on this clip, not how often it is right.

    Args:
        faces: With frame indices.
        rule: From faces to the clip.
        seed: Of the draws.

    Returns:
        2.5 and 97.5 percentile of the probability; ``None`` with fewer than two frames.

    Raises:
        OptionError: The frame of each face is not known.

    Example:
        >>> low, high = frames_interval(clip_faces([0] * 8, [0.2, 0.3] * 4, frame_indices=range(8)), "mean")
        >>> 0.2 < low < 0.25 < high < 0.3
        True
    """
    if faces.frame_indices is None:
        raise OptionError("frame_indices", "are not known", "pass the frame of each face")
    frames, of_face = np.unique(faces.frame_indices, return_inverse=True)
    if len(frames) < 2:
        return None
    members = [np.flatnonzero(of_face == number) for number in range(len(frames))]
    draws = np.random.default_rng(seed).integers(len(frames), size=(_NUM_DRAWS, len(frames)))
    values = [_of_draw(faces, rule, [members[frame] for frame in draw]) for draw in draws]
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return low, high


def _of_draw(faces: ClipFaces, rule: str, members: list[np.ndarray]) -> float:
    """Return the probability of a clip made of these frames, each a frame of its own."""
    chosen = np.concatenate(members)
    frames = np.repeat(np.arange(len(members)), [len(of_frame) for of_frame in members])
    tracks = _summarize_tracks(faces.track_ids[chosen], faces.probabilities[chosen])
    drawn = ClipFaces(faces.probabilities[chosen], frames, tracks, faces.weights, faces.track_ids[chosen])
    return AGGREGATION_RULES[rule](drawn)[0]


def check_rule(rule: str, plugins: Sequence[PluginPart] = ()) -> None:
    """Check that an aggregation rule exists.

    Args:
        rule: Its name.
        plugins: Parts of plug-ins that the detector needs, for the error.

    Raises:
        OptionError: The rule is unknown; if it belongs to a plug-in, the message names that.
    """
    if rule in AGGREGATION_RULES:
        return
    for part in plugins:
        if (part.kind, part.name) == (AGGREGATION_RULES.option, rule):
            raise OptionError(
                AGGREGATION_RULES.option,
                f"is {rule!r}, and the {part} is not installed or failed to load",
                "install it, or choose another rule",
            )
    AGGREGATION_RULES.find(rule)


def clip_faces(
    track_ids: ArrayLike,
    probabilities: ArrayLike,
    *,
    frame_indices: ArrayLike | None = None,
    weights: Sequence[float] = (),
) -> ClipFaces:
    """Return checked faces with the tracks that they form.

    Args, Raises:
        As for :func:`aggregate_clip`.
    """
    ids, values = _check_faces(track_ids, probabilities)
    frames = None if frame_indices is None else np.asarray(frame_indices)
    if frames is not None and frames.shape != ids.shape:
        raise OptionError(
            "frame_indices", f"shape {frames.shape} for {len(ids)} faces", "pass one frame per face"
        )
    return ClipFaces(values, frames, _summarize_tracks(ids, values), weights, ids)


def _summarize_tracks(track_ids: np.ndarray, probabilities: np.ndarray) -> tuple[TrackScore, ...]:
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
