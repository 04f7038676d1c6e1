"""Forged parts of a scored clip: a second, dense look at suspicious changes, and the segments.

The first pass samples frames evenly over the clip, too far apart to say when a forgery begins. Where a
person's scores step up or down, as many frames again are sampled around the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from deepfake_detect.evaluation.aggregation import clip_faces, frames_interval
from deepfake_detect.evaluation.segments import (
    Stretch,
    refined_stretch,
    stretch_seconds,
    suspicious_stretches,
)
from deepfake_detect.faces.tracking import box_distance
from deepfake_detect.records import ClipResult, FaceScore, FrameScore, Segment, TrackScore

# A face is the person's whose box, between its neighbors in time, is at most this far away.
_MAX_DISTANCE = 0.5
_LEAST_SECONDS = 0.45  # a face that enters, or an eye that blinks, can look forged for a third of a second


@dataclass(frozen=True, eq=False)
class _Person:
    """The frames that show one person, in order of time."""

    track_id: int
    frame_indices: np.ndarray  # int (N,)
    times_seconds: np.ndarray  # float (N,)
    probabilities: np.ndarray  # float (N,)


@dataclass(frozen=True)
class SuspiciousPart:
    """A stretch of a person's evenly sampled frames that may be forged.

    Attributes:
        track_id: The person's track.
        before, first, last, after: Frame indices: of the last frame before it, of its first and last, and
            of the first after it. ``before`` and ``after`` are its own where there is none.
        stretch: The stretch itself.
    """

    track_id: int
    before: int
    first: int
    last: int
    after: int
    stretch: Stretch


def suspicious_parts(frames: Sequence[FrameScore]) -> list[SuspiciousPart]:
    """Return the parts of a clip that are worth a second look.

    Args:
        frames: Evenly sampled frames of the clip, with times.
    """
    parts = []
    for person in _people(frames):
        indices = person.frame_indices
        for stretch in suspicious_stretches(person.probabilities):
            first, last = int(indices[stretch.start]), int(indices[stretch.stop - 1])
            before = int(indices[stretch.start - 1]) if stretch.start else first
            after = int(indices[stretch.stop]) if stretch.stop < len(indices) else last
            parts.append(SuspiciousPart(person.track_id, before, first, last, after, stretch))
    return parts


def frames_to_add(parts: Sequence[SuspiciousPart], frames: Sequence[FrameScore]) -> list[int]:
    """Return the indices of as many frames again, at most, around the borders of suspicious parts.

    A part of few frames is sampled more densely within as well.
    """
    known = [frame.frame_index for frame in frames]
    gaps = sorted({gap for part in parts for gap in _gaps(part, known)})
    if not gaps:
        return []
    per_gap = max(1, len(frames) // len(gaps))
    inside = {index for low, high in gaps for index in _between(low, high, per_gap)}
    return sorted(inside)[: len(frames)]


def _gaps(part: SuspiciousPart, known: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of sampled frames between which a part begins, ends, or is too thinly sampled."""
    is_short = part.stretch.stop - part.stretch.start <= 2 * Stretch.MIN_FRAMES
    for low, high in pairwise(known):
        is_border = part.before <= low < part.first or part.last <= low < part.after
        if high - low > 1 and (is_border or (is_short and part.first <= low < part.last)):
            yield low, high


def _between(low: int, high: int, count: int) -> list[int]:
    count = min(count, high - low - 1)
    positions: list[int] = np.linspace(low, high, count + 2)[1:-1].round().astype(int).tolist()
    return positions


def with_known_people(extra: Iterable[FrameScore], frames: Sequence[FrameScore]) -> tuple[FrameScore, ...]:
    """Return frames of a second pass with the tracks of the first; other faces are left out.

    Args:
        extra: Scored frames; their track ids mean nothing.
        frames: Frames of the first pass, in order.
    """
    starts = [frame.frame_index for frame in frames]
    found = []
    for one in extra:
        place = int(np.searchsorted(starts, one.frame_index))
        neighbors = frames[max(place - 1, 0) : place + 1]
        found.append(replace(one, faces=tuple(_recognized(one, neighbors))))
    return tuple(found)


def _recognized(frame: FrameScore, neighbors: Sequence[FrameScore]) -> Iterator[FaceScore]:
    track_ids = {face.track_id for one in neighbors for face in one.faces}
    boxes = {track_id: _expected_box(track_id, frame, neighbors) for track_id in track_ids}
    pairs = sorted(
        (box_distance(face.box_xyxy, box), number, track_id)
        for number, face in enumerate(frame.faces)
        for track_id, box in boxes.items()
    )
    taken: dict[int, int] = {}
    for distance, number, track_id in pairs:
        if distance <= _MAX_DISTANCE and number not in taken and track_id not in taken.values():
            taken[number] = track_id
    for number, track_id in sorted(taken.items()):
        yield replace(frame.faces[number], track_id=track_id)


def _expected_box(track_id: int, frame: FrameScore, neighbors: Sequence[FrameScore]) -> np.ndarray:
    """Return where a person's face must be between the frames before and after."""
    seen = [
        (one.frame_index, face.box_xyxy)
        for one in neighbors
        for face in one.faces
        if face.track_id == track_id
    ]
    weights = [1 / max(abs(index - frame.frame_index), 1) for index, _ in seen]
    return np.average([box for _, box in seen], axis=0, weights=weights)


def with_segments(
    result: ClipResult, parts: Sequence[SuspiciousPart], extra: Sequence[FrameScore], *, end_seconds: float
) -> ClipResult:
    """Return a result with its segments; a forged part decides a clip that is not forged as a whole.

    Args:
        result: Of the evenly sampled frames.
        parts: Of :func:`suspicious_parts`.
        extra: Frames of the second pass, of :func:`with_known_people`.
        end_seconds: End of the clip.
    """
    frames = sorted([*result.frames, *extra], key=lambda frame: frame.frame_index)
    people = {person.track_id: person for person in _people(frames)}
    partial = [
        segment
        for part in parts
        if (segment := _segment(people[part.track_id], part, end_seconds=end_seconds)) is not None
    ]
    divided = {one.track_id for one in partial}
    whole = [
        _whole(track, people[track.track_id], end_seconds=end_seconds)
        for track in result.tracks
        if track.verdict == "fake" and track.track_id not in divided
    ]
    segments = tuple(sorted([*partial, *whole], key=lambda one: (one.track_id, one.start_seconds)))
    found = replace(result, segments=segments, extra_frames=tuple(extra))
    return _decided(found, partial) if partial else found


def _segment(person: _Person, part: SuspiciousPart, *, end_seconds: float) -> Segment | None:
    """Return a suspicious part with its exact borders; ``None`` if a closer look does not confirm it."""
    indices, stretch = person.frame_indices, part.stretch
    begin = int(np.searchsorted(indices, part.before, side="right" if part.before < part.first else "left"))
    end = int(np.searchsorted(indices, part.after, side="left" if part.after > part.last else "right"))
    refined = refined_stretch(person.probabilities, (begin, end), level=stretch.level, base=stretch.base)
    if refined is None or not refined.is_forged:
        return None
    start, stop = refined.start, refined.stop
    times = stretch_seconds(person.times_seconds, start, stop, end_seconds=end_seconds)
    if times[1] - times[0] < _LEAST_SECONDS:
        return None
    return _of_frames(person, start, stop, times, is_whole=False)


def _whole(track: TrackScore, person: _Person, *, end_seconds: float) -> Segment:
    count = len(person.frame_indices)
    times = stretch_seconds(person.times_seconds, 0, count, end_seconds=end_seconds)
    segment = _of_frames(person, 0, count, times, is_whole=True)
    return replace(
        segment,
        fake_probability=track.fake_probability,
        fake_probability_interval=track.fake_probability_interval,
    )


def _of_frames(
    person: _Person, start: int, stop: int, times: tuple[float, float], *, is_whole: bool
) -> Segment:
    probabilities, indices = person.probabilities[start:stop], person.frame_indices[start:stop]
    faces = clip_faces(np.zeros(len(indices), int), probabilities, frame_indices=indices)
    return Segment(
        track_id=person.track_id,
        start_seconds=times[0],
        end_seconds=times[1],
        fake_probability=float(np.mean(probabilities)),
        fake_probability_interval=frames_interval(faces, "mean"),
        num_frames=len(indices),
        is_whole=is_whole,
    )


def _decided(result: ClipResult, partial: Sequence[Segment]) -> ClipResult:
    """Return a result whose verdict, and probability where it is higher, are those of a forged part."""
    decider = max(partial, key=lambda one: one.fake_probability)
    is_higher = decider.fake_probability > (result.fake_probability or 0.0)
    forged = {one.track_id for one in partial}
    tracks = tuple(
        replace(
            track,
            verdict="fake" if track.track_id in forged else track.verdict,
            decides=track.track_id == decider.track_id if is_higher else track.decides,
        )
        for track in result.tracks
    )
    found = replace(result, verdict="fake", tracks=tracks)
    if not is_higher:
        return found
    return replace(
        found,
        fake_probability=decider.fake_probability,
        fake_probability_interval=decider.fake_probability_interval,
    )


def _people(frames: Sequence[FrameScore]) -> Iterator[_Person]:
    seen: dict[int, list[tuple[int, float, float]]] = {}
    for frame in frames:
        for face in frame.faces:
            row = (frame.frame_index, frame.time_seconds, face.fake_probability)
            seen.setdefault(face.track_id, []).append(row)
    for track_id, rows in sorted(seen.items()):
        indices, times, probabilities = (np.array(values) for values in zip(*rows, strict=True))
        yield _Person(track_id, indices, times, probabilities)
