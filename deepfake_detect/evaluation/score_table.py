"""Scores as columns, their coverage, and the videos they belong to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from deepfake_detect.data.failures import MISSING, NO_FACE
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.aggregation import (
    AGGREGATION_RULES,
    ClipFaces,
    check_rule,
    clip_faces,
    needs_tracks,
)
from deepfake_detect.plurals import counted
from deepfake_detect.records import FAKE, REAL

# Fields that are not columns.
_NO_COLUMNS = ("details", "has_tracks")
CROP_LABEL = "crop_label"
"""Column of the label of each crop, in tables with videos of which only stretches are forged."""
_WITHOUT_FACE, _NOT_READ, _NOT_DOWNLOADED = "without a face", "could not be read", "not downloaded"


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """One row per scored face crop; every array has the same length N >= 1.

    Attributes:
        video_id: text (N,), object or str dtype. Identity of the video, unique across methods and
            datasets; not a folder or file name, which four methods may have in common.
        method: text (N,), the forgery method, or the source of a real.
        label: int (N,), 0 = real, 1 = fake.
        track_id: int (N,), track of the person within the video, from 0.
        frame_index: int (N,), index in presentation order.
        fake_probability: float (N,), 0 to 1.
        details: Further columns by name, each (N,), such as ``dataset`` or ``native_size``. Results can
            be sliced by them, and they are written with the scores. ``identity`` names the person, for
            intervals that resample people.
        has_tracks: Whether ``track_id`` separates people. If not, it numbers the faces of a frame, and
            there is no track level.

    Raises:
        ManifestError: Arrays are empty or differ in length, text is missing or has the character NUL,
            numbers have the wrong type, labels are not 0 or 1, or probabilities are NaN or outside 0
            to 1.
    """

    video_id: np.ndarray
    method: np.ndarray
    label: np.ndarray
    track_id: np.ndarray
    frame_index: np.ndarray
    fake_probability: np.ndarray
    details: dict[str, np.ndarray] = field(default_factory=dict)
    has_tracks: bool = True

    def __post_init__(self) -> None:
        shapes = {name: np.shape(column) for name, column in self.columns().items()}
        if set(shapes.values()) != {(len(self.video_id),)}:
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ManifestError(
                "score table",
                f"has columns that differ in shape: {listed}",
                "pass one value per face in each",
            )
        if len(self.video_id) == 0:
            raise ManifestError("score table", "has no row", "score at least one face")
        for name in ("video_id", "method"):
            if not all(isinstance(value, str) and value for value in getattr(self, name)):
                raise ManifestError(f"score table, {name}", "has empty or missing text", "fill every row")
            # NumPy drops trailing NULs, so that two names would become one.
            if any("\0" in value for value in getattr(self, name)):
                raise ManifestError(f"score table, {name}", "has the character NUL", "remove it")
        for name in ("label", "track_id", "frame_index"):
            if not np.issubdtype(getattr(self, name).dtype, np.integer):
                kind = getattr(self, name).dtype
                raise ManifestError(f"score table, {name}", f"has {kind}", "pass an array of integers")
        if not np.isin(self.label, (REAL, FAKE)).all():
            raise ManifestError(
                "score table, label", "has values other than 0 and 1", "pass 0 for real and 1 for fake"
            )
        # Written so that NaN fails too.
        if not ((self.fake_probability >= 0.0) & (self.fake_probability <= 1.0)).all():
            raise ManifestError(
                "score table, fake_probability",
                "has NaN or values outside 0 to 1",
                "drop faces without a score and list them in the coverage",
            )

    @property
    def crop_labels(self) -> np.ndarray:
        """Label of each crop, int (N,): that of its video, unless only stretches of the video are forged."""
        labels: np.ndarray = np.asarray(self.details.get(CROP_LABEL, self.label)).astype(np.int64)
        return labels

    def columns(self) -> dict[str, np.ndarray]:
        """Return all columns by name, details last."""
        return {**self._own_columns(), **self.details}

    def take(self, rows: np.ndarray) -> ScoreTable:
        """Return some rows, chosen by index or mask."""
        own = {name: column[rows] for name, column in self._own_columns().items()}
        details = {name: column[rows] for name, column in self.details.items()}
        return ScoreTable(**own, details=details, has_tracks=self.has_tracks)

    def _own_columns(self) -> dict[str, np.ndarray]:
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in _NO_COLUMNS}


@dataclass(frozen=True)
class UnscoredFace:
    """A video, or a face, that should have a score and has none.

    Attributes:
        video_id, dataset, method: Text.
        label: 0 = real, 1 = fake.
        frame_index: ``None`` if the whole video has no score.
        reason: Why there is no score; empty if unknown.
    """

    video_id: str
    dataset: str
    method: str
    label: int
    frame_index: int | None
    reason: str


@dataclass(frozen=True)
class Coverage:
    """How many of the requested videos were scored.

    Attributes:
        videos_expected: Videos of the evaluated list or split.
        videos_scored: Videos with at least one scored face.
        videos_without_face: Readable videos without a detected face.
        videos_failed: Videos that could not be read or scored.
        unscored: ``(video_id, reason)`` of each video without a score.
        faces_unscored: Rows without a probability, of scored videos and others.
        videos_missing: Videos that the dataset has and that were not in the extracted folder.
        rows: Videos and faces without a score, written with the scores; may be incomplete.

    Raises:
        OptionError: A negative count, or counts that do not add up.
    """

    videos_expected: int
    videos_scored: int
    videos_without_face: int
    videos_failed: int
    unscored: tuple[tuple[str, str], ...]
    faces_unscored: int = 0
    videos_missing: int = 0
    rows: tuple[UnscoredFace, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(
        cls,
        num_scored: int,
        unscored: Mapping[str, str],
        *,
        faces_unscored: int = 0,
        rows: Sequence[UnscoredFace] = (),
    ) -> Coverage:
        """Return the coverage for a number of scored videos and the unscored ones.

        Args:
            num_scored: Videos with a score.
            unscored: Reason by unscored video; ``data.failures.NO_FACE`` for no face and ``MISSING`` for
                one that was not downloaded, in any case and with any separator between words.
            faces_unscored: Rows without a probability.
            rows: As in the attributes.

        Example:
            >>> Coverage.of(3, {"a": "cannot be read"}).videos_expected
            4
            >>> Coverage.of(3, {"a": "No face"}).videos_without_face
            1
        """
        kinds = Counter(map(kind_of_reason, unscored.values()))
        num_without_face, num_missing = kinds[_WITHOUT_FACE], kinds[_NOT_DOWNLOADED]
        return cls(
            videos_expected=num_scored + len(unscored),
            videos_scored=num_scored,
            videos_without_face=num_without_face,
            videos_failed=len(unscored) - num_without_face - num_missing,
            unscored=tuple(sorted(unscored.items())),
            faces_unscored=faces_unscored,
            videos_missing=num_missing,
            rows=tuple(rows),
        )

    def __post_init__(self) -> None:
        of_unscored = (self.videos_without_face, self.videos_failed, self.videos_missing)
        num_unscored, counts = sum(of_unscored), (self.videos_expected, self.videos_scored, *of_unscored)
        adds_up = self.videos_expected == self.videos_scored + num_unscored
        if min(counts) < 0 or not adds_up or num_unscored != len(self.unscored):
            raise OptionError(
                "coverage",
                f"{self.sentence()} and {len(self.unscored)} listed as unscored do not add up",
                "count every expected video once and list each unscored one",
            )

    def sentence(self) -> str:
        """Return the coverage in words.

        Example:
            >>> Coverage(10, 9, 1, 0, (("c23/000", "no face"),)).sentence()
            '9 of 10 videos scored, 1 without a face, 0 could not be read'
            >>> Coverage.of(4, {"a": "damaged", "b": "missing"}).sentence()
            '4 of 6 videos scored, 0 without a face, 1 could not be read, 1 not downloaded'
        """
        missing = f", {self.videos_missing:,} {_NOT_DOWNLOADED}" if self.videos_missing else ""
        return (
            f"{self.videos_scored:,} of {counted(self.videos_expected, 'video')} scored, "
            f"{self.videos_without_face:,} {_WITHOUT_FACE}, {self.videos_failed:,} {_NOT_READ}{missing}"
            + (f"; {counted(self.faces_unscored, 'face')} without a score" if self.faces_unscored else "")
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values; each unscored video is ``{"video_id", "reason"}``."""
        unscored = [{"video_id": video_id, "reason": reason} for video_id, reason in self.unscored]
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "rows"}
        return {**values, "unscored": unscored}

    @classmethod
    def from_json(cls, values: dict[str, Any], *, rows: Sequence[UnscoredFace] = ()) -> Coverage:
        """Return the coverage of :meth:`to_json`, with ``rows``, which JSON does not have."""
        unscored = tuple((one["video_id"], one["reason"]) for one in values["unscored"])
        return cls(**{**values, "unscored": unscored}, rows=tuple(rows))


@dataclass(frozen=True, eq=False)
class VideoSamples:
    """The V videos of a score table as samples, sorted by identity.

    Attributes:
        video_id: str (V,), unique, ascending.
        method: str (V,).
        label: int64 (V,), 0 = real, 1 = fake.
        fake_probability: float64 (V,), 0 to 1, aggregated over the video's faces.
        of_row: int64 (N,), index of the video of each row of the score table.
    """

    video_id: np.ndarray
    method: np.ndarray
    label: np.ndarray
    fake_probability: np.ndarray
    of_row: np.ndarray


def video_samples(table: ScoreTable, *, aggregation_rule: str, weights: Sequence[float] = ()) -> VideoSamples:
    """Return one sample per video, aggregated as in scoring a clip.

    Args:
        table: Scored faces.
        aggregation_rule: A name in ``AGGREGATION_RULES``.
        weights: Weights of the rule ``"logistic"``.

    Returns:
        The videos, sorted by identity.

    Raises:
        ManifestError: Rows of one video disagree on label or method, or list a face twice.
        OptionError: The rule is unknown, or needs tracks that the table does not have.

    Source: videos are identified only by ``video_id``; tools that use the folder name merge the four
    FaceForensics++ fakes called ``000_003`` and report a wrong AUC.

    Example:
        >>> table = ScoreTable(*(np.array(column) for column in (
        ...     ["youtube/000", "Deepfakes/000_003", "Deepfakes/000_003"],
        ...     ["youtube", "Deepfakes", "Deepfakes"], [0, 1, 1], [0, 0, 0], [0, 0, 9], [0.1, 0.5, 1.0])))
        >>> videos = video_samples(table, aggregation_rule="mean")
        >>> videos.video_id.tolist(), videos.fake_probability.tolist()
        (['Deepfakes/000_003', 'youtube/000'], [0.75, 0.1])
    """
    ids, first_row, of_row = np.unique(table.video_id.astype(str), return_index=True, return_inverse=True)
    _check_agreement(table, first_row, of_row)
    _check_faces_once(table, of_row)
    check_rule(aggregation_rule)
    if aggregation_rule not in rules_for(table):
        raise OptionError(
            "aggregation_rule",
            f"is {aggregation_rule}, which needs the faces of each person, and the scores lack track_id",
            f"add a column track_id, or choose one of: {', '.join(rules_for(table))}",
        )
    clips = clips_of(table, of_row, weights=weights)
    return VideoSamples(
        ids,
        method=table.method[first_row].astype(str),
        label=table.label[first_row].astype(np.int64),
        fake_probability=aggregate_clips(clips, aggregation_rule),
        of_row=of_row,
    )


def clips_of(table: ScoreTable, of_row: np.ndarray, *, weights: Sequence[float] = ()) -> list[ClipFaces]:
    """Return the faces of each video.

    Args:
        table: Scored faces.
        of_row: int (N,), the video of each row, from 0, as in :class:`VideoSamples`.
        weights: Weights of the rule ``"logistic"``.
    """
    by_video = np.argsort(of_row, kind="stable")
    starts = np.searchsorted(of_row[by_video], np.arange(1, int(of_row.max()) + 1))
    return [
        clip_faces(
            table.track_id[rows],
            table.fake_probability[rows],
            frame_indices=table.frame_index[rows],
            weights=weights,
        )
        for rows in np.split(by_video, starts)
    ]


def rules_for(table: ScoreTable) -> tuple[str, ...]:
    """Return the aggregation rules that the table's columns allow.

    Rules about people need tracks, unless no frame has more than one face.
    """
    unknown = not table.has_tracks and bool(table.track_id.any())
    return tuple(rule for rule in AGGREGATION_RULES if not (unknown and needs_tracks(rule)))


def aggregate_clips(clips: Sequence[ClipFaces], rule: str) -> np.ndarray:
    """Return the probability of each clip, float64 (V,)."""
    return np.array([AGGREGATION_RULES[rule](faces)[0] for faces in clips])


def kind_of_reason(reason: str) -> str:
    """Return what a reason without a score amounts to, in words.

    Example:
        >>> kind_of_reason("No face"), kind_of_reason("missing"), kind_of_reason("moov atom not found")
        ('without a face', 'not downloaded', 'could not be read')
    """
    kinds = {_only_letters(NO_FACE): _WITHOUT_FACE, _only_letters(MISSING): _NOT_DOWNLOADED}
    return kinds.get(_only_letters(reason), _NOT_READ)


def _only_letters(reason: str) -> str:
    return re.sub("[^a-z]", "", reason.lower())


def _check_agreement(table: ScoreTable, first_row: np.ndarray, of_row: np.ndarray) -> None:
    for name in ("label", "method"):
        column = getattr(table, name)
        of_first = column[first_row][of_row]
        disagreeing = np.flatnonzero(column != of_first)
        if len(disagreeing):
            row = disagreeing[0]
            raise ManifestError(
                f"video {table.video_id[row]}",
                f"has rows that differ in the {name}: {of_first[row]} and {column[row]}",
                "give each video an identity of its own, such as dataset/method/name",
            )


def _check_faces_once(table: ScoreTable, of_row: np.ndarray) -> None:
    faces = np.stack([of_row, table.frame_index, table.track_id], axis=1)  # (N, 3)
    _, first_row, counts = np.unique(faces, axis=0, return_index=True, return_counts=True)
    if counts.max() > 1:
        row = first_row[counts.argmax()]
        raise ManifestError(
            f"video {table.video_id[row]}",
            f"has track {table.track_id[row]} {counts.max()} times in frame {table.frame_index[row]}",
            "score each face once and give each video an identity of its own",
        )
