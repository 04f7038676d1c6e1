"""Records of an audit: what two splits have in common, and the balance of the classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

LeakKind = Literal["videos", "identities", "identical-crops", "near-duplicate-crops"]
LEAK_KINDS: tuple[LeakKind, ...] = get_args(LeakKind)
ID_KINDS: tuple[LeakKind, ...] = ("videos", "identities")
CROP_KINDS: tuple[LeakKind, ...] = ("identical-crops", "near-duplicate-crops")
# Kinds that can be found without reading crops: identical ones only where two rows name one file.
NAME_KINDS: tuple[LeakKind, ...] = (*ID_KINDS, "identical-crops")
MAX_EXAMPLES = 10
# AUC of the size alone may differ from 0.5 by this much before it is reported.
_MAX_SIZE_BIAS = 0.1


@dataclass(frozen=True)
class LeakExample:
    """An example of what two splits have in common."""

    what: str  # the video, the identity, or the similarity of two crops
    first: str  # where it occurs in the first split: the path of a crop, or for an identity a video
    second: str


@dataclass(frozen=True)
class Overlap:
    """What two splits have in common, for one kind of leak.

    Attributes:
        kind: Kind of the leak.
        first, second: The splits.
        count: Number of videos, identities or files in both, or of crops of the second split that look
            like one of the first; 0 is good.
        num_rows, num_videos: Affected rows and videos of both splits.
        examples: Up to ``MAX_EXAMPLES`` examples.
    """

    kind: LeakKind
    first: str
    second: str
    count: int = 0
    num_rows: int = 0
    num_videos: int = 0
    examples: tuple[LeakExample, ...] = ()

    def sentence(self) -> str:
        """Return the overlap as one line, with the first example.

        Example:
            >>> example = LeakExample("DFDC/a", "0.png", "9.png")
            >>> Overlap("videos", "train", "val", 1, 9, 1, (example,)).sentence()
            'videos: train and val share 1 (rows: 9, videos: 1), such as DFDC/a (train: 0.png, val: 9.png)'
        """
        example = self.examples[0]
        return (
            f"{self.kind}: {self.first} and {self.second} share {self.count:,} "
            f"(rows: {self.num_rows:,}, videos: {self.num_videos:,}), such as {example.what} "
            f"({self.first}: {example.first}, {self.second}: {example.second})"
        )


@dataclass(frozen=True)
class Balance:
    """Number of videos and rows of a split, method and label; ``split`` is ``None`` for rows without one."""

    split: str | None
    method: str | None
    label: int
    num_videos: int
    num_rows: int


@dataclass(frozen=True)
class SizeBalance:
    """Native sizes of a split's crops, in pixels of the frame.

    Attributes:
        split: ``None`` for the rows without one.
        real, fake: 10th, 50th and 90th percentile; ``None`` if the class is absent.
        auc: Area under the ROC curve of the native size as a score for fake: 0.5 if size contains no
            information, 1 if every fake is larger; ``None`` if a class is absent.
    """

    split: str | None
    real: tuple[int, int, int] | None
    fake: tuple[int, int, int] | None
    auc: float | None

    @property
    def separates_classes(self) -> bool:
        """Whether a detector could separate the classes by size alone."""
        return self.auc is not None and abs(self.auc - 0.5) > _MAX_SIZE_BIAS


@dataclass(frozen=True)
class DuplicatePair:
    """Two crops of different splits that are the same file, or look alike.

    Attributes:
        kind: ``"identical-crops"`` or ``"near-duplicate-crops"``.
        first_split, second_split: Their splits.
        first_path, second_path: Their paths in the manifest.
        distance: Number of bits in which their perceptual hashes differ; ``None`` if features found
            the pair.
        likeness: 0 to 1, see :func:`data.fingerprints.likeness`.
    """

    kind: LeakKind
    first_split: str
    second_split: str
    first_path: str
    second_path: str
    distance: int | None = None
    likeness: float = 1.0


@dataclass(frozen=True)
class SamePeople:
    """Two identities that look like one person.

    Attributes:
        first, second: The identities, ``dataset:name``.
        similarity: Cosine of their mean faces, -1 to 1.
        first_splits, second_splits: Splits of their reals.
    """

    first: str
    second: str
    similarity: float
    first_splits: tuple[str, ...]
    second_splits: tuple[str, ...]

    @property
    def is_leak(self) -> bool:
        """Whether the person is in two splits."""
        return len({*self.first_splits, *self.second_splits} - {""}) > 1

    def sentence(self) -> str:
        """Return the pair as one line.

        Example:
            >>> SamePeople("FF:648", "FF:986", 0.795, ("train",), ("val",)).sentence()
            'FF:648 (train) and FF:986 (val) look like the same person (similarity 0.80)'
        """
        first, second = (", ".join(s) or "no split" for s in (self.first_splits, self.second_splits))
        return (
            f"{self.first} ({first}) and {self.second} ({second}) look like the same person "
            f"(similarity {self.similarity:.2f})"
        )


@dataclass(frozen=True)
class CropFindings:
    """Results of comparing crops, in addition to the overlaps.

    Attributes:
        num_crops: Number of different crops.
        num_flat: Number of crops with too little contrast to be compared by their look.
        unreadable: Paths of crops that could not be read.
        pairs: Readable duplicates across splits, up to 100 of each kind and pair of splits.
        num_label_conflicts: Number of images that occur, byte by byte, both as real and as fake.
        label_conflicts: Examples: (path of the real, path of the fake).
        notes: Remarks on the comparison, one line each.
    """

    num_crops: int
    num_flat: int
    unreadable: tuple[str, ...]
    pairs: tuple[DuplicatePair, ...]
    num_label_conflicts: int
    label_conflicts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """Result of an audit.

    Attributes:
        path: The file.
        filters: Conditions that its rows meet.
        num_rows, num_videos: Number of those rows and of their videos.
        num_rows_without_split: Number of rows without a split.
        splits: Splits in the usual order.
        overlaps: One for each pair of splits and kind that was compared, in that order.
        balance: Counts by split, method and label.
        sizes: Native sizes by split; empty if they are not known.
        crops: Results of comparing the crops; ``None`` if they were not compared.
        notes: Remarks on what was not compared, one line each.
        same_people: Identities that look like one person, most similar first; ``None`` if not compared.
    """

    path: str
    filters: tuple[str, ...]
    num_rows: int
    num_videos: int
    num_rows_without_split: int
    splits: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    balance: tuple[Balance, ...]
    sizes: tuple[SizeBalance, ...]
    crops: CropFindings | None
    notes: tuple[str, ...]
    same_people: tuple[SamePeople, ...] | None = None

    @property
    def leaks(self) -> tuple[Overlap, ...]:
        """The overlaps in which two splits have something in common."""
        return tuple(overlap for overlap in self.overlaps if overlap.count)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as the JSON file holds it, with ``leaks``."""
        return {**asdict(self), "leaks": [asdict(leak) for leak in self.leaks]}
