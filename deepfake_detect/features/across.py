"""Faces that look alike in two splits, in the words of the audit.

What "alike" finds is for the features to say: with those of a network trained on identities, the same
person; with general ones and a high bound, the same picture stored anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from deepfake_detect.data.audit import MAX_EXAMPLES, DuplicatePair, LeakExample, LeakKind, Overlap
from deepfake_detect.errors import OptionError
from deepfake_detect.features.feature_file import UNSPLIT, FeatureFile, FeatureTable
from deepfake_detect.features.neighbours import FaceIndex

_USUAL_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class SimilarFaces:
    """What splits share by the look of features.

    Attributes:
        overlaps: One for each pair of splits; its count is of rows of the second split.
        pairs: The most similar, the most similar first; ``likeness`` is the cosine of their features.
    """

    overlaps: tuple[Overlap, ...]
    pairs: tuple[DuplicatePair, ...]


def similar_across_splits(
    file: FeatureFile,
    *,
    min_similarity: float,
    kind: LeakKind = "near-duplicate-crops",
    root: Path | None = None,
    max_pairs: int = 100,
) -> SimilarFaces:
    """Return what looks alike in two splits.

    Each row is compared with the nearest of the other split. Rows without a split belong to none.

    Args:
        file: Pooled features; those of two splits are held in memory.
        min_similarity: Cosine from which two faces are alike, above -1, to 1.
        kind: What the audit is to call it: ``"near-duplicate-crops"`` or ``"identities"``.
        root: Folder that the paths of the result are relative to, such as the manifest's; that of
            the feature file when ``None``.
        max_pairs: Of each pair of splits, from 1.

    Raises:
        OptionError: A number is out of range, or features are maps.

    Example:
        >>> import tempfile
        >>> from deepfake_detect.features.feature_file import FeatureInfo, FeatureWriter, feature_table
        >>> from deepfake_detect.records import CropGeometry, Preprocessing
        >>> path = Path(tempfile.mkdtemp()) / "features.h5"
        >>> info = FeatureInfo({}, {}, Preprocessing(8, (0, 0, 0), (1, 1, 1)), CropGeometry(), (2,))
        >>> with FeatureWriter.create(path, info) as writer:
        ...     writer.append(feature_table(np.array([[1.0, 0.0]]), split="train", method="a"))
        ...     writer.append(feature_table(np.array([[2.0, 0.0], [0.0, 1.0]]), split="val", method="a"))
        >>> similar_across_splits(FeatureFile(path), min_similarity=0.9).overlaps[0].count
        1
    """
    if not -1 < min_similarity <= 1:
        raise OptionError("min_similarity", f"is {min_similarity}", "pass a number above -1, up to 1")
    if max_pairs < 1:
        raise OptionError("max_pairs", f"is {max_pairs}", "pass 1 or more")
    splits = sorted(
        (split for split in file.splits if split != UNSPLIT),
        key=lambda split: (_USUAL_ORDER.index(split) if split in _USUAL_ORDER else 3, split),
    )
    overlaps: list[Overlap] = []
    pairs: list[DuplicatePair] = []
    for first, second in combinations(splits, 2):
        tables = _read(file, first, root), _read(file, second, root)
        overlap, found = _compare(*tables, min_similarity, kind, max_pairs)
        overlaps.append(overlap)
        pairs += found
    return SimilarFaces(tuple(overlaps), tuple(sorted(pairs, key=lambda pair: -pair.likeness)))


def _compare(
    first: FeatureTable, second: FeatureTable, bound: float, kind: LeakKind, max_pairs: int
) -> tuple[Overlap, list[DuplicatePair]]:
    names = first.splits[0], second.splits[0]
    rows, cosines = FaceIndex(first.features).nearest(second.features, count=1)
    theirs = np.flatnonzero(cosines[:, 0] >= bound)
    if len(theirs) == 0:
        return Overlap(kind, *names), []
    _, back = FaceIndex(second.features).nearest(first.features, count=1)
    ours = np.flatnonzero(back[:, 0] >= bound)
    nearest_first = theirs[np.argsort(-cosines[theirs, 0], kind="stable")][:max_pairs]
    pairs = [
        DuplicatePair(
            kind,
            *names,
            str(first.paths[rows[row, 0]]),
            str(second.paths[row]),
            likeness=round(float(cosines[row, 0]), 4),
        )
        for row in nearest_first
    ]
    examples = tuple(
        LeakExample(f"two of similarity {pair.likeness:.3f}", pair.first_path, pair.second_path)
        for pair in pairs[:MAX_EXAMPLES]
    )
    num_videos = len({*first.video_ids[ours], *second.video_ids[theirs]})
    return Overlap(kind, *names, len(theirs), len(ours) + len(theirs), num_videos, examples), pairs


def _read(file: FeatureFile, split: str, root: Path | None) -> FeatureTable:
    """Return the rows of a split, their paths relative to ``root``."""
    table = file.read(split)
    if root is None:
        return table
    home, place = file.root.resolve(), root.resolve()
    paths = np.array([os.path.relpath(home / path, place) for path in table.paths], dtype=object)
    return replace(table, paths=paths)
