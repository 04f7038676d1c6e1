"""Similar faces in two splits, as findings of the audit.

What is found depends on the features: with those of a network trained on identities, the same person;
with general ones and a high limit, the same image stored again.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from deepfake_detect.data.audit_report import MAX_EXAMPLES, DuplicatePair, LeakExample, LeakKind, Overlap
from deepfake_detect.data.rows import Rows
from deepfake_detect.errors import OptionError
from deepfake_detect.features.feature_file import UNSPLIT, FeatureFile, FeatureTable, concatenate
from deepfake_detect.features.neighbors import FaceIndex
from deepfake_detect.report.duplicates import save_duplicate_sheet

_USUAL_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class SimilarFaces:
    """Faces that are similar in two splits.

    Attributes:
        overlaps: One for each pair of splits; counts rows of the second split.
        pairs: The most similar faces, most similar first; ``likeness`` is the cosine of their features.
        num_rows: Rows of features that were compared.
    """

    overlaps: tuple[Overlap, ...]
    pairs: tuple[DuplicatePair, ...]
    num_rows: int


def similar_across_splits(
    features: FeatureFile | str | os.PathLike[str],
    *,
    min_similarity: float,
    kind: LeakKind = "near-duplicate-crops",
    rows: Rows | None = None,
    max_pairs: int = 100,
    sheet: str | os.PathLike[str] | None = None,
) -> SimilarFaces:
    """Find faces that are similar in two splits.

    Each row is compared with the nearest of the other split. Rows without a split are skipped.

    Args:
        features: Feature file with pooled features; those of two splits are held in memory.
        min_similarity: Cosine from which two faces count as similar, above -1, to 1.
        kind: Finding of the audit: ``"near-duplicate-crops"`` or ``"identities"``.
        rows: Manifest whose crops are compared, by its splits, which may have changed since the
            features were extracted; paths of the result are relative to its folder. ``None`` compares
            all rows of the file by their own splits, with paths relative to the file's folder.
        max_pairs: Most pairs per pair of splits, 1 or more.
        sheet: PNG to write with the pairs side by side, if there are any.

    Raises:
        OptionError: A number is out of range, features are maps or not finite, or none is of a crop
            of ``rows``.

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
        raise OptionError("min_similarity", f"is {min_similarity}", "must be above -1 and at most 1")
    if max_pairs < 1:
        raise OptionError("max_pairs", f"is {max_pairs}", "must be 1 or more")
    file = features if isinstance(features, FeatureFile) else FeatureFile(Path(features))
    source = _Source(file, rows)
    splits = sorted(
        source.sizes,
        key=lambda split: (_USUAL_ORDER.index(split) if split in _USUAL_ORDER else 3, split),
    )
    overlaps: list[Overlap] = []
    pairs: list[DuplicatePair] = []
    for first, second in combinations(splits, 2):
        tables = source.read(first), source.read(second)
        overlap, found = _compare(*tables, min_similarity, kind, max_pairs)
        overlaps.append(overlap)
        pairs += found
    by_likeness = sorted(pairs, key=lambda pair: -pair.likeness)
    if sheet is not None and pairs:
        save_duplicate_sheet(by_likeness, file.root if rows is None else rows.root, Path(sheet))
    return SimilarFaces(tuple(overlaps), tuple(by_likeness), sum(source.sizes.values()))


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


class _Source:
    """Rows of features by split, of the file or of a manifest with their crops.

    Attributes:
        sizes: Number of rows of each split.
    """

    def __init__(self, file: FeatureFile, rows: Rows | None) -> None:
        self._file = file
        self._root = None if rows is None else rows.root
        self._split_of: dict[str, str] = {}
        if rows is not None:
            columns = rows.columns(["path", "split"]).to_pydict()
            named = zip(columns["path"], columns["split"], strict=True)
            self._split_of = {os.path.normpath(path): split for path, split in named if split}
        self.sizes: Counter[str] = Counter()
        for table in file.columns():
            self.sizes.update(self._in_splits(table).splits.tolist())
        del self.sizes[UNSPLIT]
        if rows is not None and not self.sizes:
            cause = f"none of {file.path} are of a crop with a split in {rows.path}"
            raise OptionError("features", cause, "extract those of this manifest")

    def read(self, split: str) -> FeatureTable:
        """Return the rows of a split."""
        if self._root is None:
            return self._file.read(split)
        tables = (self._in_splits(table) for table in self._file.batches())
        return concatenate(table.take(table.splits == split) for table in tables)

    def _in_splits(self, table: FeatureTable) -> FeatureTable:
        """Return a table with the paths and splits of the manifest; crops that it lacks have no split."""
        if self._root is None:
            return table
        home, root = self._file.root.resolve(), self._root.resolve()
        paths = [os.path.relpath(home / path, root) for path in table.paths]
        splits = [self._split_of.get(path, UNSPLIT) for path in paths]
        return replace(table, paths=np.array(paths, object), splits=np.array(splits, object))
