"""The nearest faces of a face, and how often they are of the same person.

Which faces are near depends on the features: those of a network trained on identities are similar for
faces of one person, those of a detector for faces with the same traces of forgery.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.metrics import CONFIDENCE, Interval

_ROWS_AT_ONCE = 1024
# Unit vectors float32 (Q, F) and a number to rows (Q, number).
_Search = Callable[[np.ndarray, int], np.ndarray]
_TIES = 16  # extra candidates: float32 may swap faces that are almost equally near


def has_faiss() -> bool:
    """Return whether faiss is installed."""
    return importlib.util.find_spec("faiss") is not None


class FaceIndex:
    """An index of features for search by cosine.

    faiss searches where it is installed, otherwise scikit-learn. Both are exact, and candidates are
    sorted by their cosine in float64, then by row, so that the results are the same.

    Args:
        features: float (N, F), N >= 1.
        use_faiss: Whether to search with faiss; where it is installed when ``None``.

    Raises:
        OptionError: Features are not vectors, not finite, or there are none; ``use_faiss`` is true and
            faiss is not installed.

    Example:
        >>> index = FaceIndex(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]))
        >>> index.nearest(np.array([[2.0, 0.1]]), count=2)[0].tolist()
        [[2, 0]]
    """

    def __init__(self, features: np.ndarray, *, use_faiss: bool | None = None) -> None:
        if features.ndim != 2 or len(features) == 0:
            raise OptionError("features", f"have the shape {features.shape}", "pass one or more vectors")
        if use_faiss and not has_faiss():
            raise OptionError("use_faiss", "faiss is not installed", "install it, or omit it")
        self._points = unit_vectors(features)
        self._search: _Search
        points = self._points.astype(np.float32)
        if has_faiss() if use_faiss is None else use_faiss:
            import faiss

            index = faiss.IndexFlatIP(points.shape[1])
            index.add(points)
            self._search = lambda units, count: index.search(units, count)[1]
        else:
            from sklearn.neighbors import NearestNeighbors

            # Of unit vectors the nearest by distance are the nearest by cosine.
            nearest = NearestNeighbors(algorithm="brute").fit(points)
            self._search = lambda units, count: nearest.kneighbors(units, count, return_distance=False)

    def __len__(self) -> int:
        return len(self._points)

    def nearest(
        self, queries: np.ndarray, *, count: int, without: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows nearest to each query, nearest first.

        Args:
            queries: float (Q, F).
            count: Rows per query, from 1 to the number of rows.
            without: int (Q,), a row to leave out per query, for example the query itself.

        Returns:
            Rows int64 (Q, count) and their cosines float64 (Q, count), -1 to 1.

        Raises:
            OptionError: ``count`` is out of range, or queries are of another length.
        """
        most = len(self) - (without is not None)
        if not 1 <= count <= most:
            raise OptionError("count", f"is {count}", f"must be 1 to {most}")
        if queries.ndim != 2 or queries.shape[1] != self._points.shape[1]:
            raise OptionError(
                "queries", f"have the shape {queries.shape}", f"pass (Q, {self._points.shape[1]})"
            )
        units = unit_vectors(queries)
        wanted = min(len(self), count + _TIES + (without is not None))
        found = [
            self._block(units[start : start + _ROWS_AT_ONCE], wanted, count, start, without)
            for start in range(0, len(units), _ROWS_AT_ONCE)
        ]
        empty = (np.zeros((0, count), np.int64), np.zeros((0, count)))
        rows, cosines = zip(empty, *found, strict=True)
        return np.concatenate(rows), np.concatenate(cosines)

    def _block(
        self, units: np.ndarray, wanted: int, count: int, start: int, without: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        candidates = self._search(units.astype(np.float32), wanted)
        cosines = np.einsum("qcf,qf->qc", self._points[candidates].astype(np.float64), units)
        if without is not None:
            cosines[candidates == without[start : start + len(units), None]] = -np.inf
        order = np.lexsort((candidates, -cosines))[:, :count]
        rows = np.take_along_axis(candidates, order, axis=1).astype(np.int64)
        return rows, np.clip(np.take_along_axis(cosines, order, axis=1), -1, 1)


def unit_vectors(features: np.ndarray) -> np.ndarray:
    """Return vectors (N, F) divided by their length, float64; a vector of zeros is unchanged.

    Raises:
        OptionError: A value is not finite.
    """
    wide = np.asarray(features, np.float64)
    if not np.isfinite(wide).all():
        raise OptionError("features", "contain values that are not finite", "extract them again")
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    units: np.ndarray = wide / np.where(lengths > 0, lengths, 1)
    return units


@dataclass(frozen=True)
class RetrievalPrecision:
    """How often the nearest faces of a face are of the same person.

    Attributes:
        count: Nearest faces that are compared, k.
        num_queries: Faces whose person has another face; the others are only searched.
        hit: Fraction of queries with the person among the k.
        precision: Mean fraction of the k that show the person, out of as many as there are.
        chance: ``hit`` expected for faces in random order.
    """

    count: int
    num_queries: int
    hit: Interval
    precision: float
    chance: float


def retrieval_precision(
    features: np.ndarray, identities: np.ndarray, *, count: int = 5, num_resamples: int = 1000, seed: int = 0
) -> RetrievalPrecision:
    """Measure how well features find a person again.

    Args:
        features: float (N, F).
        identities: text (N,), ``""`` where unknown, which matches no other.
        count: Nearest faces that are compared, 1 or more.
        num_resamples: Bootstrap resamples by person, for the interval of ``hit``.
        seed: Of the resampling.

    Raises:
        OptionError: No person has two faces, or ``count`` is out of range.

    Example:
        >>> faces = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> retrieval_precision(faces, np.array(["a", "a", "b", "b"]), count=1).hit.value
        1.0
    """
    people, codes, sizes = np.unique(identities.astype(str), return_inverse=True, return_counts=True)
    others = np.where(people[codes] == "", 0, sizes[codes] - 1)
    queries = np.flatnonzero(others > 0)
    if len(queries) == 0:
        raise OptionError("identities", "no person has two faces", "choose other rows")
    rows, _ = FaceIndex(features).nearest(features[queries], count=count, without=queries)
    is_same = codes[rows] == codes[queries][:, None]
    hits = is_same.any(1)
    reachable = np.minimum(others[queries], count)
    misses = np.ones(len(queries))
    for step in range(count):  # sampled without replacement, none of them the person
        left = len(codes) - 1 - step
        misses *= np.clip(left - others[queries], 0, None) / left
    _, person = np.unique(codes[queries], return_inverse=True)
    num_hits, num_faces = np.bincount(person, hits), np.bincount(person)
    sampled = np.random.default_rng(seed).integers(len(num_faces), size=(num_resamples, len(num_faces)))
    rates = num_hits[sampled].sum(1) / num_faces[sampled].sum(1)
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return RetrievalPrecision(
        count=count,
        num_queries=len(queries),
        hit=Interval(float(hits.mean()), float(low), float(high)),
        precision=float((is_same.sum(1) / reachable).mean()),
        chance=float(1 - misses.mean()),
    )
