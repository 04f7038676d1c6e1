"""Fingerprints of crops, to find the same image twice: byte by byte, or by its look.

    sha256      of the stored bytes: equal for identical files
    phash       64 signs of the image's lowest frequencies: images that look alike differ in few
    thumbnail   16 x 16 gray levels, which confirm that two images look alike

Near duplicates are images whose phash differs in at most ``MAX_DISTANCE`` bits and whose thumbnails
have a likeness of at least ``MIN_LIKENESS`` (see :func:`likeness`). Faces fill their crops in much the
same way, so the phash alone gives false alarms. Both numbers were chosen on 4,000 DFDC face crops of
224 px (arXiv:2006.07397): all of them were found after JPEG at quality 50, after resizing to 0.8 and
after a change of brightness by 10%, 99.9% after a shift by 2 px along both axes, 66% after one by
4 px. Across three splits of 19,400 such crops (62 million pairs) 44 pairs were found, each of the same
person in the same scene; among 1.6 million pairs of Labeled Faces in the Wild none: no two people at
most 10 bits apart had a likeness above .945.

The phash follows Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010),
section 3.2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from deepfake_detect.data.shards import decode_image

MAX_DISTANCE = 10
MIN_LIKENESS = 0.975
# In gray levels. Below it, most of what could be compared is rounding of the gray levels.
MIN_DEVIATION = 3.0
_GRAY_SIDE, _LOW_SIDE, _THUMBNAIL_SIDE = 32, 8, 16
_NUM_BITS = _LOW_SIDE**2
_PAIRS_PER_BLOCK = 4_000_000
_CONFIRMED_PER_BLOCK = 4096

# One crop. Stored as plain bytes, so the order and widths of the fields are those of the file.
FINGERPRINT = np.dtype(
    [
        ("sha256", np.uint8, 32),
        ("phash", np.uint8, _NUM_BITS // 8),
        ("thumbnail", np.uint8, (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)),
    ]
)


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Near duplicates between N crops and M others."""

    first_hit: np.ndarray  # bool (N,): has a near duplicate among the others
    second_hit: np.ndarray  # bool (M,)
    # int64 (P, 2), indices, highest likeness first; not all, but at least one for each crop with a hit.
    pairs: np.ndarray
    distances: np.ndarray  # int64 (P,), number of bits in which their phash differs
    likenesses: np.ndarray  # float32 (P,), 0 to 1


def fingerprint(data: bytes) -> np.ndarray | None:
    """Return the fingerprint of a stored image, ``FINGERPRINT`` (), or ``None`` if it is not an image."""
    gray = decode_image(data, cv2.IMREAD_GRAYSCALE)
    if gray is None:
        return None
    small = cv2.resize(gray, (_GRAY_SIDE, _GRAY_SIDE), interpolation=cv2.INTER_AREA)
    found = np.zeros((), FINGERPRINT)
    found["sha256"] = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
    found["phash"] = perceptual_hash(small)
    found["thumbnail"] = cv2.resize(small, (_THUMBNAIL_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    return found


def perceptual_hash(gray: np.ndarray) -> np.ndarray:
    """Return which low frequencies of an image, uint8 (32, 32), are above their median.

    The result is 64 bits as uint8 (8,). The first is 0: mean brightness does not describe the content.
    """
    frequencies = cv2.dct(gray.astype(np.float32))[:_LOW_SIDE, :_LOW_SIDE].reshape(-1)
    is_high = frequencies > np.median(frequencies[1:])
    is_high[0] = False
    return np.packbits(is_high)


def likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the similarity of images, independent of brightness, contrast and a small shift.

    The second image is fitted by the first and its two gradients, which represent a shift by a
    fraction of a pixel. The result, float32 (N,), 0 to 1, is the multiple correlation of that fit, the
    lower one of both directions. The images, uint8 (N, H, W), must not be flat.
    """
    lower: np.ndarray = np.minimum(_explained(first, second), _explained(second, first))
    return lower


def _explained(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the multiple correlation (N,) of ``second`` with ``first`` and its gradients."""
    image, target = first.astype(np.float32), second[:, 1:-1, 1:-1].astype(np.float32)
    gradient_x = (image[:, 1:-1, 2:] - image[:, 1:-1, :-2]) / 2
    gradient_y = (image[:, 2:, 1:-1] - image[:, :-2, 1:-1]) / 2
    terms = np.stack([image[:, 1:-1, 1:-1], gradient_x, gradient_y], axis=1)  # (N, 3, H - 2, W - 2)
    area = target.shape[1] * target.shape[2]  # not -1: N may be 0
    terms = terms.reshape(len(first), 3, area)
    terms -= terms.mean(axis=2, keepdims=True)
    target = target.reshape(len(first), 1, area)
    target -= target.mean(axis=2, keepdims=True)
    products = terms @ terms.transpose(0, 2, 1)  # (N, 3, 3)
    # A slight ridge: the gradients of an even ramp are constant and would make this singular.
    scale = np.trace(products, axis1=1, axis2=2) + 1
    products += 1e-6 * scale[:, None, None] * np.eye(3, dtype=np.float32)
    weights = np.linalg.solve(products, terms @ target.transpose(0, 2, 1))  # (N, 3, 1)
    residual = target - weights.transpose(0, 2, 1) @ terms
    unexplained = (residual**2).sum(axis=(1, 2)) / np.maximum((target**2).sum(axis=(1, 2)), 1)
    correlations: np.ndarray = np.sqrt(np.clip(1 - unexplained, 0, 1))
    return correlations


def is_flat(fingerprints: np.ndarray) -> np.ndarray:
    """Return which crops have too little contrast to be compared by their look, bool (N,)."""
    flat: np.ndarray = fingerprints["thumbnail"].std(axis=(1, 2)) < MIN_DEVIATION
    return flat


def near_duplicates(first: np.ndarray, second: np.ndarray, *, max_pairs: int = 1000) -> NearDuplicates:
    """Find the crops of one set that look like one of another, without being the same file.

    Every pair of ``FINGERPRINT`` (N,) and (M,) is compared, about 300 million per second. Memory does not
    grow with their number.
    """
    search = _Search(first, second)
    rows, columns = np.flatnonzero(~is_flat(first)), np.flatnonzero(~is_flat(second))
    for some_rows, some_columns, distances in _candidates(first[rows], second[columns]):
        pairs = np.stack([rows[some_rows], columns[some_columns]], axis=1)
        for start in range(0, len(pairs), _CONFIRMED_PER_BLOCK):
            block = slice(start, start + _CONFIRMED_PER_BLOCK)
            search.confirm(pairs[block], distances[block])
    return search.result(max_pairs)


@dataclass(eq=False)
class _Search:
    """Progress of one call of :func:`near_duplicates`."""

    first: np.ndarray
    second: np.ndarray
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first_hit = np.zeros(len(self.first), bool)
        self.second_hit = np.zeros(len(self.second), bool)

    def confirm(self, pairs: np.ndarray, distances: np.ndarray) -> None:
        """Compare the thumbnails of candidates, int64 (P, 2), and keep those that look alike."""
        # A pair of crops that both have a hit changes nothing; in a manifest full of duplicates these
        # are nearly all pairs.
        is_new = ~(self.first_hit[pairs[:, 0]] & self.second_hit[pairs[:, 1]])
        pairs, distances = pairs[is_new], distances[is_new]
        one, other = self.first[pairs[:, 0]], self.second[pairs[:, 1]]
        likenesses = likeness(one["thumbnail"], other["thumbnail"])
        is_duplicate = (likenesses >= MIN_LIKENESS) & (one["sha256"] != other["sha256"]).any(axis=1)
        pairs = pairs[is_duplicate]
        self.first_hit[pairs[:, 0]] = True
        self.second_hit[pairs[:, 1]] = True
        if len(pairs):
            self.found.append((pairs, distances[is_duplicate], likenesses[is_duplicate]))

    def result(self, max_pairs: int) -> NearDuplicates:
        """Return what was found."""
        empty = (np.zeros((0, 2), np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        pairs, distances, likenesses = map(np.concatenate, zip(empty, *self.found, strict=True))
        best = np.argsort(-likenesses, kind="stable")[:max_pairs]
        return NearDuplicates(self.first_hit, self.second_hit, pairs[best], distances[best], likenesses[best])


def _candidates(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows of both sets, and distances (P,), of pairs with a similar phash."""
    signs = _signs(second).T
    rows_at_once = max(1, _PAIRS_PER_BLOCK // max(1, len(second)))
    for start in range(0, len(first), rows_at_once):
        # The product of two rows of 64 signs that differ in d bits is 64 - 2 d, exact in float32.
        products = _signs(first[start : start + rows_at_once]) @ signs
        rows, columns = np.nonzero(products >= _NUM_BITS - 2 * MAX_DISTANCE)
        distances = (_NUM_BITS - products[rows, columns].astype(np.int64)) // 2
        yield rows + start, columns, distances


def _signs(fingerprints: np.ndarray) -> np.ndarray:
    """Return the bits of each phash as -1 and 1, float32 (N, 64)."""
    return np.unpackbits(fingerprints["phash"], axis=1).astype(np.float32) * 2 - 1
