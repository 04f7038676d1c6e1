"""Face probabilities -> people (tracks) -> one probability per clip.

Scoring a clip and evaluating a dataset both use :func:`aggregate_clip`, so that published metrics and
verdicts follow the same rule.
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
from deepfake_detect.plurals import counted
from deepfake_detect.records import TrackScore
from deepfake_detect.registry import Registry

# A track shorter than this fraction of the longest one is more often a false detection than a person.
_MIN_LENGTH_FRACTION = 0.25
_TOP_FRACTION = 0.25
_TRIMMED_FRACTION = 0.1
LEARNED_RULE = "logistic"
_NUM_RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class ClipFaces:
    """The scored faces of one clip.

    Attributes:
        probabilities: float64 (N,), fake probability of each face, 0 to 1.
        frame_indices: int (N,), or ``None`` if unknown.
        tracks: Tracks of the people, by ascending id.
        weights: Weights of the learned rule; empty for all others.
        track_ids: int (N,), the track of each face.
    """

    probabilities: np.ndarray
    frame_indices: np.ndarray | None
    tracks: tuple[TrackScore, ...]
    weights: Sequence[float]
    track_ids: np.ndarray


AggregationRule = Callable[[ClipFaces], tuple[float, int | None]]
"""Faces of a clip -> its probability, and the id of the deciding track if it is that of one person."""


@dataclass(frozen=True)
class ClipAggregate:
    """Probability of a clip, and the tracks behind it.

    Attributes:
        fake_probability: Probability that the clip shows a forged face, 0 to 1.
        deciding_track_id: Track with that probability; ``None`` if all faces contribute.
        tracks: All tracks of the clip by ascending id; ``decides`` marks the deciding one.
    """

    fake_probability: float
    deciding_track_id: int | None
    tracks: tuple[TrackScore, ...]


def most_suspicious_track(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the highest mean among tracks with at least a quarter of the longest one's faces.

    One forged person among real ones makes the clip fake. The quarter prevents that a single false
    detection next to a person in 32 frames decides, and still allows clips of one frame. Ties: the
    longer track, then the lower id.
    """
    longest = max(track.num_frames for track in faces.tracks)
    long_enough = [track for track in faces.tracks if track.num_frames >= _MIN_LENGTH_FRACTION * longest]
    best = max(long_enough, key=lambda track: (track.fake_probability, track.num_frames, -track.track_id))
    return best.fake_probability, best.track_id


def mean(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean over all faces of all people, the common protocol of papers.

    One forged person among several real ones is diluted.
    """
    return _exact_mean(faces.probabilities), None


def median(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the median over all faces, which is robust against outlier frames."""
    return float(np.median(faces.probabilities)), None


def longest_track(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean of the track with most faces. Ties: the higher mean, then the lower id."""
    best = max(faces.tracks, key=lambda track: (track.num_frames, track.fake_probability, -track.track_id))
    return best.fake_probability, best.track_id


def frame_maxima(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean over frames of the most suspicious face of each; several real people raise it."""
    if faces.frame_indices is None:
        raise OptionError(
            "aggregation_rule", "is frame_maxima, which needs the frame of each face", "pass `frame_indices`"
        )
    frames, of_face = np.unique(faces.frame_indices, return_inverse=True)
    highest = np.zeros(len(frames))
    np.maximum.at(highest, of_face, faces.probabilities)
    return _exact_mean(highest), None


def top_k_mean(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean of the highest quarter of the faces, rounded up, for clips that are partly forged."""
    count = math.ceil(_TOP_FRACTION * len(faces.probabilities))
    return _exact_mean(np.sort(faces.probabilities)[-count:]), None


def trimmed_mean(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean without the highest and the lowest tenth of the faces, each rounded down."""
    count = int(_TRIMMED_FRACTION * len(faces.probabilities))
    return _exact_mean(np.sort(faces.probabilities)[count : len(faces.probabilities) - count]), None


def confident(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the mean of the confident faces if there are enough of one kind, else of all (DFDC's winner).

    Confident fakes (above 0.8) count if they are more than 11 and more than 1 in 2.5; confident reals
    (below 0.2) if they are more than 9 in 10.
    """
    values = faces.probabilities
    fakes, reals = values[values > 0.8], values[values < 0.2]
    if len(fakes) > len(values) / 2.5 and len(fakes) > 11:
        return _exact_mean(fakes), None
    if len(reals) > 0.9 * len(values):
        return _exact_mean(reals), None
    return _exact_mean(values), None


def logistic(faces: ClipFaces) -> tuple[float, int | None]:
    """Return the probability of a logistic regression on :func:`clip_features`, fitted on validation."""
    from scipy.special import expit  # its import takes a quarter of a second

    features = clip_features(faces)
    if len(faces.weights) != len(features) + 1:
        raise OptionError(
            "aggregation_rule",
            f"is logistic, which needs {len(features) + 1} weights, and there are {len(faces.weights)}",
            "fit them on validation: calibrate with `choose_aggregation`",
        )
    return float(expit(faces.weights[0] + np.dot(faces.weights[1:], features))), None


def clip_features(faces: ClipFaces) -> np.ndarray:
    """Return the features of the learned rule, float64 (4,).

    They are logits of: mean and median of all faces, the most suspicious track, the mean of the top quarter.
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
"""The aggregation rules by name; ``most_suspicious_track`` is the default."""

_TRACK_RULES = {"most_suspicious_track", "longest_track", LEARNED_RULE}


def register_aggregation(name: str, rule: AggregationRule, *, needs_tracks: bool = False) -> None:
    """Register an aggregation rule that scoring, evaluation and calibration find by name.

    Args:
        name: Its name, not taken yet.
        rule: Takes the faces of a clip and returns the clip's probability, 0 to 1, and the id of the
            deciding track, or ``None`` if all faces count.
        needs_tracks: Whether it needs to know which faces belong to the same person.

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

    The result does not depend on the order of the faces, to the last bit.

    Args:
        track_ids: int (N,), the track of each scored face, N >= 1. A track has at most one face per
            frame.
        probabilities: float (N,), fake probability of each face, 0 to 1.
        rule: A name in ``AGGREGATION_RULES``.
        frame_indices: int (N,), the frame of each face; only ``"frame_maxima"`` needs it.
        weights: Weights of the rule ``"logistic"``, of ``calibration.fit_clip_weights``.

    Returns:
        The clip's probability, the deciding track and all tracks.

    Raises:
        OptionError: There is no face, arrays differ in length, track ids are not integers, probabilities
            are outside 0 to 1, the rule is unknown, or lacks the frames or weights that it needs.

    Source: :func:`most_suspicious_track` takes the maximum over people of the mean over time;
    self-blended images (arXiv:2204.08376) take the maximum over faces frame by frame, so that a
    different person may decide in each frame. ``mean`` is the standard protocol, ``confident`` that of
    selimsef/dfdc_deepfake_challenge, for 32 frames.

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
    """Return the interval of a clip's probability over the choice of its frames.

    Frames are resampled with replacement (percentile bootstrap, Efron 1979), each with all its faces.
    Frames of one clip resemble each other, so the interval shows how stable the detector is on this
    clip, not how often it is right.

    Returns:
        2.5 and 97.5 percentile of the probability; ``None`` with fewer than two frames.

    Raises:
        OptionError: The frames are unknown.

    Example:
        >>> low, high = frames_interval(clip_faces([0] * 8, [0.2, 0.3] * 4, frame_indices=range(8)), "mean")
        >>> 0.2 < low < 0.25 < high < 0.3
        True
    """
    if faces.frame_indices is None:
        raise OptionError("frame_indices", "are unknown", "pass the frame of each face")
    frames, of_face = np.unique(faces.frame_indices, return_inverse=True)
    if len(frames) < 2:
        return None
    members = [np.flatnonzero(of_face == number) for number in range(len(frames))]
    resamples = np.random.default_rng(seed).integers(len(frames), size=(_NUM_RESAMPLES, len(frames)))
    values = []
    for resample in resamples:  # a repeated frame counts as several
        chosen = np.concatenate([members[frame] for frame in resample])
        numbers = np.repeat(np.arange(len(frames)), [len(members[frame]) for frame in resample])
        track_ids, probabilities = faces.track_ids[chosen], faces.probabilities[chosen]
        tracks = _summarize_tracks(track_ids, probabilities)
        clip = ClipFaces(probabilities, numbers, tracks, faces.weights, track_ids)
        values.append(AGGREGATION_RULES[rule](clip)[0])
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return low, high


def check_rule(rule: str, plugins: Sequence[PluginPart] = ()) -> None:
    """Check that an aggregation rule exists.

    Raises:
        OptionError: The rule is unknown; if it is of a plug-in that the detector needs, that is named.
    """
    if rule in AGGREGATION_RULES:
        return
    for part in plugins:
        if (part.kind, part.name) == (AGGREGATION_RULES.option, rule):
            raise OptionError(
                AGGREGATION_RULES.option,
                f"is {rule!r}, and the {part} is not installed or cannot be loaded",
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
    """Return checked faces with their tracks.

    Args, Raises:
        As for :func:`aggregate_clip`.
    """
    ids, values = np.asarray(track_ids), np.asarray(probabilities, dtype=np.float64)
    if ids.ndim != 1 or values.shape != ids.shape:
        raise OptionError(
            "track_ids",
            f"have shape {ids.shape}, probabilities {values.shape}",
            "pass two arrays (N,), one track and one probability per face",
        )
    if len(ids) == 0:
        raise OptionError(
            "probabilities", "are empty, and a clip without a face has no probability", "report no_face"
        )
    if not np.issubdtype(ids.dtype, np.integer):
        raise OptionError("track_ids", f"are {ids.dtype}", "must be integers")
    # Written so that NaN fails too.
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise OptionError(
            "probabilities", "are NaN or outside 0 to 1", "pass the sigmoid of the detector's logits"
        )
    frames = None if frame_indices is None else np.asarray(frame_indices)
    if frames is not None and frames.shape != ids.shape:
        raise OptionError(
            "frame_indices",
            f"have shape {frames.shape} for {counted(len(ids), 'face')}",
            "pass one frame per face",
        )
    return ClipFaces(values, frames, _summarize_tracks(ids, values), weights, ids)


def _summarize_tracks(track_ids: np.ndarray, probabilities: np.ndarray) -> tuple[TrackScore, ...]:
    tracks = []
    for track_id in np.unique(track_ids):
        faces = probabilities[track_ids == track_id]
        tracks.append(TrackScore(int(track_id), len(faces), _exact_mean(faces), decides=False))
    return tuple(tracks)


def _exact_mean(values: np.ndarray) -> float:
    # A correctly rounded sum does not depend on the order, so that equal tracks tie exactly.
    return math.fsum(values.tolist()) / len(values)
